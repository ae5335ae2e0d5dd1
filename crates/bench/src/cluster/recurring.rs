//! `fire` and `keepup`: recurring triggers, always behind or as fast as they come due.

use std::time::Duration;

use punctual_core::Clock;
use punctual_runtime::SystemClock;
use serde_json::{Value, json};

use super::crew::Crew;
use super::ground::{Counters, Ground, Recorded};
use super::histogram::Counts;
use super::node::Seat;
use super::options::Options;
use super::show::{Report, Spread, count, figure, progress, rounded};
use super::tally::Snapshot;
use super::{Result, Sound, kernel, load, show};

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

/// The longest window in which statements are counted.
const COUNTING: Duration = Duration::from_secs(5);

/// What was seen in one window.
#[derive(Clone, Debug, Default)]
struct Window {
    seconds: f64,
    /// Firings that ended in it, by the history.
    fired: u64,
    commits: f64,
    bytes: f64,
    /// Of them, images of full pages; not a number where they cannot be told apart.
    images: f64,
    statements: f64,
    server_cpu: f64,
    node_cpu: f64,
    /// The part of the machine that somebody else had.
    others: f64,
    peak_kib: u64,
    late: Counts,
    /// Bodies that have begun in all, and how many of them the history does not have; or the other way round.
    begun: u64,
    unaccounted: u64,
    twice: u64,
    /// Whether what has run and what is recorded are the same executions.
    same: bool,
}

impl Window {
    fn rate(&self) -> f64 {
        count(self.fired) / self.seconds
    }

    /// A figure of the whole window for each firing.
    fn each(&self, whole: f64) -> f64 {
        whole / count(self.fired.max(1))
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
    let all = || windows.iter().flatten().chain(counted.iter().flatten());
    let (begun, twice) =
        (all().map(|window| window.begun).sum::<u64>(), all().map(|window| window.twice).sum::<u64>());
    let unaccounted: u64 = all().map(|window| window.unaccounted).sum();
    let same = all().all(|window| window.same);
    report.note(format_args!(
        "Of {} bodies, {unaccounted} are in no record, {twice} instants fired twice; {}.",
        figure(count(begun)),
        if same { "history and bodies are the same executions" } else { "HISTORY AND BODIES DIFFER" },
    ));
    let figures = rows.iter().map(|(nodes, (windows, counted))| to_json(**nodes, windows, counted.as_ref()));
    let checks = json!({"bodies": begun, "unaccounted": unaccounted, "double_firings": twice, "same": same});
    let figures = json!({
        "triggers": options.triggers, "interval_ms": rounded(load.interval.as_secs_f64() * 1e3),
        "crews": figures.collect::<Vec<Value>>(), "checks": checks,
    });
    report.end(options.store.name(), figures);
    Ok(if same && twice == 0 { Sound::Yes } else { Sound::No })
}

/// Measures once, on a new database. With a limit it counts statements, in a window that is no longer than that.
async fn measure(
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
    let store = ground.open().await?.store();
    load::triggers(&*store, options.triggers, load.interval).await?;
    ground.tidy_up().await?;

    let seat = Seat { counts_statements: counting.is_some(), ..options.seat(ground.location()) };
    let mut crew = Crew::start(&seat, nodes)?;
    SystemClock.sleep(options.warming().min(counting.unwrap_or(Duration::MAX))).await;
    let length = options.window().min(counting.unwrap_or(Duration::MAX));

    let (first, before, busy) = (Edge::read(&crew, &mut ground).await?, crew.count()?, kernel::cpu_of_all());
    let from = store.now().await?;
    SystemClock.sleep(length).await;
    let to = store.now().await?;
    let (last, after) = (Edge::read(&crew, &mut ground).await?, crew.count()?);
    let busy = kernel::cpu_of_all().zip(busy).map_or(f64::NAN, |(now, then)| now - then);

    let all = crew.end()?;
    let images = ground.images(first.counters.bytes, last.counters.bytes).await;
    let recorded = ground.recorded(from, to).await?;
    let seconds = to.since(from).as_secs_f64();
    let server_cpu =
        last.counters.server_cpu.zip(first.counters.server_cpu).map_or(f64::NAN, |(now, then)| now - then);
    let node_cpu = last.node_cpu - first.node_cpu;
    let ours = node_cpu + if server_cpu.is_finite() { server_cpu } else { 0.0 };
    let late = before.iter().zip(&after).map(|(before, after)| after.late.since(&before.late));
    let by_server =
        last.counters.statements.zip(first.counters.statements).map(|(now, then)| now.saturating_sub(then));
    let by_nodes: u64 =
        before.iter().zip(&after).map(|(before, after)| after.statements - before.statements).sum();
    let (begun, unaccounted, same) = compared(&all, recorded);
    Ok(Window {
        seconds,
        fired: recorded.within,
        commits: count(last.counters.commits.wrapping_sub(first.counters.commits)),
        bytes: count(last.counters.bytes.saturating_sub(first.counters.bytes)),
        images: images.map_or(f64::NAN, count),
        statements: by_server.or_else(|| counting.map(|_| by_nodes)).map_or(f64::NAN, count),
        server_cpu,
        node_cpu,
        others: ((busy - ours) / seconds / processors()).max(0.0),
        peak_kib: all.iter().filter_map(|snapshot| snapshot.peak_kib).max().unwrap_or(0),
        late: late.fold(Counts::default(), |sum, late| sum.with(&late)),
        begun,
        unaccounted,
        twice: ground.twice().await?,
        same,
    })
}

/// What is read at both ends of a window.
struct Edge {
    counters: Counters,
    node_cpu: f64,
}

impl Edge {
    async fn read(crew: &Crew, ground: &mut Ground) -> Result<Self> {
        Ok(Self { counters: ground.counters(&crew.pids()).await?, node_cpu: crew.cpu() })
    }
}

/// How many bodies have begun, how many more or fewer are recorded, and whether they are the same.
fn compared(all: &[Snapshot], recorded: Recorded) -> (u64, u64, bool) {
    let begun: u64 = all.iter().map(|snapshot| snapshot.begun).sum();
    let sum = all.iter().fold(0_u64, |sum, snapshot| sum.wrapping_add(snapshot.sum));
    (begun, begun.abs_diff(recorded.count), begun == recorded.count && sum == recorded.sum)
}

fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |number| count(u64::try_from(number.get()).unwrap_or(1)))
}

