//! The kinds of work of a chaos run, and the definitions that the driver puts into the store.

use std::time::Duration;

use punctual::core::Result;
use punctual::core::job::OnNodeLoss;
use punctual::{Job, RetryPolicy, Scheduler, WhenBusy};
use serde::{Deserialize, Serialize};

/// Work that takes a while, and stops when it is told to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plain {
    /// How long it takes.
    pub takes_ms: u64,
    /// One in so many first attempts fails; none if it is 0.
    #[serde(default)]
    pub fails_one_in: u64,
}

impl Job for Plain {
    const KIND: &'static str = "plain";
}

/// Work that takes a while, and does not listen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stubborn {
    /// How long it takes.
    pub takes_ms: u64,
}

impl Job for Stubborn {
    const KIND: &'static str = "stubborn";
}

/// Work that writes one row in the transaction that completes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paying {
    /// How long it takes before it does so.
    pub takes_ms: u64,
}

impl Job for Paying {
    const KIND: &'static str = "paying";
}

/// The table of those rows.
pub const EFFECTS: &str = "CREATE TABLE chaos_effect (execution VARCHAR(36) NOT NULL, fence BIGINT NOT NULL)";

/// How many triggers are plain, and may be defined anew at any time.
pub const PLAIN: u64 = 16;

/// The group of all plain triggers.
pub const PLAIN_GROUP: &str = "plain";

/// The key of a plain trigger.
pub fn plain_key(n: u64) -> String {
    format!("{PLAIN_GROUP}/{n}")
}

/// How often a plain trigger fires: one of a few intervals, in turn.
pub fn interval(turn: u64) -> Duration {
    const MILLIS: [u64; 6] = [1_000, 1_500, 2_000, 3_000, 4_500, 7_000];
    Duration::from_millis(MILLIS[usize::try_from(turn % 6).unwrap_or(0)])
}

/// How long a run must be to have work that outlasts a take-over.
pub const LONG: Duration = Duration::from_secs(30);

/// Defines all work of a run that has faults for `span`.
///
/// # Errors
/// Those of the store.
pub async fn define(scheduler: &Scheduler, span: Duration) -> Result<()> {
    let seconds = Duration::from_secs;
    let retry = || RetryPolicy::fixed(4, Duration::from_millis(400));
    for n in 0..PLAIN {
        let fails_one_in = if n % 4 == 3 { 5 } else { 0 };
        let job = Plain { takes_ms: 20 + n * 60, fails_one_in };
        scheduler.schedule(job).every(interval(n)).retry(retry()).key(&plain_key(n)).await?;
    }
    for (n, cron) in ["0/2 * * * * ?", "1/3 * * * * ?", "0,7,9,31,44,58 * * * * ?"].iter().enumerate() {
        let job = Plain { takes_ms: 150, fails_one_in: 0 };
        scheduler.schedule(job).cron(cron).retry(retry()).key(&format!("cron/{n}")).await?;
    }
    for (n, when_busy) in
        [WhenBusy::Queue, WhenBusy::Skip, WhenBusy::Skip, WhenBusy::Queue].into_iter().enumerate()
    {
        let job = Plain { takes_ms: 2_300 + 200 * u64::try_from(n).unwrap_or(0), fails_one_in: 0 };
        let request = scheduler.schedule(job).every(seconds(2)).tolerance(seconds(3));
        request.exclusive(when_busy).retry(retry()).key(&format!("exclusive/{n}")).await?;
    }
    for n in 0..5 {
        let request =
            scheduler.schedule(Paying { takes_ms: 40 + 150 * n }).every(Duration::from_millis(1_300));
        request.retry(RetryPolicy::fixed(30, Duration::from_millis(300))).key(&format!("paying/{n}")).await?;
    }
    let alone = scheduler.schedule(Paying { takes_ms: 1_200 }).every(seconds(1)).tolerance(seconds(3));
    let alone = alone.exclusive(WhenBusy::Skip).retry(RetryPolicy::fixed(30, Duration::from_millis(300)));
    alone.key("paying/alone").await?;
    for n in 0..2 {
        let request = scheduler.schedule(Stubborn { takes_ms: 2_500 }).every(seconds(4));
        let request = if n == 0 { request } else { request.exclusive(WhenBusy::Skip) };
        request.retry(retry()).key(&format!("stubborn/{n}")).await?;
    }
    // Longer than it takes until a frozen node's work runs elsewhere: the late result comes while that still runs.
    for n in 0..if span < LONG { 0 } else { 6 } {
        let request = scheduler.schedule(Stubborn { takes_ms: 5_500 + 400 * n }).every(interval(3 + n));
        request.retry(retry()).key(&format!("long/{n}")).await?;
    }
    for n in 0..3 {
        let job = Plain { takes_ms: 300 + 400 * n, fails_one_in: 0 };
        let request = scheduler.schedule(job).every(seconds(2)).retry(RetryPolicy::fixed(1, Duration::ZERO));
        request.on_node_loss(OnNodeLoss::Lose).key(&format!("careful/{n}")).await?;
    }
    Ok(())
}
