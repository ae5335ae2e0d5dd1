//! `fire` and `keepup`: recurring triggers, always behind or as fast as they come due.

use std::time::Duration;

use serde_json::{Value, json};

use super::ground::Ground;
use super::options::Options;
use super::show::{Report, figure, progress, rounded};
use super::window::{COUNTING, Checks, Window, figures, watch};
use super::{Result, Sound, load, show};

/// A load of recurring triggers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurring {
    name: &'static str,
    interval: Duration,
    /// Numbers of nodes, where none is given.
    crews: &'static [u32],
    what: &'static str,
}

/// More is asked than anybody can do.
pub(crate) const FIRE: Recurring = Recurring {
    name: "fire",
    interval: Duration::from_millis(20),
    crews: &[1, 2, 4, 8],
    what: "triggers every 20 ms that ignore misfires, so always behind; no-op jobs; history on; at most one \
           occurrence of a trigger a claim",
};

/// What is asked can be done.
pub(crate) const KEEPUP: Recurring = Recurring {
    name: "keepup",
    interval: Duration::from_secs(1),
    crews: &[1, 4],
    what: "triggers every second, spread evenly over it, that ignore misfires; no-op jobs; history on",
};

impl Recurring {
    /// Puts so many triggers into a database.
    pub(crate) async fn put(&self, ground: &Ground, triggers: u32) -> Result<()> {
        let store = ground.open().await?.store();
        load::triggers(&*store, triggers, self.interval).await
    }
}

pub(crate) async fn run(load: &Recurring, options: &Options) -> Result<Sound> {
    let crews = options.crews(load.crews);
    let mut report = None;
    let mut windows = vec![Vec::new(); crews.len()];
    // They take turns, so that what disturbs the machine disturbs all of them.
    for run in 1..=options.runs {
        for (nodes, windows) in crews.iter().zip(&mut windows) {
            let window = measure(load, options, *nodes, None, &mut report).await?;
            let (crew, rate) = (show::nodes(*nodes), figure(window.rate()));
            progress(format_args!("run {run} with {crew}: {rate} firings/s"));
            windows.push(window);
        }
    }
    // Where the server counts no statements, the nodes do: in a run of their own, because that costs.
    let mut counted = Vec::new();
    for (nodes, windows) in crews.iter().zip(&windows) {
        let known = windows.iter().all(|window| window.statements.is_finite());
        counted.push(if known {
            None
        } else {
            let window = measure(load, options, *nodes, Some(COUNTING), &mut report).await?;
            progress(format_args!("statements of {} counted", show::nodes(*nodes)));
            Some(window)
        });
    }
    let report = report.ok_or("nothing was measured")?;
    let rows: Vec<_> = crews.iter().zip(windows.iter().zip(&counted)).collect();
    report.table(
        &[
            "nodes",
            "firings/s",
            "min",
            "max",
            "late p50 ms",
            "p99",
            "max",
            "stmts",
            "commits",
            "bytes",
            "images",
            "db cpu s/1k",
            "node cpu s/1k",
            "other cpu",
            "peak MiB",
        ],
        rows.iter().map(|(nodes, (windows, counted))| row(**nodes, windows, counted.as_ref())),
    );
    report.note("stmts, commits, bytes and images (of full pages, within bytes) are for each firing.");
    if counted.iter().any(Option::is_some) {
        report.note("Statements were counted by the nodes in a run of its own, because that costs.");
    }
    let checks = Checks::of(windows.iter().flatten().chain(counted.iter().flatten()));
    checks.note(&report);
    let figures = rows.iter().map(|(nodes, (windows, counted))| to_json(**nodes, windows, counted.as_ref()));
    let figures = json!({
        "triggers": options.triggers, "interval_ms": rounded(load.interval.as_secs_f64() * 1e3),
        "crews": figures.collect::<Vec<Value>>(), "checks": checks.to_json(),
    });
    report.end(options.store.name(), figures);
    Ok(checks.sound())
}

/// Measures once, on a new database. With a limit it counts statements, in a window that is no longer than that.
pub(crate) async fn measure(
    load: &Recurring,
    options: &Options,
    nodes: u32,
    counting: Option<Duration>,
    report: &mut Option<Report>,
) -> Result<Window> {
    let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
    if report.is_none() {
        let what = format!("{} {}", options.triggers, load.what);
        *report = Some(
            Report::begin(load.name, &what, (options, options.settings_of_windows()), &mut ground).await?,
        );
    }
    load.put(&ground, options.triggers).await?;
    ground.tidy_up().await?;
    let seat = options.seat(ground.location());
    watch(&mut ground, options, (&seat, nodes), counting).await
}

fn row(nodes: u32, windows: &[Window], counted: Option<&Window>) -> Vec<String> {
    let mut cells = vec![nodes.to_string()];
    for (at, (_, spread)) in figures(windows, counted).into_iter().enumerate() {
        cells.push(figure(spread.median));
        if at == 0 {
            cells.extend([figure(spread.min), figure(spread.max)]);
        }
    }
    cells
}

fn to_json(nodes: u32, windows: &[Window], counted: Option<&Window>) -> Value {
    let figures =
        figures(windows, counted).into_iter().map(|(name, spread)| (name.to_owned(), spread.to_json()));
    let mut object: serde_json::Map<_, _> = figures.collect();
    object.insert("nodes".to_owned(), nodes.into());
    if let Some(counted) = counted {
        // Whether the run in which statements were counted was like the others.
        object.insert("commits_where_counted".to_owned(), rounded(counted.each(counted.commits)).into());
    }
    object.into()
}
