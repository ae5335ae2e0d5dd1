//! A node of a benchmark: the real runtime in a process of its own, on a job that does nothing.
//!
//! It says `ready` when it is a member, and its counters whenever a line comes in and when it has ended, which it does
//! when its standard input closes. In between it says nothing, so that nothing but the runtime is measured.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::node::NodeState;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, JobStore, Profile};
use punctual_runtime::{Scheduler, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tracing_subscriber::filter::LevelFilter;

use super::latency::{self, Calls};
use super::spent::Statements;
use super::store::Opened;
use super::tally::{Tally, hold, nothing};
use super::{Result, crew};

/// What a node is started with, as JSON on its command line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// The database.
    pub(crate) location: String,
    pub(crate) name: String,
    pub(crate) capacity: u32,
    pub(crate) poll_ms: u64,
    /// The name of the profile.
    pub(crate) profile: String,
    pub(crate) history: History,
    /// Whether it runs [`Hold`](super::tally::Hold) and nothing else.
    pub(crate) holds: bool,
    /// Whether the store is told to count its statements; that costs, so rates are not measured with it.
    pub(crate) counts_statements: bool,
}

/// How long a node lets history be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum History {
    /// As nodes have it by default: seven days.
    Default,
    /// What was enqueued and succeeds leaves no record.
    Off,
    /// For ever.
    Kept,
    /// As long as by default; what is older is deleted from the start on, at the pace that nodes have by default.
    Pruned,
}

impl History {
    /// In a word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Off => "off",
            Self::Kept => "kept",
            Self::Pruned => "deleted meanwhile",
        }
    }
}

/// What the driver says to a node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Say your counters.
    Count,
    /// Schedule triggers yourself, one after the other, and then say your counters.
    Schedule(Calls),
}

/// Runs a node until its standard input closes.
pub(crate) async fn run(seat: Seat) -> Result<()> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let statements = Arc::<Statements>::default();
    let hook = seat.counts_statements.then(|| Arc::clone(&statements) as Arc<dyn StatementHook>);
    let store = Opened::at(&seat.location, hook).await?.store();
    let tally = Arc::new(Tally::new(ahead(&*store).await?, statements));
    let profile = Profile::named(&seat.profile).ok_or("there is no such profile")?;
    let builder = Scheduler::builder_shared(store)
        .name(&seat.name)
        .capacity(seat.capacity)
        .profile(profile)
        .state(Arc::clone(&tally));
    let builder = if seat.holds { builder.job(hold) } else { builder.job(nothing) };
    let node = builder
        .settings(|settings| {
            settings.poll = Duration::from_millis(seat.poll_ms);
            match seat.history {
                History::Default => {}
                History::Off => settings.record_successes = false,
                History::Kept => settings.keep_history = None,
                History::Pruned => settings.upkeep = Duration::from_millis(200),
            }
        })
        .build()
        .await?;
    let obeying = async {
        let obeyed = obey(&node, &tally).await;
        node.shut_down();
        obeyed
    };
    let (ran, obeyed) = tokio::join!(node.run_until(std::future::pending::<()>()), obeying);
    ran?;
    obeyed?;
    say(&tally.so_far())
}

async fn obey(node: &Scheduler, tally: &Tally) -> Result<()> {
    while !is_member(node).await? {
        SystemClock.sleep(Duration::from_millis(10)).await;
    }
    say(&crew::READY)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Order::Schedule(calls) = serde_json::from_str(&line)? {
            latency::schedule(node, calls).await?;
        }
        say(&tally.so_far())?;
    }
    Ok(())
}

async fn is_member(node: &Scheduler) -> Result<bool> {
    let id = node.node_id();
    let nodes = node.nodes().await?;
    Ok(nodes.iter().any(|record| record.info.id == id && record.state == NodeState::Up))
}

#[expect(clippy::print_stdout, reason = "the driver reads it")]
fn say(what: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

/// How far the store's clock is ahead of this machine's, in microseconds, by the quickest of some answers.
async fn ahead(store: &dyn JobStore) -> Result<i64> {
    let mut best: Option<(Duration, i64)> = None;
    for _ in 0..30 {
        let (wall, sent) = (SystemClock.wall(), SystemClock.boot());
        let now = store.now().await?;
        let took = SystemClock.boot().since(sent);
        if best.is_none_or(|(least, _)| took < least) {
            let then = wall.plus(took / 2);
            best = Some((took, now.as_micros() - then.as_micros()));
        }
    }
    Ok(best.map_or(0, |(_, ahead)| ahead))
}
