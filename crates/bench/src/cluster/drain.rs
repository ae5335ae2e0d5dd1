//! `drain`: enqueueing, and then how long a backlog takes to be worked off.

use std::time::Duration;

use punctual_core::{Clock, ExecutionId};
use punctual_runtime::{Scheduler, SystemClock};
use serde_json::{Value, json};

use super::crew::Crew;
use super::ground::Ground;
use super::node::{History, Seat};
use super::options::Options;
use super::show::{Report, Spread, count, figure, progress};
use super::tally::{Nothing, mixed};
use super::{Result, Sound, show};

/// How many are enqueued one by one, and in transactions of a user's.
const SAMPLE: u32 = 2_000;
/// How many go into one step otherwise.
const BATCH: u32 = 1_000;
/// How often the driver asks the nodes whether all bodies have begun, which costs the server nothing.
const ASK: Duration = Duration::from_millis(10);
/// How often it looks after that whether nothing is left, which takes the server longer the more has been there.
const LOOK: Duration = Duration::from_millis(2);

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// Jobs a second, enqueued one by one.
    one_by_one: f64,
    in_transactions: f64,
    in_batches: f64,
    drained: f64,
    commits: f64,
    bytes: f64,
    /// Whether each job has run, and none twice.
    same: bool,
}

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let crews = options.crews(&[1, 4]);
    let cases: Vec<(u32, History)> =
        crews.iter().flat_map(|nodes| [(*nodes, History::Default), (*nodes, History::Off)]).collect();
    let mut report = None;
    let mut runs = vec![Vec::new(); cases.len()];
    for number in 1..=options.runs {
        for ((nodes, history), runs) in cases.iter().zip(&mut runs) {
            let run = measure(options, *nodes, *history, &mut report).await?;
            let rate = figure(run.drained);
            let (crew, history) = (show::nodes(*nodes), history.name());
            progress(format_args!("run {number} with {crew}, history {history}: {rate} jobs/s"));
            runs.push(run);
        }
    }
    let report = report.ok_or("nothing was measured")?;
    let rows = cases.iter().zip(&runs).map(|((nodes, history), runs)| {
        let mut cells = vec![nodes.to_string(), history.name().to_owned()];
        for (at, (_, spread)) in figures(runs).into_iter().enumerate() {
            cells.push(figure(spread.median));
            if at == 0 {
                cells.extend([figure(spread.min), figure(spread.max)]);
            }
        }
        cells
    });
    let header = [
        "nodes",
        "history",
        "drained/s",
        "min",
        "max",
        "commits",
        "bytes",
        "enqueued/s by one",
        "in transactions",
        "in batches",
    ];
    report.table(&header, rows);
    report
        .note("Commits and bytes are for each job of the drain. History off: `record_successes` is `false`.");
    report.note(format_args!(
        "Enqueued one at a time and in transactions with a row of the user's: {SAMPLE} by one client; in batches of \
         {BATCH}: the rest."
    ));
    let same = runs.iter().flatten().all(|run| run.same);
    report.note(if same { "Each job has run once." } else { "NOT EACH JOB HAS RUN ONCE." });
    let figures = cases.iter().zip(&runs).map(|((nodes, history), runs)| {
        let figures = figures(runs).into_iter().map(|(name, spread)| (name.to_owned(), spread.to_json()));
        let mut object: serde_json::Map<_, _> = figures.collect();
        object.insert("nodes".to_owned(), (*nodes).into());
        object.insert("history".to_owned(), history.name().into());
        Value::from(object)
    });
    let figures = json!({"jobs": options.jobs, "same": same, "cases": figures.collect::<Vec<_>>()});
    report.end(options.store.name(), figures);
    Ok(if same { Sound::Yes } else { Sound::No })
}

