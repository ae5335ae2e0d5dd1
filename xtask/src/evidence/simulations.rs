//! The section on simulations: a line for each range of seeds, their sums for each store, and what was done to them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::grouped;

/// What is added up, by its name in the figures and at the head of its column.
const SUMS: [(&str, &str); 6] = [
    ("virtual_hours", "virtual hours"),
    ("firings", "firings"),
    ("faults_total", "faults"),
    ("takeovers", "take-overs"),
    ("determinism_checked", "run twice"),
    ("violations", "violations"),
];

/// The sums of a store.
#[derive(Default)]
struct Sum {
    ranges: usize,
    seeds: i64,
    figures: [i64; SUMS.len()],
    faults: BTreeMap<String, i64>,
}

/// Writes the section.
pub(super) fn section(text: &mut String, records: &[Value]) {
    let heads = SUMS.map(|(_, head)| head).join(" | ");
    let _ = writeln!(text, "\n| store | seeds | {heads} | |\n|---|---|{}---|", "---:|".repeat(SUMS.len()));
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut records: Vec<&Value> = records.iter().collect();
    records.sort_by_key(|record| (word(&record["figures"]["store"]), whole(&record["figures"]["from"])));
    for record in records {
        let figures = &record["figures"];
        let (store, from, seeds) =
            (word(&figures["store"]), whole(&figures["from"]), whole(&figures["seeds"]));
        let sum = sums.entry(store).or_default();
        sum.ranges += 1;
        sum.seeds += seeds;
        let of_this = SUMS.map(|(name, _)| whole(&figures[name]));
        for (all, one) in sum.figures.iter_mut().zip(of_this) {
            *all += one;
        }
        for (fault, count) in figures["faults"].as_object().into_iter().flatten() {
            *sum.faults.entry(fault.replace('_', " ")).or_default() += whole(count);
        }
        let end = if record["passed"] == true { "passed" } else { "**failed**" };
        let (begun, commit) = (word(&record["begun"]), word(&record["commit"]));
        let _ = writeln!(
            text,
            "| {store} | {from} to {} | {} | {end}; begun {begun}, commit {commit} |",
            from + (seeds - 1).max(0),
            row(of_this)
        );
    }
    for (store, sum) in sums.iter().filter(|(_, sum)| sum.ranges > 1) {
        let _ = writeln!(text, "| **{store}** | **{} seeds** | {} | |", grouped(sum.seeds), row(sum.figures));
    }
    let mut faults: Vec<&String> = sums.values().flat_map(|sum| sum.faults.keys()).collect();
    faults.sort();
    faults.dedup();
    if faults.is_empty() {
        return;
    }
    let stores = sums.keys().copied().collect::<Vec<_>>().join(" | ");
    let _ = writeln!(text, "\n| fault | {stores} |\n|---|{}", "---:|".repeat(sums.len()));
    for fault in faults {
        let counts = sums.values().map(|sum| grouped(sum.faults.get(fault).copied().unwrap_or_default()));
        let _ = writeln!(text, "| {fault} | {} |", counts.collect::<Vec<_>>().join(" | "));
    }
}

fn row(figures: [i64; SUMS.len()]) -> String {
    figures.map(grouped).join(" | ")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A count, which is whole even where it is written as a float.
#[expect(clippy::cast_possible_truncation, reason = "hours of a simulation are far below 2^53")]
fn whole(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_f64().map(|number| number.round() as i64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges_of_a_store_are_added_up() {
        let record = |store: &str, from: i64, crashes: i64| {
            json!({
                "begun": "2026-01-01T00:00:00Z", "commit": "abc", "passed": true,
                "figures": {
                    "store": store, "from": from, "seeds": 500, "virtual_hours": 1000.0, "firings": 1_500,
                    "faults_total": crashes, "faults": {"crash_of_all": crashes}, "takeovers": 3,
                    "determinism_checked": 5, "violations": 0,
                },
            })
        };
        let mut text = String::new();
        section(&mut text, &[record("memory", 0, 7), record("memory", 500, 8), record("sqlite", 0, 9)]);
        for line in [
            "| memory | 500 to 999 | 1,000 | 1,500 | 8 | 3 | 5 | 0 | passed; begun 2026-01-01T00:00:00Z, commit abc |",
            "| **memory** | **1,000 seeds** | 2,000 | 3,000 | 15 | 6 | 10 | 0 | |",
            "| fault | memory | sqlite |",
            "| crash of all | 15 | 9 |",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("**sqlite**"), "one range needs no sum");
    }
}
