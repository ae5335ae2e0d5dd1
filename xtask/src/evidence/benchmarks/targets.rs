//! What this project wants of its speed, and whether the figures that are kept show it.

use std::fmt::Write;

use serde_json::Value;

use super::short;

/// Something that is wanted, and where it is to be found.
struct Target {
    what: &'static str,
    wanted: Wanted,
    unit: &'static str,
    /// What the records show of it; nothing if it was not measured.
    found: fn(&Records<'_>) -> Vec<f64>,
}

#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

use self::Wanted::{AtLeast, AtMost};

impl Wanted {
    /// The one of these figures that is the worst, and whether it will do.
    fn judge(self, found: &[f64]) -> Option<(f64, bool)> {
        match self {
            AtLeast(bound) => found.iter().copied().reduce(f64::min).map(|worst| (worst, worst >= bound)),
            AtMost(bound) => found.iter().copied().reduce(f64::max).map(|worst| (worst, worst <= bound)),
        }
    }

    fn shown(self, unit: &str) -> String {
        let (sign, bound) = match self {
            AtLeast(bound) => ('≥', bound),
            AtMost(bound) => ('≤', bound),
        };
        format!("{sign} {}", with_unit(bound, unit))
    }
}

/// The records of benchmarks that were kept.
struct Records<'r>(&'r [Value]);

impl<'r> Records<'r> {
    /// What a benchmark found, on one store or on all.
    fn of(&self, bench: &str, store: Option<&str>) -> impl Iterator<Item = &'r Value> {
        let all = self.0.iter().map(|record| &record["figures"]);
        let (bench, store) = (bench.to_owned(), store.map(str::to_owned));
        all.filter(move |it| it["bench"] == bench && store.as_ref().is_none_or(|store| it["store"] == *store))
            .map(|it| if it["figures"].is_object() { &it["figures"] } else { it })
    }

    /// A ratio of those beside others.
    fn beside(&self, name: &str) -> Vec<f64> {
        self.of("peers", None).filter_map(|it| it[name].as_f64()).collect()
    }

    /// A figure of each row of a table.
    fn each(
        &self,
        (bench, store): (&str, &str),
        table: &str,
        take: impl Fn(&Value) -> Option<f64>,
    ) -> Vec<f64> {
        let rows = self.of(bench, Some(store)).filter_map(|it| it[table].as_array()).flatten();
        rows.filter_map(take).collect()
    }

    /// The start delay of triggers that the node itself has scheduled ahead, or another process in any way. What a node
    /// schedules for now is late by a commit of its own.
    fn delay(&self, stores: &[&str], own: bool, point: &str) -> Vec<f64> {
        let of_idle = |store: &&str| {
            let rows = self.of("latency", Some(*store)).filter(|it| it["beside_per_second"] == 0);
            let rows = rows.filter_map(|it| it["cases"].as_array()).flatten();
            let rows =
                rows.filter(|case| case["own"] == own && (!own || case["ahead_ms"].as_u64() > Some(0)));
            rows.filter_map(|case| case["late_ms"][point]["median"].as_f64()).collect::<Vec<_>>()
        };
        whole(stores.iter().map(of_idle))
    }

    /// A figure of idle nodes, on every database.
    fn idle(&self, name: &str) -> Vec<f64> {
        let of = |store| self.each(("idle", store), "crews", |row| median(row, name));
        whole(["postgres", "mysql", "sqlite"].into_iter().map(of))
    }
}

/// What was measured in all of these cases; nothing if one of them was not measured.
fn whole(parts: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = parts.collect();
    if parts.iter().any(Vec::is_empty) { Vec::new() } else { parts.concat() }
}

fn median(row: &Value, name: &str) -> Option<f64> {
    row[name]["median"].as_f64()
}