fn figures(runs: &[Run]) -> [(&'static str, Spread); 6] {
    let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    [
        ("drained_per_second", of(|run| run.drained)),
        ("commits", of(|run| run.commits)),
        ("bytes", of(|run| run.bytes)),
        ("enqueued_per_second_one_by_one", of(|run| run.one_by_one)),
        ("enqueued_per_second_in_transactions", of(|run| run.in_transactions)),
        ("enqueued_per_second_in_batches", of(|run| run.in_batches)),
    ]
}

/// Adds up what has been enqueued, as bodies add up what has run.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, id: ExecutionId) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(mixed(id));
    }
}

async fn measure(
    options: &Options,
    nodes: u32,
    history: History,
    report: &mut Option<Report>,
) -> Result<Run> {
    let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
    if report.is_none() {
        let what = format!("{} no-op jobs are enqueued, and then worked off", options.jobs);
        *report = Some(Report::begin("drain", &what, (options, options.settings()), &mut ground).await?);
    }
    let mut run = Run::default();
    let enqueued = enqueue(&mut ground, options.jobs, &mut run).await?;
    ground.tidy_up().await?;

    let seat = Seat { history, ..options.seat(ground.location()) };
    let before = ground.counters(&[]).await?;
    let mut crew = Crew::start(&seat, nodes)?;
    for asked in 1_u32.. {
        // What is lost never begins: now and then the store is asked, too, so that this ends and is told.
        let all = crew.count()?.iter().map(|snapshot| snapshot.begun).sum::<u64>() >= enqueued.count;
        if all || (asked.is_multiple_of(500) && !ground.has_work().await?) {
            break;
        }
        crew.check()?;
        SystemClock.sleep(ASK).await;
    }
    while ground.has_work().await? {
        crew.check()?;
        SystemClock.sleep(LOOK).await;
    }
    let done = SystemClock.wall().as_micros();
    ground.catch_up().await;
    let after = ground.counters(&crew.pids()).await?;
    let first = crew.count()?.iter().filter_map(|snapshot| snapshot.first).min();
    let all = crew.end()?;
    let took =
        first.map_or(Duration::ZERO, |first| Duration::from_micros(u64::try_from(done - first).unwrap_or(0)));
    let jobs = count(enqueued.count);
    run.drained = jobs / took.as_secs_f64();
    run.commits = count(after.commits.wrapping_sub(before.commits)) / jobs;
    run.bytes = count(after.bytes.saturating_sub(before.bytes)) / jobs;
    let sum = all.iter().fold(0_u64, |sum, snapshot| sum.wrapping_add(snapshot.sum));
    let begun: u64 = all.iter().map(|snapshot| snapshot.begun).sum();
    run.same = begun == enqueued.count && sum == enqueued.sum;
    Ok(run)
}

/// Enqueues in the three ways, and measures each.
async fn enqueue(ground: &mut Ground, jobs: u32, run: &mut Run) -> Result<Sum> {
    let opened = ground.open().await?;
    let scheduler = Scheduler::builder_shared(opened.store()).build().await?;
    let mut sum = Sum::default();
    let sample = SAMPLE.min(jobs / 4).max(1);
    let rate = |count: u32, begun| f64::from(count) / SystemClock.boot().since(begun).as_secs_f64().max(1e-9);

    let begun = SystemClock.boot();
    for _ in 0..sample {
        sum.add(scheduler.enqueue(Nothing {}).await?);
    }
    run.one_by_one = rate(sample, begun);

    ground.run("CREATE TABLE bench_row (n INT)").await?;
    let mut session = ground.session().await?;
    let begun = SystemClock.boot();
    for _ in 0..sample {
        let work = scheduler.enqueue(Nothing {}).prepare()?;
        sum.add(work.execution.id);
        opened.enqueue_with(&mut session, "INSERT INTO bench_row VALUES (1)", vec![work]).await?;
    }
    run.in_transactions = rate(sample, begun);

    let rest = jobs.saturating_sub(2 * sample);
    let begun = SystemClock.boot();
    let mut left = rest;
    while left > 0 {
        let batch = left.min(BATCH);
        scheduler.enqueue_many((0..batch).map(|_| Nothing {})).await?.into_iter().for_each(|id| sum.add(id));
        left -= batch;
    }
    run.in_batches = rate(rest, begun);
    Ok(sum)
}
