//! Bars for people: what the benchmarks found, at a glance.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::short;

/// A bar: what it is of, how long it is, and what stands beside it.
struct Bar {
    name: String,
    length: f64,
    figure: String,
}

impl Bar {
    fn of(name: String, length: f64) -> Self {
        Self { name, length, figure: short(length) }
    }
}

/// A plot: where it is kept, its heading, and groups of bars.
struct Plot {
    file: &'static str,
    title: &'static str,
    groups: Vec<Vec<Bar>>,
}

/// The plots for which there are figures, by their paths, and their headings.
pub(super) fn files(records: &[Value]) -> BTreeMap<String, (&'static str, String)> {
    let plots = [
        Plot {
            file: "docs/performance-fire.svg",
            title: "firings a second, history on, every commit durable",
            groups: fire(records),
        },
        Plot {
            file: "docs/performance-peers.svg",
            title: "times the rate of others, in one run on one server",
            groups: peers(records),
        },
        Plot {
            file: "docs/performance-scale.svg",
            title: "processor time of a firing, beside that with the fewest stored triggers",
            groups: scale(records),
        },
        Plot {
            file: "docs/performance-delay.svg",
            title: "start delay on an idle cluster, p99 in ms",
            groups: delays(records),
        },
        Plot {
            file: "docs/performance-time.svg",
            title: "microseconds that nodes wait for each firing, by step",
            groups: steps(records),
        },
    ];
    plots.into_iter().filter_map(|plot| Some((plot.file.to_owned(), (plot.title, drawn(&plot)?)))).collect()
}

/// What a benchmark found, record by record, with the name of the store.
fn found<'r>(records: &'r [Value], bench: &'static str) -> impl Iterator<Item = (&'r str, &'r Value)> {
    let ours = records.iter().map(|record| &record["figures"]).filter(move |it| it["bench"] == bench);
    ours.map(|it| {
        let inner = if it["figures"].is_object() { &it["figures"] } else { it };
        (it["store"].as_str().unwrap_or_default(), inner)
    })
}

fn rows<'r>(figures: &'r Value, table: &str) -> impl Iterator<Item = &'r Value> {
    figures[table].as_array().into_iter().flatten()
}

fn nodes(row: &Value) -> Option<String> {
    let nodes = row["nodes"].as_u64()?;
    Some(if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") })
}

fn fire(records: &[Value]) -> Vec<Vec<Bar>> {
    let of = |(store, figures): (&str, &Value)| {
        let bar = |row: &Value| {
            let rate = row["firings_per_second"]["median"].as_f64()?;
            Some(Bar::of(format!("{store}, {}", nodes(row)?), rate))
        };
        rows(figures, "crews").filter_map(bar).collect()
    };
    found(records, "fire").map(of).collect()
}

fn peers(records: &[Value]) -> Vec<Vec<Bar>> {
    let of = |(_, figures): (&str, &Value)| {
        let bar = |row: &Value| {
            let (name, ratio) = (row["name"].as_str()?, row["ratio"].as_f64()?);
            let name = name.replace("_ratio_", ", ").replace("_ratio", "").replace('_', " ");
            let wanted = row["wanted"].as_f64().map(|wanted| format!(" (wanted {})", short(wanted)));
            let figure = format!("{}{}", short(ratio), wanted.unwrap_or_default());
            Some(Bar { name, length: ratio, figure })
        };
        rows(figures, "comparisons").filter_map(bar).collect()
    };
    found(records, "peers").map(of).collect()
}

fn scale(records: &[Value]) -> Vec<Vec<Bar>> {
    let of = |(store, figures): (&str, &Value)| {
        let bar = |row: &Value| {
            let (triggers, ratio) = (row["triggers"].as_i64()?, row["cpu_ratio"]["median"].as_f64()?);
            Some(Bar::of(format!("{store}, {}", super::grouped(triggers)), ratio))
        };
        rows(figures, "sizes").filter_map(bar).collect()
    };
    found(records, "scale").map(of).collect()
}

fn delays(records: &[Value]) -> Vec<Vec<Bar>> {
    let of = |(store, figures): (&str, &Value)| {
        let bar = |row: &Value| {
            let who = if row["own"].as_bool()? { "own node" } else { "elsewhere" };
            let when = row["ahead_ms"].as_u64().filter(|ahead| *ahead > 0).map_or("at once", |_| "ahead");
            Some(Bar::of(format!("{store}, {who}, {when}"), row["late_ms"]["p99"]["median"].as_f64()?))
        };
        rows(figures, "cases").filter_map(bar).collect()
    };
    let idle = found(records, "latency").filter(|(_, figures)| figures["beside_per_second"] == 0);
    idle.map(of).collect()
}

fn steps(records: &[Value]) -> Vec<Vec<Bar>> {
    let of = |(store, figures): (&str, &Value)| {
        // In the order in which they come: what takes the longest first.
        let mut sums: Vec<(String, f64)> = Vec::new();
        for row in rows(figures, "statements") {
            let (Some(nodes), Some(step), Some(micros)) =
                (nodes(row), row["step"].as_str(), row["micros_per_firing"].as_f64())
            else {
                continue;
            };
            let name = format!("{store}, {nodes}, {}", step.replace('_', " "));
            match sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += micros,
                None => sums.push((name, micros)),
            }
        }
        let all: f64 = sums.iter().map(|(_, sum)| sum).sum();
        sums.into_iter()
            .filter(|(_, sum)| *sum >= all / 200.0)
            .map(|(name, sum)| Bar::of(name, sum))
            .collect()
    };
    found(records, "profile").map(of).collect()
}

