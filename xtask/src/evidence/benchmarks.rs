//! The chapter of the benchmarks' figures, with plots, from the same records as the chapter of the evidence.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::{figure, grouped};

/// Where the chapter is.
pub(crate) const CHAPTER: &str = "docs/figures.md";
/// The plot of firings by the number of nodes.
const PLOT: &str = "docs/figures-fire.svg";

const INTRODUCTION: &str = "# Figures

<!-- Written by `cargo xtask evidence` from the figures in docs/evidence; run the commands again instead of editing. -->

What the benchmarks showed when they were run last; [Performance](performance.md) says what each one measures and how.
Figures of one command belong together; those of two commands were taken at different times, and are no race.
A spread is the median of the runs, and in parentheses the smallest and the largest.
";

/// The files that these records make: the chapter, and a plot if there is anything to plot. Nothing without benchmarks.
pub(super) fn files(records: &[Value]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    if records.is_empty() {
        return files;
    }
    let mut text = INTRODUCTION.to_owned();
    if let Some(plot) = plot(records) {
        text.push_str("\n![Firings a second by the number of nodes](figures-fire.svg)\n");
        files.insert(PLOT.to_owned(), plot);
    }
    for record in records {
        section(&mut text, record);
    }
    files.insert(CHAPTER.to_owned(), text);
    files
}

fn section(text: &mut String, record: &Value) {
    super::heading(text, record, "##");
    let figures = &record["figures"];
    for (title, name) in [("Settings", "settings"), ("Database", "database")] {
        if let Some(value) = figure(&figures[name]) {
            let _ = writeln!(text, "\n{title}: {value}.");
        }
    }
    // What the benchmarks print has its figures one level further down.
    let inner = if figures["figures"].is_object() { &figures["figures"] } else { figures };
    let mut plain = Map::new();
    for (name, value) in inner.as_object().into_iter().flatten() {
        match value.as_array().filter(|rows| rows.iter().any(Value::is_object)) {
            Some(rows) => table(text, rows),
            None if name != "settings" && name != "database" => {
                drop(plain.insert(name.clone(), value.clone()))
            }
            None => {}
        }
    }
    if !plain.is_empty() {
        text.push_str("\n| | |\n|---|---:|\n");
        for (name, value) in &plain {
            if let Some(value) = cell(value) {
                let _ = writeln!(text, "| {} | {value} |", name.replace('_', " "));
            }
        }
    }
}

/// A table of objects that have the same names. What tells the rows apart comes first; spreads come after it.
fn table(text: &mut String, rows: &[Value]) {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let is_measured = |name: &&str| rows.iter().any(|row| row[*name].is_object() || row[*name].is_f64());
    let (measured, told): (Vec<_>, Vec<_>) = names.into_iter().partition(is_measured);
    let names = [told, measured].concat();
    let heads: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
    let _ = writeln!(text, "\n| {} |\n|{}", heads.join(" | "), "---:|".repeat(heads.len()));
    for row in rows {
        let cells: Vec<String> =
            names.iter().map(|name| cell(&row[*name]).unwrap_or_else(|| "–".to_owned())).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// A figure, or a spread of them.
fn cell(value: &Value) -> Option<String> {
    let number = |name: &str| value[name].as_f64();
    match (number("median"), number("min"), number("max")) {
        (Some(median), Some(min), Some(max)) if (min - max).abs() < f64::EPSILON => Some(short(median)),
        (Some(median), Some(min), Some(max)) => {
            Some(format!("{} ({}–{})", short(median), short(min), short(max)))
        }
        _ if value.is_f64() => value.as_f64().map(short),
        _ => figure(value),
    }
}

/// A number with as many digits as people can use.
fn short(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and saturating")]
    let whole = number.round() as i64;
    match number.abs() {
        size if size >= 100.0 => grouped(whole),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// What `fire` fired on a store, by the number of nodes.
struct Line<'r> {
    store: &'r str,
    points: Vec<(u64, f64)>,
}

fn lines(records: &[Value]) -> Vec<Line<'_>> {
    let fire = records.iter().filter(|record| record["figures"]["bench"] == "fire");
    let mut lines: Vec<Line<'_>> = Vec::new();
    for record in fire {
        let Some(store) = record["figures"]["store"].as_str() else { continue };
        let crews = record["figures"]["figures"]["crews"].as_array().into_iter().flatten();
        let points: Vec<_> = crews
            .filter_map(|crew| {
                Some((crew["nodes"].as_u64()?, crew["firings_per_second"]["median"].as_f64()?))
            })
            .collect();
        if !points.is_empty() {
            lines.push(Line { store, points });
        }
    }
    lines
}

/// A bar for each store and number of nodes, with its figure beside it.
fn plot(records: &[Value]) -> Option<String> {
    let lines = lines(records);
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, rate)| *rate).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let (bar, gap, left, wide) = (18.0, 4.0, 150.0, 420.0);
    let mut y = 34.0;
    let mut body = String::new();
    for line in &lines {
        for (nodes, rate) in &line.points {
            let name = if *nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}, {name}</text>\
                 <rect x=\"{left:.0}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{bar:.0}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                left - 8.0,
                y + 13.0,
                line.store,
                wide * rate / most,
                left + 6.0 + wide * rate / most,
                y + 13.0,
                short(*rate),
            );
            y += bar + gap;
        }
        y += bar;
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 660 {y:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Firings a second by the number of nodes</title>\n\
         <style>rect {{ fill: #3b6ea5 }} text {{ fill: #222 }} @media (prefers-color-scheme: dark) \
         {{ rect {{ fill: #7fb0e0 }} text {{ fill: #ddd }} }}</style>\n\
         <text x=\"{left:.0}\" y=\"18\" font-weight=\"bold\">firings a second, history on, every commit durable</text>\n\
         {body}</svg>\n"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Value {
        json!({
            "command": ["bench", "fire", "--store", "postgres"], "begun": "2026-01-01T00:00:00Z", "commit": "abc", "cores": 2,
            "passed": true,
            "figures": {
                "bench": "fire", "store": "postgres", "settings": {"capacity": 64}, "database": {"fsync": "on"},
                "figures": {"triggers": 5000, "crews": [
                    {"nodes": 1, "bytes": {"median": 2141.0, "min": 2141.0, "max": 2141.0},
                     "firings_per_second": {"median": 17447.2, "min": 17000.0, "max": 18000.0}},
                    {"nodes": 4, "bytes": {"median": 0.1234, "min": 0.1, "max": 0.2},
                     "firings_per_second": {"median": 20903.0, "min": 20903.0, "max": 20903.0}},
                ]},
            },
        })
    }

    #[test]
    fn crews_are_a_table_and_a_plot() {
        let files = files(&[record()]);
        let text = &files[CHAPTER];
        for line in [
            "## `cargo xtask bench fire --store postgres`",
            "Settings: capacity 64.",
            "| nodes | bytes | firings per second |",
            "| 1 | 2,141 | 17,447 (17,000–18,000) |",
            "| 4 | 0.123 (0.100–0.200) | 20,903 |",
            "| triggers | 5,000 |",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let plot = &files[PLOT];
        assert!(plot.contains("postgres, 1 node<") && plot.contains("postgres, 4 nodes<"), "{plot}");
        assert!(plot.contains("20,903") && plot.ends_with("</svg>\n"));
    }

    #[test]
    fn without_benchmarks_there_is_no_chapter() {
        assert!(files(&[]).is_empty());
        let idle = json!({"command": ["bench", "idle"], "passed": true, "figures": {"bench": "idle", "figures": {}}});
        assert_eq!(files(&[idle]).len(), 1, "nothing to plot");
    }
}