const TARGETS: &[Target] = &[
    Target {
        what: "`fire` on Postgres, 1 node, beside Quartz at its best",
        wanted: AtLeast(15.0),
        unit: "times",
        found: |records| records.beside("fire_ratio_quartz_best"),
    },
    Target {
        what: "the same with 4 nodes",
        wanted: AtLeast(20.0),
        unit: "times",
        found: |records| records.beside("fire_ratio_quartz_best_4_nodes"),
    },
    Target {
        what: "`fire` on Postgres, 1 node, beside Quartz with its defaults",
        wanted: AtLeast(50.0),
        unit: "times",
        found: |records| records.beside("fire_ratio_quartz_default"),
    },
    Target {
        what: "`fire` on Postgres, 4 nodes beside 1",
        wanted: AtLeast(1.0),
        unit: "times",
        found: |records| records.beside("fire_ratio_4_nodes_to_1"),
    },
    Target {
        what: "`fire` on MariaDB, 1 and 4 nodes, beside Quartz at its best",
        wanted: AtLeast(20.0),
        unit: "times",
        found: |records| {
            let ratios = ["fire_mariadb_ratio_quartz_best", "fire_mariadb_ratio_quartz_best_4_nodes"];
            whole(ratios.into_iter().map(|name| records.beside(name)))
        },
    },
    Target {
        what: "`fire` on MariaDB, 4 nodes beside 1",
        wanted: AtLeast(1.0),
        unit: "times",
        found: |records| records.beside("fire_mariadb_ratio_4_nodes_to_1"),
    },
    Target {
        what: "`fire` on SQLite, 1 and 3 processes",
        wanted: AtLeast(20_000.0),
        unit: "a second",
        found: |records| {
            let of = |nodes: u64| {
                let rate = |row: &Value| median(row, "firings_per_second").filter(|_| row["nodes"] == nodes);
                records.each(("fire", "sqlite"), "crews", rate)
            };
            whole([1, 3].into_iter().map(of))
        },
    },
    Target {
        what: "statements a firing on Postgres at load",
        wanted: AtMost(0.1),
        unit: "",
        found: |records| records.each(("fire", "postgres"), "crews", |row| median(row, "statements")),
    },
    Target {
        what: "log a firing on Postgres, images of full pages left out",
        wanted: AtMost(2_048.0),
        unit: "bytes",
        found: |records| {
            let bytes = |row: &Value| Some(median(row, "bytes")? - median(row, "image_bytes").unwrap_or(0.0));
            records.each(("fire", "postgres"), "crews", bytes)
        },
    },
    Target {
        what: "`keepup` on Postgres, lateness, p99",
        wanted: AtMost(100.0),
        unit: "ms",
        found: |records| records.each(("keepup", "postgres"), "crews", |row| median(row, "late_p99_ms")),
    },
    Target {
        what: "`drain` without history beside the best that deletes",
        wanted: AtLeast(1.0),
        unit: "times",
        found: |records| records.beside("drain_ratio_best_deleting"),
    },
    Target {
        what: "`drain` with history beside the best that keeps rows",
        wanted: AtLeast(1.2),
        unit: "times",
        found: |records| records.beside("drain_ratio_best_keeping"),
    },
    Target {
        what: "start delay, scheduled ahead on the node, p50, three databases",
        wanted: AtMost(2.0),
        unit: "ms",
        found: |records| records.delay(&["postgres", "sqlite", "mysql"], true, "p50"),
    },
    Target {
        what: "start delay, scheduled ahead on the node, p99, three databases",
        wanted: AtMost(10.0),
        unit: "ms",
        found: |records| records.delay(&["postgres", "sqlite", "mysql"], true, "p99"),
    },
    Target {
        what: "start delay, scheduled elsewhere, at once or ahead, p99, Postgres and SQLite",
        wanted: AtMost(50.0),
        unit: "ms",
        found: |records| records.delay(&["postgres", "sqlite"], false, "p99"),
    },
    Target {
        what: "start delay, scheduled elsewhere, at once or ahead, p99, MariaDB",
        wanted: AtMost(1_000.0),
        unit: "ms",
        found: |records| records.delay(&["mysql"], false, "p99"),
    },
    Target {
        what: "`scale`: a firing beside 1,000,000 triggers and beside 1,000",
        wanted: AtMost(1.3),
        unit: "times",
        found: |records| records.of("scale", None).filter_map(|it| it["cpu_ratio"].as_f64()).collect(),
    },
    Target {
        what: "`idle`: statements of a node",
        wanted: AtMost(3.0),
        unit: "a second",
        found: |records| records.idle("statements_per_second_of_a_node"),
    },
    Target {
        what: "`idle`: processor of a node",
        wanted: AtMost(0.5),
        unit: "%",
        found: |records| records.idle("node_cpu_percent"),
    },
    Target {
        what: "`takeover`, profile `fast`, the longest",
        wanted: AtMost(10.0),
        unit: "s",
        found: |records| takeovers(records, "fast"),
    },
    Target {
        what: "`takeover`, profile `default`, the longest",
        wanted: AtMost(16.0),
        unit: "s",
        found: |records| takeovers(records, "default"),
    },
    Target {
        what: "`history`: with ten million old rows, kept or deleted meanwhile",
        wanted: AtLeast(0.85),
        unit: "of the rate",
        found: |records| records.of("history", None).filter_map(|it| it["ratio"].as_f64()).collect(),
    },
    Target {
        what: "`commits`: 2 ms more for each commit",
        wanted: AtLeast(0.8),
        unit: "of the rate",
        found: |records| records.of("commits", None).filter_map(|it| it["ratio"].as_f64()).collect(),
    },
    Target {
        what: "instants that fired twice, in all of these",
        wanted: AtMost(0.0),
        unit: "",
        found: |records| {
            let twice = |record: &Value| {
                let figures = &record["figures"];
                let of_checks = figures["figures"]["checks"]["double_firings"].as_f64();
                of_checks.or_else(|| figures["double_firings"].as_f64())
            };
            records.0.iter().filter_map(twice).reduce(|one, other| one + other).into_iter().collect()
        },
    },
];