/// A plot as a picture; none without bars.
fn drawn(Plot { title, groups, .. }: &Plot) -> Option<String> {
    let most = groups.iter().flatten().map(|bar| bar.length).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let (bar, gap, left, wide) = (18.0, 4.0, 220.0, 360.0);
    let mut y = 34.0;
    let mut body = String::new();
    for group in groups.iter().filter(|group| !group.is_empty()) {
        for Bar { name, length, figure } in group {
            let length = wide * length / most;
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{left:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{bar:.0}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{figure}</text>",
                left - 8.0,
                y + 13.0,
                left + 6.0 + length,
                y + 13.0,
            );
            y += bar + gap;
        }
        y += bar;
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {y:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n\
         <style>rect {{ fill: #3b6ea5 }} text {{ fill: #222 }} @media (prefers-color-scheme: dark) \
         {{ rect {{ fill: #7fb0e0 }} text {{ fill: #ddd }} }}</style>\n\
         <text x=\"{left:.0}\" y=\"18\" font-weight=\"bold\">{title}</text>\n\
         {body}</svg>\n"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_benchmark_with_figures_has_its_bars() {
        let spread = |median: f64| json!({"median": median, "min": median, "max": median});
        let records = [
            json!({"figures": {"bench": "scale", "store": "postgres", "figures": {"sizes": [
                {"triggers": 1000, "cpu_ratio": spread(1.0)}, {"triggers": 1_000_000, "cpu_ratio": spread(1.25)},
            ]}}}),
            json!({"figures": {"bench": "latency", "store": "sqlite", "figures": {"beside_per_second": 0, "cases": [
                {"own": true, "ahead_ms": 100, "late_ms": {"p99": spread(1.5)}},
            ]}}}),
            json!({"figures": {"bench": "peers", "comparisons": [
                {"name": "fire_ratio_quartz_best", "ratio": 22.5, "wanted": 15.0},
            ], "figures": []}}),
            json!({"figures": {"bench": "profile", "store": "mysql", "figures": {"statements": [
                {"nodes": 1, "step": "claim_ready", "statement": "COMMIT", "micros_per_firing": 30.0},
                {"nodes": 1, "step": "claim_ready", "statement": "UPDATE trigger", "micros_per_firing": 12.0},
                {"nodes": 1, "step": "check_in", "statement": "UPDATE beat", "micros_per_firing": 0.01},
            ]}}}),
        ];
        let files = files(&records);
        let text =
            |file: &str| files.get(&format!("docs/performance-{file}.svg")).map(|(_, text)| text.as_str());
        assert!(text("scale").unwrap().contains(">postgres, 1,000,000</text>"));
        assert!(text("scale").unwrap().contains(">1.25</text>"));
        assert!(text("delay").unwrap().contains(">sqlite, own node, ahead</text>"));
        assert!(text("peers").unwrap().contains(">22.5 (wanted 15.0)</text>"));
        let time = text("time").unwrap();
        assert!(
            time.contains(">mysql, 1 node, claim ready</text>") && time.contains(">42.0</text>"),
            "{time}"
        );
        assert!(!time.contains("check in"), "less than can be seen");
        assert!(text("fire").is_none(), "nothing to plot");
    }
}
