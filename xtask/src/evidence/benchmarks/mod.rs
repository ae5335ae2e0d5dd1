//! The chapter of the benchmarks' figures, with plots, from the same records as the chapter of the evidence.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::{figure, grouped};

mod plots;
mod targets;

/// Where the chapter is.
pub(crate) const CHAPTER: &str = "docs/performance.md";

const INTRODUCTION: &str = "# Performance

<!-- Written by `cargo xtask evidence` from the figures in docs/evidence; run the commands again instead of editing. -->

What the benchmarks showed when they were run last; [Benchmarks](benchmarks.md) says what each one measures, and how to repeat it.
Figures of one command belong together; those of two commands were taken at different times, and are no race.
A spread is the median of the runs, and in parentheses the smallest and the largest.

Where the time goes is what `profile` shows: how long nodes wait for each statement, and whose processor a firing uses.
What a database can do at best is what `peers` shows of the same writes in statements made by hand, in the batch size that is best for them; the ratios by hand are how far from it this project is.
Where less was measured than is wanted, [What stands in the way](benchmarks.md#what-stands-in-the-way) says why, and what was tried.
";

/// The files that these records make: the chapter, which says what is not measured yet, and its plots.
pub(super) fn files(records: &[Value]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut text = INTRODUCTION.to_owned();
    targets::section(&mut text, records);
    let plots = plots::files(records);
    if !plots.is_empty() {
        text.push_str("\n## At a glance\n");
    }
    for (path, (title, picture)) in plots {
        let name = path.rsplit('/').next().unwrap_or_default();
        let _ = write!(text, "\n![{title}]({name})\n");
        files.insert(path, picture);
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

/// A row in which spreads that are kept together under a name stand for themselves.
fn flat(row: &Value) -> Value {
    let mut cells = Map::new();
    for (name, value) in row.as_object().into_iter().flatten() {
        match value.as_object().filter(|inner| inner.values().all(|one| one["median"].is_number())) {
            Some(inner) => {
                cells.extend(inner.iter().map(|(point, value)| (format!("{name} {point}"), value.clone())));
            }
            None => drop(cells.insert(name.clone(), value.clone())),
        }
    }
    Value::from(cells)
}

/// A table of objects that have the same names. What tells the rows apart comes first; spreads come after it.
fn table(text: &mut String, rows: &[Value]) {
    let rows: Vec<Value> = rows.iter().map(flat).collect();
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
    for row in &rows {
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
        let plot = &files["docs/performance-fire.svg"];
        assert!(plot.contains("postgres, 1 node<") && plot.contains("postgres, 4 nodes<"), "{plot}");
        assert!(plot.contains("20,903") && plot.ends_with("</svg>\n"));
        assert!(text.contains("(performance-fire.svg)"));
    }

    #[test]
    fn spreads_that_are_kept_together_are_columns() {
        let mut text = String::new();
        let spread = json!({"median": 1.5, "min": 1.0, "max": 2.0});
        table(&mut text, &[json!({"own": true, "late_ms": {"p50": spread, "p99": spread}})]);
        assert!(text.contains("| own | late ms p50 | late ms p99 |"), "{text}");
        assert!(text.contains("| yes | 1.50 (1.00–2.00) | 1.50 (1.00–2.00) |"), "{text}");
    }

    #[test]
    fn without_benchmarks_the_chapter_says_what_is_wanted() {
        let files = files(&[]);
        assert_eq!(files.len(), 1, "nothing to plot");
        assert!(files[CHAPTER].contains("not measured"));
    }
}
