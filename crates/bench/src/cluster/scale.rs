//! `scale`: what firings cost while ever more triggers are stored that are not due.

use serde_json::{Value, json};

use super::fill;
use super::ground::Ground;
use super::options::Options;
use super::recurring::KEEPUP;
use super::show::{Report, Spread, figure, progress, rounded};
use super::window::{COUNTING, Checks, Window, figures, watch};
use super::{Result, Sound, show};

/// How many triggers are due each second at most; never more than the smallest size.
const DUE: u32 = 1_000;
/// How much more a firing may cost at the last size than at the first one.
const WANTED: f64 = 1.3;

/// The figures that the table shows, by name and heading.
const SHOWN: [(&str, &str); 9] = [
    ("firings_per_second", "firings/s"),
    ("late_p50_ms", "late p50 ms"),
    ("late_p99_ms", "p99"),
    ("late_max_ms", "max"),
    ("statements", "stmts"),
    ("commits", "commits"),
    ("bytes", "bytes"),
    ("server_cpu_s_per_1000", "db cpu s/1k"),
    ("node_cpu_s_per_1000", "node cpu s/1k"),
];

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let sizes = &options.sizes;
    let due = sizes.iter().copied().fold(DUE, u32::min);
    let nodes = options.nodes.unwrap_or(1);
    let mut report = None;
    let mut windows: Vec<Vec<Window>> = vec![Vec::new(); sizes.len()];
    let mut counted: Vec<Option<Window>> = vec![None; sizes.len()];
    for run in 1..=options.runs {
        for ((size, windows), counted) in sizes.iter().zip(&mut windows).zip(&mut counted) {
            let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
            if report.is_none() {
                let what = format!(
                    "{} fire {due} triggers every second, beside others that are due in a year",
                    show::nodes(nodes)
                );
                let settings = (options, options.settings_of_windows());
                report = Some(Report::begin("scale", &what, settings, &mut ground).await?);
            }
            KEEPUP.put(&ground, due).await?;
            fill::far_triggers(&mut ground, size - due).await?;
            ground.tidy_up().await?;
            let seat = options.seat(ground.location());
            let window = watch(&mut ground, options, (&seat, nodes), None).await?;
            progress(format_args!(
                "run {run} with {} triggers: {} ms of processor a firing",
                figure((*size).into()),
                figure(cost(&window))
            ));
            // Where the server counts no statements, the nodes do, once, afterwards: because that costs.
            if !window.statements.is_finite() && counted.is_none() {
                ground.begin_anew().await?;
                *counted = Some(watch(&mut ground, options, (&seat, nodes), Some(COUNTING)).await?);
            }
            windows.push(window);
        }
    }
    let report = report.ok_or("nothing was measured")?;
    let costs: Vec<Vec<f64>> = windows.iter().map(|windows| windows.iter().map(cost).collect()).collect();
    let first = costs.first().ok_or("there is no size")?;
    let ratios: Vec<Spread> = costs.iter().map(|costs| ratio(costs, first)).collect();
    let rows = sizes.iter().zip(windows.iter().zip(&counted)).zip(&ratios);
    let cells = rows.clone().map(|((size, (windows, counted)), ratio)| {
        let figures = figures(windows, counted.as_ref());
        let shown = SHOWN.map(|(name, _)| figures.iter().find(|(other, _)| *other == name));
        let mut cells = vec![figure((*size).into())];
        cells.extend(shown.map(|found| found.map_or_else(String::new, |(_, spread)| figure(spread.median))));
        cells.push(ratio.shown());
        cells
    });
    let header: Vec<&str> =
        ["triggers"].into_iter().chain(SHOWN.map(|(_, head)| head)).chain(["cpu ratio"]).collect();
    report.table(&header, cells);
    report.note("stmts, commits and bytes are for each firing; the ratio is that of the seconds of processor a firing costs");
    report.note("server and nodes, to those in the same run with the first size: the median, and the smallest and largest.");
    let last = ratios.last().map_or(f64::NAN, |ratio| ratio.median);
    let within = last <= WANTED;
    let verdict = if within { "as wanted" } else { "MORE THAN WANTED" };
    report.note(format_args!(
        "The last size costs {} times the first one; at most {WANTED} is wanted: {verdict}.",
        figure(last)
    ));
    let checks = Checks::of(windows.iter().flatten().chain(counted.iter().flatten()));
    checks.note(&report);
    let list = rows.map(|((size, (windows, counted)), ratio)| {
        let figures = figures(windows, counted.as_ref()).into_iter();
        let mut object: serde_json::Map<_, _> =
            figures.map(|(name, spread)| (name.to_owned(), spread.to_json())).collect();
        object.insert("triggers".to_owned(), (*size).into());
        object.insert("cpu_ratio".to_owned(), ratio.to_json());
        Value::from(object)
    });
    let figures = json!({
        "nodes": nodes, "due_per_second": due, "sizes": list.collect::<Vec<_>>(), "cpu_ratio": rounded(last),
        "wanted": WANTED, "within": within, "checks": checks.to_json(),
    });
    report.end(options.store.name(), figures);
    Ok(checks.sound())
}

/// Milliseconds of processor that server and nodes need for a firing.
fn cost(window: &Window) -> f64 {
    let server = if window.server_cpu.is_finite() { window.server_cpu } else { 0.0 };
    window.each((server + window.node_cpu) * 1e3)
}

/// How one thing compares with another, run by run.
pub(crate) fn ratio(of: &[f64], to: &[f64]) -> Spread {
    Spread::of(of.iter().zip(to).map(|(of, to)| of / to))
}
