//! `idle`: what nodes cost that have nothing to do.

use punctual_core::Clock;
use punctual_runtime::SystemClock;
use serde_json::{Value, json};

use super::crew::Crew;
use super::ground::Ground;
use super::node::Seat;
use super::options::Options;
use super::show::{Report, Spread, count, figure, progress};
use super::{Result, Sound, show, spent};

/// Numbers of nodes, where none is given.
const CREWS: [u32; 3] = [1, 10, 100];

/// What one window showed, each by the second.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Of one node.
    statements: f64,
    commits: f64,
    /// Parts of one processor.
    node_cpu: f64,
    server_cpu: f64,
}

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let crews = options.crews(&CREWS);
    let mut report = None;
    let mut windows = vec![Vec::new(); crews.len()];
    for run in 1..=options.runs {
        for (nodes, windows) in crews.iter().zip(&mut windows) {
            let window = measure(options, *nodes, &mut report).await?;
            let rate = figure(window.statements);
            progress(format_args!("run {run} with {}: {rate} statements/s of each", show::nodes(*nodes)));
            windows.push(window);
        }
    }
    let report = report.ok_or("nothing was measured")?;
    let rows = crews.iter().zip(&windows).map(|(nodes, windows)| {
        let mut cells = vec![nodes.to_string()];
        for (_, spread) in figures(windows) {
            cells.push(spread.shown());
        }
        cells
    });
    let header =
        ["nodes", "statements/s of a node", "commits/s of all", "cpu % of a node", "cpu % of the server"];
    report.table(&header, rows);
    report.note("Medians of the runs, and their spread; 100 % is one processor.");
    let figures = crews.iter().zip(&windows).map(|(nodes, windows)| {
        let figures = figures(windows).into_iter().map(|(name, spread)| (name.to_owned(), spread.to_json()));
        let mut object: serde_json::Map<_, _> = figures.collect();
        object.insert("nodes".to_owned(), (*nodes).into());
        Value::from(object)
    });
    report.end(options.store.name(), json!({"crews": figures.collect::<Vec<_>>()}));
    Ok(Sound::Yes)
}

fn figures(windows: &[Window]) -> [(&'static str, Spread); 4] {
    let of = |figure: fn(&Window) -> f64| Spread::of(windows.iter().map(figure));
    [
        ("statements_per_second_of_a_node", of(|window| window.statements)),
        ("commits_per_second", of(|window| window.commits)),
        ("node_cpu_percent", of(|window| window.node_cpu * 100.0)),
        ("server_cpu_percent", of(|window| window.server_cpu * 100.0)),
    ]
}

async fn measure(options: &Options, nodes: u32, report: &mut Option<Report>) -> Result<Window> {
    let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
    if report.is_none() {
        let what = "nodes with nothing to do; statements by the store's own count, its check-ins included";
        *report =
            Some(Report::begin("idle", what, (options, options.settings_of_windows()), &mut ground).await?);
    }
    // Counting costs nothing where there is nothing to count.
    let seat = Seat { counts_statements: true, ..options.seat(ground.location()) };
    let mut crew = Crew::start(&seat, nodes)?;
    SystemClock.sleep(options.warming()).await;
    let (pids, begun) = (crew.pids(), SystemClock.boot());
    let (first, before, cpu) = (ground.counters(&pids).await?, crew.count()?, crew.cpu());
    SystemClock.sleep(options.window()).await;
    let (last, after, seconds) =
        (ground.counters(&pids).await?, crew.count()?, SystemClock.boot().since(begun).as_secs_f64());
    let node_cpu = (crew.cpu() - cpu) / seconds / f64::from(nodes);
    crew.end()?;
    let statements: u64 = before
        .iter()
        .zip(&after)
        .map(|(before, after)| spent::total(&spent::between(&before.spent, &after.spent)))
        .sum();
    Ok(Window {
        statements: count(statements) / seconds / f64::from(nodes),
        commits: count(last.commits.wrapping_sub(first.commits)) / seconds,
        node_cpu,
        server_cpu: last
            .server_cpu
            .zip(first.server_cpu)
            .map_or(f64::NAN, |(now, then)| (now - then) / seconds),
    })
}
