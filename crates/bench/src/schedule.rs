//! What schedules cost, beside the `cron` and `croner` crates, measured in one run: `cargo xtask bench schedule`.
//!
//! Each engine is asked in its own types, prepared beforehand, so that the others are not charged for conversions
//! that only we need. Ratios are to the faster of the two. Whether the answers agree is shown, not judged: the others
//! have rules of their own where clocks change.

#![expect(clippy::print_stdout, reason = "printing is what this is for")]

use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::engine::{Engine, Questions, Read};
use crate::list::{EXPRESSIONS, NEVER};
use crate::measure::{in_turn, median};

/// What was measured about one expression, in nanoseconds by engine; none if the engine does not read it.
struct Row {
    expression: &'static str,
    next: [Option<f64>; 3],
    parse: [Option<f64>; 3],
    /// On how many questions the other engine's answer is ours.
    same: [Option<usize>; 3],
}

impl Row {
    /// How many times longer the faster of the others takes, if both read the expression.
    fn ratio(times: &[Option<f64>; 3]) -> Option<f64> {
        match *times {
            [Some(ours), Some(cron), Some(croner)] => Some(cron.min(croner) / ours),
            _ => None,
        }
    }
}

/// Measures and prints; whether the goals are met is the answer.
pub(crate) fn run(runs: usize, json: bool) -> Result<ExitCode, punctual_core::Error> {
    Ok(schedule(&Questions::new()?, runs, json))
}

fn schedule(questions: &Questions, runs: usize, json: bool) -> ExitCode {
    let rows: Vec<Row> = EXPRESSIONS.into_iter().map(|text| row(questions, text, runs)).collect();
    println!(
        "Next instant in Europe/Berlin and parsing, ns, medians of {runs}; ×: the faster of the others to ours."
    );
    println!("Same: answers of cron and croner that are ours, of {}.\n", questions.len());
    println!("{}\n", table(&rows));

    let never: Vec<f64> = NEVER.into_iter().map(|text| never(questions, text, runs)).collect();
    let never_max = never.iter().copied().fold(f64::NAN, f64::max) / 1e3;

    let count = as_f64(questions.len());
    let zone: Vec<f64> = in_turn(
        runs,
        &mut [
            Box::new(|| questions.to_local()),
            Box::new(|| questions.to_instant()),
            Box::new(|| questions.tz_to_local()),
            Box::new(|| questions.tz_to_instant()),
        ],
    )
    .into_iter()
    .map(|time| time / count)
    .collect();
    let [to_local, to_instant, tz_to_local, tz_to_instant] = zone[..] else { return ExitCode::FAILURE };
    println!("zone     instant to wall time {to_local:.1} ns (chrono-tz {tz_to_local:.1})");
    println!("         wall time to instant {to_instant:.1} ns (chrono-tz {tz_to_instant:.1})");

    let next: Vec<f64> = rows.iter().filter_map(|row| Row::ratio(&row.next)).collect();
    let parse: Vec<f64> = rows.iter().filter_map(|row| Row::ratio(&row.parse)).collect();
    let least = |ratios: &[f64]| ratios.iter().copied().fold(f64::NAN, f64::min);
    let (next_min, parse_min) = (least(&next), least(&parse));
    let (common, next_median, parse_median) = (next.len(), median(next), median(parse));
    println!("next     × {next_min:.1} at least, {next_median:.1} in the middle, of {common} expressions");
    println!("parse    × {parse_min:.1} at least, {parse_median:.1} in the middle");
    println!("never    {never_max:.1} µs at most");

    let good = next_min > 1.0 && parse_min >= 1.0 && never_max < 100.0;
    println!("goals    {}", if good { "met" } else { "MISSED" });
    if json {
        let ours = |times: fn(&Row) -> &[Option<f64>; 3]| {
            round(median(rows.iter().filter_map(|row| times(row)[0]).collect()))
        };
        println!(
            "{}",
            json!({
                "good": good,
                "expressions": rows.len(),
                "common": common,
                "runs": runs,
                "next_ns_median": ours(|row| &row.next),
                "next_ratio_min": round(next_min),
                "next_ratio_median": round(next_median),
                "parse_ns_median": ours(|row| &row.parse),
                "parse_ratio_min": round(parse_min),
                "parse_ratio_median": round(parse_median),
                "never_us_max": round(never_max),
                "zone_ns_to_local": round(to_local),
                "zone_ns_to_instant": round(to_instant),
                "chrono_tz_ns_to_local": round(tz_to_local),
                "chrono_tz_ns_to_instant": round(tz_to_instant),
            })
        );
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn row(questions: &Questions, expression: &'static str, runs: usize) -> Row {
    let reads = Engine::ALL.map(|engine| questions.read(engine, expression));
    let there =
        || Engine::ALL.into_iter().zip(&reads).filter_map(|(engine, read)| Some((engine, read.as_ref()?)));
    let mut asks: Vec<Box<dyn FnMut() + '_>> = Vec::new();
    let mut parses: Vec<Box<dyn FnMut() + '_>> = Vec::new();
    for (engine, read) in there() {
        asks.push(Box::new(|| questions.ask(read)));
        parses.push(Box::new(move || questions.parse(engine, expression)));
    }
    let count = as_f64(questions.len());
    let next = in_turn(runs, &mut asks).into_iter().map(|time| time / count).collect();
    let parse = in_turn(runs, &mut parses);
    let ours = reads[0].as_ref().map(|read| questions.answers(read)).unwrap_or_default();
    let same =
        |read: &Read| questions.answers(read).iter().zip(&ours).filter(|(one, other)| one == other).count();
    Row {
        expression,
        next: spread(&reads, next),
        parse: spread(&reads, parse),
        same: [0, 1, 2].map(|at| reads[at].as_ref().map(same)),
    }
}

/// Puts the figures of those engines that could answer back to their places.
fn spread(reads: &[Option<Read>; 3], figures: Vec<f64>) -> [Option<f64>; 3] {
    let mut figures = figures.into_iter();
    [0, 1, 2].map(|at| reads[at].as_ref().and_then(|_| figures.next()))
}

/// How long it takes us to say "never", in nanoseconds; prints that of the others too.
fn never(questions: &Questions, expression: &str, runs: usize) -> f64 {
    let mut shown = Vec::new();
    let mut ours = f64::NAN;
    for engine in Engine::ALL {
        let Some(read) = questions.read(engine, expression) else {
            shown.push(format!("{engine:?} refuses it"));
            continue;
        };
        let ask = || {
            std::hint::black_box(questions.ask_once(&read));
        };
        let time = median(in_turn(runs, &mut [Box::new(ask)]));
        if engine == Engine::Ours {
            ours = time;
        }
        let answer = if questions.ask_once(&read).is_some() { " (and is wrong)" } else { "" };
        shown.push(format!("{engine:?} {:.1} µs{answer}", time / 1e3));
    }
    println!("never    {expression}: {}", shown.join(", "));
    ours
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["expression", "ours", "cron", "croner", "×", "parse", "cron", "croner", "×", "same"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let figure = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), |time| format!("{time:.0}"));
    let times = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}"));
    let count = |same: Option<usize>| same.map_or_else(|| "–".to_owned(), |same| same.to_string());
    for row in rows {
        let mut cells = vec![row.expression.to_owned()];
        for figures in [&row.next, &row.parse] {
            cells.extend(figures.map(figure));
            cells.push(times(Row::ratio(figures)));
        }
        cells.push(format!("{} {}", count(row.same[1]), count(row.same[2])));
        table.add_row(cells);
    }
    table
}

fn as_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