/// The figures of a number of nodes, by name.
fn figures(windows: &[Window], counted: Option<&Window>) -> Vec<(&'static str, Spread)> {
    let of = |figure: &dyn Fn(&Window) -> f64| Spread::of(windows.iter().map(figure));
    let statements = |window: &Window| window.each(window.statements);
    let statements = counted.map_or_else(|| of(&statements), |counted| Spread::of([statements(counted)]));
    vec![
        ("firings_per_second", of(&Window::rate)),
        ("late_p50_ms", of(&|window| window.late.at(500))),
        ("late_p99_ms", of(&|window| window.late.at(990))),
        ("late_max_ms", of(&|window| window.late.at(1000))),
        ("statements", statements),
        ("commits", of(&|window| window.each(window.commits))),
        ("bytes", of(&|window| window.each(window.bytes))),
        ("image_bytes", of(&|window| window.each(window.images))),
        ("server_cpu_s_per_1000", of(&|window| window.each(window.server_cpu * 1e3))),
        ("node_cpu_s_per_1000", of(&|window| window.each(window.node_cpu * 1e3))),
        ("other_cpu", of(&|window| window.others)),
        ("peak_mib", of(&|window| count(window.peak_kib) / 1024.0)),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_the_history_does_not_have_are_found() {
        let node = |begun, sum| Snapshot { begun, sum, ..Snapshot::default() };
        let recorded = |count, sum| Recorded { count, sum, within: 0 };
        let nodes = [node(2, u64::MAX), node(1, 5)];
        assert_eq!(compared(&nodes, recorded(3, 4)), (3, 0, true));
        assert_eq!(compared(&nodes, recorded(2, 4)), (3, 1, false), "one is in no record");
        assert_eq!(compared(&nodes, recorded(4, 4)), (3, 1, false), "one has not run");
        assert_eq!(compared(&nodes, recorded(3, 6)), (3, 0, false), "one ran twice and another one never");
    }

    #[test]
    fn statements_are_the_servers_where_it_counts_them() {
        let window = |statements| Window { seconds: 1.0, fired: 10, statements, ..Window::default() };
        let of = |windows: &[Window], counted: Option<&Window>| {
            figures(windows, counted)
                .into_iter()
                .find(|(name, _)| *name == "statements")
                .map(|(_, spread)| spread.median)
        };
        assert_eq!(of(&[window(5.0), window(7.0)], None), Some(0.6));
        assert_eq!(of(&[window(f64::NAN)], Some(&window(4.0))), Some(0.4));
    }
}