fn takeovers(records: &Records<'_>, profile: &str) -> Vec<f64> {
    let profiles = records.of("takeover", None).filter_map(|it| it["profiles"].as_array()).flatten();
    let ours = profiles.filter(|one| one["profile"] == profile);
    ours.filter_map(|one| one["seconds"]["max"].as_f64()).collect()
}

/// The table of what is wanted and what was found.
pub(super) fn section(text: &mut String, records: &[Value]) {
    text.push_str("\n## What is wanted\n\n");
    text.push_str("Where several figures are meant the worst of them is shown.\n\n");
    text.push_str("| what | wanted | measured | met |\n|---|---:|---:|---|\n");
    let records = Records(records);
    for target in TARGETS {
        let Target { what, wanted, unit, found } = target;
        let (measured, met) = match wanted.judge(&found(&records)) {
            Some((worst, true)) => (with_unit(worst, unit), "yes"),
            Some((worst, false)) => (with_unit(worst, unit), "**no**"),
            None => ("–".to_owned(), "not measured"),
        };
        let _ = writeln!(text, "| {what} | {} | {measured} | {met} |", wanted.shown(unit));
    }
}

fn with_unit(number: f64, unit: &str) -> String {
    let number = if number == 0.0 { "0".to_owned() } else { short(number) };
    format!("{number} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(records: &[Value]) -> String {
        let mut text = String::new();
        section(&mut text, records);
        text
    }

    #[test]
    fn the_worst_of_several_is_judged() {
        let idle = |store: &str, statements: f64| {
            json!({"figures": {"bench": "idle", "store": store, "figures": {"crews": [
                {"nodes": 1, "statements_per_second_of_a_node": {"median": statements, "min": 0.0, "max": 9.0}},
            ]}}})
        };
        let text = lines(&[idle("sqlite", 2.3), idle("mysql", 2.7)]);
        assert!(
            text.contains("| `idle`: statements of a node | ≤ 3.00 a second | – | not measured |"),
            "{text}"
        );
        let text = lines(&[idle("sqlite", 2.3), idle("mysql", 2.7), idle("postgres", 1.8)]);
        assert!(
            text.contains("| `idle`: statements of a node | ≤ 3.00 a second | 2.70 a second | yes |"),
            "{text}"
        );
        let text = lines(&[idle("sqlite", 2.3), idle("mysql", 3.1), idle("postgres", 1.8)]);
        assert!(text.contains("| 3.10 a second | **no** |"), "{text}");
        assert!(text.contains("| `idle`: processor of a node | ≤ 0.500 % | – | not measured |"), "{text}");
    }

    #[test]
    fn ratios_beside_others_and_double_firings_are_found() {
        let peers = json!({"figures": {
            "bench": "peers", "fire_ratio_quartz_best": 22.7, "fire_ratio_quartz_best_4_nodes": null,
            "double_firings": 0, "figures": [],
        }});
        let fire = json!({"figures": {"bench": "fire", "store": "sqlite", "figures": {
            "checks": {"double_firings": 1}, "crews": [
                {"nodes": 1, "firings_per_second": {"median": 29_000.0}},
                {"nodes": 2, "firings_per_second": {"median": 1_000.0}},
                {"nodes": 3, "firings_per_second": {"median": 31_000.0}},
            ],
        }}});
        let text = lines(&[peers, fire]);
        for line in [
            "| `fire` on Postgres, 1 node, beside Quartz at its best | ≥ 15.0 times | 22.7 times | yes |",
            "| the same with 4 nodes | ≥ 20.0 times | – | not measured |",
            "| `fire` on SQLite, 1 and 3 processes | ≥ 20,000 a second | 29,000 a second | yes |",
            "| instants that fired twice, in all of these | ≤ 0 | 1.00 | **no** |",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_delay_is_that_of_an_idle_cluster_and_of_what_was_scheduled_ahead() {
        let latency = |beside: u64| {
            json!({"figures": {"bench": "latency", "store": "postgres", "figures": {"beside_per_second": beside, "cases": [
                {"own": true, "ahead_ms": 0, "late_ms": {"p50": {"median": 5.0}}},
                {"own": true, "ahead_ms": 100, "late_ms": {"p50": {"median": 1.5}}},
                {"own": false, "ahead_ms": 100, "late_ms": {"p50": {"median": 7.0}}},
            ]}}})
        };
        let records = [latency(0), latency(5_000)];
        assert_eq!(Records(&records).delay(&["postgres"], true, "p50"), [1.5]);
        assert!(Records(&records).delay(&["postgres", "sqlite"], true, "p50").is_empty());
    }
}
