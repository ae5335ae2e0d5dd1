//! `latency`: one trigger at a time, scheduled by the node that fires it or by another process, on a cluster that is idle
//! or about half busy.

use std::time::Duration;

use punctual_core::Clock;
use punctual_runtime::{Scheduler, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::crew::Crew;
use super::ground::Ground;
use super::histogram::Counts;
use super::node::Order;
use super::options::Options;
use super::recurring::{FIRE, KEEPUP};
use super::show::{Report, Spread, count, figure, progress};
use super::tally::Nothing;
use super::window::watch;
use super::{Result, Sound};

/// The group of its triggers, by which bodies know them.
pub(crate) const GROUP: &str = "latency";

/// How many triggers are scheduled, when they fire, and what comes between them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Calls {
    count: u32,
    /// How far ahead of the store's now each one fires, in milliseconds.
    ahead_ms: u64,
    /// The pause between the instant of one and the scheduling of the next one, in milliseconds.
    gap_ms: u64,
    /// How long after the last one nobody waits any more, in milliseconds.
    patience_ms: u64,
}

/// Schedules triggers that fire once, each a pause after the instant of the one before it, and waits until the last must
/// have fired.
pub(crate) async fn schedule(scheduler: &Scheduler, calls: Calls) -> Result<()> {
    let pid = std::process::id();
    for n in 0..calls.count {
        let at = scheduler.store().now().await?.plus(Duration::from_millis(calls.ahead_ms));
        let key = format!("{GROUP}/{pid}-{}-{n}", calls.ahead_ms);
        scheduler.schedule(Nothing {}).at(at.to_chrono()).key(&key).await?;
        SystemClock.sleep(Duration::from_millis(calls.ahead_ms + calls.gap_ms + u64::from(n) * 7 % 10)).await;
    }
    SystemClock.sleep(Duration::from_millis(calls.patience_ms)).await;
    Ok(())
}

/// The pause between two triggers. A cluster that writes back what one of them has left is not idle yet.
const GAP_MS: u64 = 50;

/// Who schedules, and how far ahead.
#[derive(Clone, Copy, Debug)]
struct Case {
    own: bool,
    ahead_ms: u64,
}

const CASES: [Case; 4] = [
    Case { own: true, ahead_ms: 0 },
    Case { own: true, ahead_ms: 100 },
    Case { own: false, ahead_ms: 0 },
    Case { own: false, ahead_ms: 100 },
];

/// How many triggers have to fire every second so that the nodes are about half busy: half of what they fire when they are
/// always behind.
async fn half_load(options: &Options, nodes: u32) -> Result<u32> {
    let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
    FIRE.put(&ground, options.triggers).await?;
    ground.tidy_up().await?;
    let seat = options.seat(ground.location());
    let window = watch(&mut ground, options, (&seat, nodes), None).await?;
    progress(format_args!("with as many triggers as they can fire: {} firings/s", figure(window.rate())));
    Ok(u32::try_from(window.fired / options.seconds / 2)?.max(1))
}

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let nodes = options.nodes.unwrap_or(1);
    let beside = if options.half_load { half_load(options, nodes).await? } else { 0 };
    let mut report = None;
    let mut late = vec![Vec::new(); CASES.len()];
    let mut lost = 0;
    for run in 1..=options.runs {
        for (case, late) in CASES.iter().zip(&mut late) {
            let (counts, missing) = measure(*case, options, (nodes, beside), &mut report).await?;
            lost += missing;
            progress(format_args!("run {run}, {}: p50 {} ms", name(*case), figure(counts.at(500))));
            late.push(counts);
        }
    }
    let report = report.ok_or("nothing was measured")?;
    let points = [("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1000)];
    let spreads = |late: &[Counts]| {
        points.map(|(name, point)| (name, Spread::of(late.iter().map(|counts| counts.at(point)))))
    };
    let rows = CASES.iter().zip(&late).map(|(case, late)| {
        let samples: u64 = late.iter().map(Counts::total).sum();
        let mut cells = vec![name(*case), figure(count(samples))];
        for (_, spread) in spreads(late) {
            cells.push(spread.shown());
        }
        cells
    });
    report.table(&["scheduled by", "samples", "p50 ms", "p99", "p99.9", "max"], rows);
    report.note("From the trigger's instant to the beginning of its body, on the store's clock; medians of the runs, and");
    report.note("their spread. What is due at once is late by the commit that schedules it, too.");
    report.note(format_args!("{lost} triggers have not fired."));
    let figures = CASES.iter().zip(&late).map(|(case, late)| {
        let figures = spreads(late).into_iter().map(|(name, spread)| (name.to_owned(), spread.to_json()));
        json!({"own": case.own, "ahead_ms": case.ahead_ms, "late_ms": figures.collect::<serde_json::Map<_, _>>()})
    });
    let figures = json!({"nodes": nodes, "beside_per_second": beside, "lost": lost, "cases": figures.collect::<Vec<_>>()});
    report.end(options.store.name(), figures);
    Ok(if lost == 0 { Sound::Yes } else { Sound::No })
}

fn name(Case { own, ahead_ms }: Case) -> String {
    let who = if own { "the node" } else { "another process" };
    if ahead_ms == 0 { format!("{who}, due at once") } else { format!("{who}, {ahead_ms} ms ahead") }
}

/// Measures on a new database; also answers how many triggers did not fire.
async fn measure(
    case: Case,
    options: &Options,
    (nodes, beside): (u32, u32),
    report: &mut Option<Report>,
) -> Result<(Counts, u64)> {
    let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
    if report.is_none() {
        let what = if beside == 0 {
            "one trigger at a time on an idle cluster; start delay".to_owned()
        } else {
            format!(
                "one trigger at a time beside {beside} that fire every second, half of what the nodes can; start delay"
            )
        };
        *report = Some(
            Report::begin("latency", &what, (options, options.settings_of_windows()), &mut ground).await?,
        );
    }
    if beside > 0 {
        KEEPUP.put(&ground, beside).await?;
        ground.tidy_up().await?;
    }
    let mut crew = Crew::start(&options.seat(ground.location()), nodes)?;
    SystemClock.sleep(options.warming()).await;
    let wanted = options.seconds * 1_000 / (case.ahead_ms + GAP_MS + 5);
    let calls = Calls {
        count: u32::try_from(wanted).unwrap_or(u32::MAX),
        ahead_ms: case.ahead_ms,
        gap_ms: GAP_MS,
        patience_ms: options.poll_ms + 1_500,
    };
    if case.own {
        crew.first(&Order::Schedule(calls))?;
    } else {
        let store = ground.open().await?.store();
        let scheduler = Scheduler::builder_shared(store).build().await?;
        schedule(&scheduler, calls).await?;
    }
    let all = crew.end()?;
    let counts = all.iter().fold(Counts::default(), |sum, snapshot| sum.with(&snapshot.probes));
    let missing = u64::from(calls.count).abs_diff(counts.total());
    Ok((counts, missing))
}
