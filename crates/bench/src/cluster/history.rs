//! `history`: what a long history costs those who fire, and what it costs to delete from it meanwhile.

use serde_json::{Value, json};

use super::fill;
use super::ground::Ground;
use super::node::{History, Seat};
use super::options::Options;
use super::recurring::FIRE;
use super::scale::ratio;
use super::show::{Report, Spread, count, figure, progress, rounded};
use super::window::{Checks, Window, figures, watch};
use super::{Result, Sound, show};

/// How much of the rate without old rows is to be left with them.
const WANTED: f64 = 0.85;

/// Whether there are old rows, and what nodes do about them.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    full: bool,
    history: History,
}

const CASES: [Case; 3] = [
    Case { name: "none", full: false, history: History::Kept },
    Case { name: "kept", full: true, history: History::Kept },
    Case { name: "deleted meanwhile", full: true, history: History::Pruned },
];

/// What the runs of a case showed.
#[derive(Clone, Debug, Default)]
struct Seen {
    windows: Vec<Window>,
    /// Old rows that were deleted, by the second, while nodes ran.
    deleted: Vec<f64>,
    /// Whether there were old rows left each time.
    lasted: bool,
}

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let nodes = options.nodes.unwrap_or(1);
    let rows = options.history_rows;
    let ground = async || Ground::new(options.store.kind(), options.folder.as_deref()).await;
    let (mut empty, mut full) = (ground().await?, ground().await?);
    let what = format!(
        "{}, {} triggers that are always behind, without and with {} old rows of history",
        show::nodes(nodes),
        options.triggers,
        figure(rows.into())
    );
    let settings = (options, options.settings_of_windows());
    let report = Report::begin("history", &what, settings, &mut full).await?;
    FIRE.put(&empty, options.triggers).await?;
    FIRE.put(&full, options.triggers).await?;
    fill::history(&mut full, rows, options.triggers).await?;
    progress(format_args!("{} rows of history put in", figure(rows.into())));

    let mut seen = CASES.map(|_| Seen { lasted: true, ..Seen::default() });
    // The databases stay: what a run adds to them is little beside the old rows, and the same to both.
    for run in 1..=options.runs {
        for (case, seen) in CASES.iter().zip(&mut seen) {
            let ground = if case.full { &mut full } else { &mut empty };
            ground.begin_anew().await?;
            ground.tidy_up().await?;
            let seat = Seat { history: case.history, ..options.seat(ground.location()) };
            let prunes = case.history == History::Pruned;
            let before = if prunes { ground.old().await? } else { 0 };
            let window = watch(ground, options, (&seat, nodes), None).await?;
            if prunes {
                let left = ground.old().await?;
                let seconds = window.seconds + options.warming().as_secs_f64();
                seen.deleted.push(count(before.saturating_sub(left)) / seconds);
                seen.lasted &= left > 0;
            }
            progress(format_args!("run {run}, {}: {} firings/s", case.name, figure(window.rate())));
            seen.windows.push(window);
        }
    }
    let rates = seen.each_ref().map(|seen| seen.windows.iter().map(Window::rate).collect::<Vec<_>>());
    let first = rates.first().ok_or("nothing was measured")?;
    let ratios: Vec<Spread> = rates.iter().map(|rates| ratio(rates, first)).collect();
    let rows = CASES.iter().zip(&seen).zip(&ratios);
    report.table(
        &["old rows", "firings/s", "min", "max", "late p50 ms", "bytes", "deleted/s", "ratio"],
        rows.clone().map(|((case, seen), ratio)| {
            let rate = Spread::of(seen.windows.iter().map(Window::rate));
            let bytes = Spread::of(seen.windows.iter().map(|window| window.each(window.bytes)));
            let late = Spread::of(seen.windows.iter().map(|window| window.late.at(500)));
            let deleted = Spread::of(seen.deleted.iter().copied());
            let figures = [rate.median, rate.min, rate.max, late.median, bytes.median, deleted.median];
            let mut cells = vec![case.name.to_owned()];
            cells.extend(figures.map(figure));
            cells.push(ratio.shown());
            cells
        }),
    );
    report.note("The ratio is that of the firings a second to those without old rows in the same run: the median, and the");
    report.note("smallest and largest.");
    let least = ratios.iter().map(|ratio| ratio.median).fold(f64::INFINITY, f64::min);
    let within = least >= WANTED;
    let verdict = if within { "as wanted" } else { "LESS THAN WANTED" };
    report.note(format_args!("At least {WANTED} is wanted: {verdict}."));
    let lasted = seen.iter().all(|seen| seen.lasted);
    if !lasted {
        report.note("THERE WERE NOT ENOUGH OLD ROWS: nothing was left to delete before the window's end.");
    }
    let checks = Checks::of(seen.iter().flat_map(|seen| &seen.windows));
    checks.note(&report);
    let cases = rows.map(|((case, seen), ratio)| {
        let figures = figures(&seen.windows, None).into_iter();
        let mut object: serde_json::Map<_, _> =
            figures.map(|(name, spread)| (name.to_owned(), spread.to_json())).collect();
        object.insert("old_rows".to_owned(), case.name.into());
        object.insert("ratio".to_owned(), ratio.to_json());
        object.insert("deleted_per_second".to_owned(), Spread::of(seen.deleted.iter().copied()).to_json());
        Value::from(object)
    });
    let figures = json!({
        "nodes": nodes, "triggers": options.triggers, "history_rows": options.history_rows,
        "cases": cases.collect::<Vec<_>>(), "ratio": rounded(least), "wanted": WANTED, "within": within,
        "lasted": lasted, "checks": checks.to_json(),
    });
    report.end(options.store.name(), figures);
    Ok(if lasted { checks.sound() } else { Sound::No })
}
