//! What was measured of whom, what is compared with what, and how both are shown.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::harness::Trouble;
use super::results::Found;

/// A rate that is measured, by a short name.
#[derive(Clone, Copy, Debug)]
struct Figure {
    name: &'static str,
    who: &'static str,
    what: &'static str,
}

const fn figure(name: &'static str, who: &'static str, what: &'static str) -> Figure {
    Figure { name, who, what }
}

const US: &str = "punctual";

/// All rates, in the order in which they are shown.
const FIGURES: &[Figure] = &[
    figure("fire_postgres_1", US, "fire on Postgres, 1 node"),
    figure("fire_postgres_4", US, "fire on Postgres, 4 nodes"),
    figure("quartz_best_postgres_1", "Quartz, best", "fire on Postgres, 1 node"),
    figure("quartz_best_postgres_4", "Quartz, best", "fire on Postgres, 4 nodes"),
    figure("quartz_default_postgres_1", "Quartz, default", "fire on Postgres, 1 node"),
    figure("fire_mariadb_1", US, "fire on MariaDB, 1 node"),
    figure("fire_mariadb_4", US, "fire on MariaDB, 4 nodes"),
    figure("quartz_best_mariadb_1", "Quartz, best", "fire on MariaDB, 1 node"),
    figure("quartz_best_mariadb_4", "Quartz, best", "fire on MariaDB, 4 nodes"),
    figure("drain_history", US, "drain on Postgres, history on"),
    figure("drain_off", US, "drain on Postgres, history off"),
    figure("graphile_worker_js", "graphile-worker (npm)", "drain on Postgres"),
    figure("graphile_worker_rs", "graphile_worker (Rust)", "drain on Postgres"),
    figure("pg_boss", "pg-boss, loop", "drain on Postgres"),
    figure("river", "riverqueue", "drain on Postgres"),
    figure("bump_postgres", "by hand", "take due rows and advance them, Postgres"),
    figure("claim_delete_postgres", "by hand", "claim rows and delete them, Postgres"),
    figure("bump_mariadb", "by hand", "take due rows and advance them, MariaDB"),
    figure("claim_delete_mariadb", "by hand", "claim rows and delete them, MariaDB"),
    figure("fire_sqlite_1", US, "fire on SQLite, 1 node"),
    figure("bump_sqlite", "by hand", "take due rows and advance them, SQLite"),
    figure("claim_delete_sqlite", "by hand", "claim rows and delete them, SQLite"),
];

/// A ratio: the best of ours through the best of theirs.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    name: &'static str,
    what: &'static str,
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
    /// What it must be at least.
    wanted: Option<f64>,
}

const fn comparison(
    name: &'static str,
    what: &'static str,
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
    wanted: Option<f64>,
) -> Comparison {
    Comparison { name, what, ours, theirs, wanted }
}

/// All ratios. Their names are those of the JSON object.
const COMPARISONS: &[Comparison] = &[
    comparison(
        "fire_ratio_quartz_best",
        "fire on Postgres, 1 node",
        &["fire_postgres_1"],
        &["quartz_best_postgres_1"],
        Some(15.0),
    ),
    comparison(
        "fire_ratio_quartz_best_4_nodes",
        "fire on Postgres, 4 nodes",
        &["fire_postgres_4"],
        &["quartz_best_postgres_4"],
        Some(20.0),
    ),
    comparison(
        "fire_ratio_quartz_default",
        "fire on Postgres, 1 node",
        &["fire_postgres_1"],
        &["quartz_default_postgres_1"],
        Some(50.0),
    ),
    comparison(
        "fire_ratio_4_nodes_to_1",
        "fire on Postgres, 4 nodes to 1",
        &["fire_postgres_4"],
        &["fire_postgres_1"],
        Some(1.0),
    ),
    comparison(
        "fire_mariadb_ratio_quartz_best",
        "fire on MariaDB, 1 node",
        &["fire_mariadb_1"],
        &["quartz_best_mariadb_1"],
        Some(20.0),
    ),
    comparison(
        "fire_mariadb_ratio_quartz_best_4_nodes",
        "fire on MariaDB, 4 nodes",
        &["fire_mariadb_4"],
        &["quartz_best_mariadb_4"],
        Some(20.0),
    ),
    comparison(
        "fire_mariadb_ratio_4_nodes_to_1",
        "fire on MariaDB, 4 nodes to 1",
        &["fire_mariadb_4"],
        &["fire_mariadb_1"],
        Some(1.0),
    ),
    comparison(
        "drain_ratio_best_deleting",
        "drain, history off; best that deletes",
        &["drain_off"],
        &["graphile_worker_js", "graphile_worker_rs", "pg_boss"],
        Some(1.0),
    ),
    comparison(
        "drain_ratio_best_keeping",
        "drain, history on; best that keeps",
        &["drain_history"],
        &["river"],
        Some(1.2),
    ),
    comparison(
        "drain_ratio_pg_boss",
        "drain, history on; keeps for some time",
        &["drain_history"],
        &["pg_boss"],
        None,
    ),
    comparison(
        "fire_ratio_by_hand",
        "fire on Postgres; advanced by hand",
        &["fire_postgres_1", "fire_postgres_4"],
        &["bump_postgres"],
        None,
    ),
    comparison(
        "fire_mariadb_ratio_by_hand",
        "fire on MariaDB; advanced by hand",
        &["fire_mariadb_1", "fire_mariadb_4"],
        &["bump_mariadb"],
        None,
    ),
    comparison(
        "fire_sqlite_ratio_by_hand",
        "fire on SQLite; advanced by hand",
        &["fire_sqlite_1"],
        &["bump_sqlite"],
        None,
    ),
    comparison(
        "drain_ratio_by_hand",
        "drain, history off; deleted by hand",
        &["drain_off"],
        &["claim_delete_postgres"],
        None,
    ),
];

/// The rates of a figure, run by run.
#[derive(Clone, Debug)]
struct Series {
    settings: Value,
    rates: Vec<f64>,
    /// The largest part of the machine that somebody else had in one of the runs.
    others: Option<f64>,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Book {
    series: BTreeMap<&'static str, Series>,
    /// Instants of ours that fired twice; none if that was not looked for.
    twice: Option<u64>,
    pub(super) troubles: Vec<Trouble>,
}

/// A ratio of medians, and whose they are.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    ours: (&'static str, f64),
    theirs: (&'static str, f64),
}

impl Ratio {
    fn value(self) -> f64 {
        self.ours.1 / self.theirs.1
    }
}

impl Book {
    pub(super) fn add(&mut self, name: &'static str, found: Found) {
        let Found { rate, settings, others } = found;
        let series =
            self.series.entry(name).or_insert_with(|| Series { settings, rates: Vec::new(), others: None });
        series.rates.push(rate);
        series.others = [series.others, others].into_iter().flatten().reduce(f64::max);
    }

    pub(super) fn add_twice(&mut self, twice: u64) {
        self.twice = Some(self.twice.unwrap_or(0) + twice);
    }

    /// Whether all that was to be measured was, and nothing fired twice.
    pub(super) fn is_sound(&self) -> bool {
        self.troubles.is_empty() && self.twice.unwrap_or(0) == 0
    }

    /// The rate that was added last.
    pub(super) fn latest(&self, name: &str) -> Option<f64> {
        self.series.get(name)?.rates.last().copied()
    }

    fn median(&self, name: &str) -> Option<f64> {
        median(&self.series.get(name)?.rates)
    }

    fn best(&self, names: &[&'static str]) -> Option<(&'static str, f64)> {
        let medians = names.iter().filter_map(|name| Some((*name, self.median(name)?)));
        medians.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    fn ratio(&self, comparison: &Comparison) -> Option<Ratio> {
        Some(Ratio { ours: self.best(comparison.ours)?, theirs: self.best(comparison.theirs)? })
    }

    /// Prints the ratios, the figures that they are of with their settings, and what went wrong.
    pub(super) fn show(&self) {
        let header = ["what", "ours/s", "theirs", "theirs/s", "ratio", "wanted", "met"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for comparison in COMPARISONS {
            let Some(ratio) = self.ratio(comparison) else { continue };
            let wanted = comparison.wanted;
            rows.push(vec![
                comparison.what.to_owned(),
                grouped(ratio.ours.1),
                who(ratio.theirs.0).to_owned(),
                grouped(ratio.theirs.1),
                format!("{:.2}", ratio.value()),
                wanted.map_or_else(|| "–".to_owned(), |wanted| format!("≥ {wanted}")),
                wanted.map_or("–", |wanted| if ratio.value() >= wanted { "yes" } else { "NO" }).to_owned(),
            ]);
        }
        println!("\n{}\n", aligned(&rows, &[0, 2]));
        if let Some(twice) = self.twice {
            println!("{twice} instants of ours fired twice.\n");
        }
        let header = ["who", "what", "median/s", "min", "max", "other cpu", "settings"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (figure, series) in self.shown() {
            let [least, middle, most] = spread(&series.rates).map(grouped);
            let others = series.others.map_or_else(|| "–".to_owned(), |others| format!("{others:.2}"));
            let (who, what) = (figure.who.to_owned(), figure.what.to_owned());
            rows.push(vec![who, what, middle, least, most, others, in_words(&series.settings)]);
        }
        println!("{}", aligned(&rows, &[0, 1, 6]));
        for trouble in &self.troubles {
            println!("\n{} FAILED: {}", trouble.who, trouble.command);
            for line in &trouble.said {
                println!("  | {line}");
            }
        }
    }

    /// The ratios by name, and every figure. What was not measured is null.
    pub(super) fn to_json(&self, settings: &Value) -> Value {
        let mut object = Map::new();
        object.insert("bench".to_owned(), "peers".into());
        object.insert("settings".to_owned(), settings.clone());
        let mut comparisons = Vec::new();
        for comparison in COMPARISONS {
            let Some(ratio) = self.ratio(comparison) else {
                object.insert(comparison.name.to_owned(), Value::Null);
                continue;
            };
            object.insert(comparison.name.to_owned(), rounded(ratio.value()).into());
            comparisons.push(json!({
                "name": comparison.name, "ours": ratio.ours.0, "theirs": ratio.theirs.0, "ratio": rounded(ratio.value()),
                "wanted": comparison.wanted, "met": comparison.wanted.map(|wanted| ratio.value() >= wanted),
            }));
        }
        object.insert("double_firings".to_owned(), self.twice.into());
        object.insert("comparisons".to_owned(), comparisons.into());
        let figures = self.shown().map(|(figure, series)| {
            let [min, median, max] = spread(&series.rates).map(rounded);
            json!({
                "name": figure.name, "who": figure.who, "what": figure.what, "settings": series.settings,
                "runs": series.rates, "other_cpu": series.others.map(rounded), "per_second": {"median": median, "min": min, "max": max},
            })
        });
        object.insert("figures".to_owned(), figures.collect::<Vec<_>>().into());
        let troubles = self.troubles.iter();
        let troubles = troubles.map(|it| json!({"who": it.who, "command": it.command, "said": it.said}));
        object.insert("errors".to_owned(), troubles.collect::<Vec<_>>().into());
        object.into()
    }

    fn shown(&self) -> impl Iterator<Item = (&'static Figure, &Series)> {
        FIGURES.iter().filter_map(|figure| Some((figure, self.series.get(figure.name)?)))
    }
}

/// The names of all figures.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FIGURES.iter().map(|figure| figure.name)
}

fn who(name: &str) -> &'static str {
    FIGURES.iter().find(|figure| figure.name == name).map_or("", |figure| figure.who)
}

fn spread(rates: &[f64]) -> [f64; 3] {
    let least = rates.iter().copied().fold(f64::NAN, f64::min);
    let most = rates.iter().copied().fold(f64::NAN, f64::max);
    [least, median(rates).unwrap_or(f64::NAN), most]
}

fn median(rates: &[f64]) -> Option<f64> {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    let upper = *rates.get(middle)?;
    Some(if rates.len().is_multiple_of(2) { f64::midpoint(*rates.get(middle - 1)?, upper) } else { upper })
}

/// Three digits behind the point are more than any of these figures has.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// A rate in groups of three digits.
pub(super) fn grouped(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Settings as people read them, without those of the database, which all share.
pub(super) fn in_words(settings: &Value) -> String {
    let pairs = settings.as_object().into_iter().flatten().filter(|(name, _)| *name != "database");
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    pairs.map(|(name, value)| format!("{name} {}", word(value))).collect::<Vec<_>>().join(", ")
}

/// Columns side by side; those named to the left, numbers to the right.
fn aligned(rows: &[Vec<String>], left: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if left.contains(&at) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(rates: &[(&'static str, &[f64])]) -> Book {
        let mut book = Book::default();
        for (name, rates) in rates {
            for rate in *rates {
                book.add(name, Found { rate: *rate, settings: json!({"threads": 50}), others: Some(0.1) });
            }
        }
        book
    }

    #[test]
    fn a_ratio_is_of_medians() {
        let book = book(&[
            ("fire_postgres_1", &[30_000.0, 10_000.0, 20_000.0]),
            ("quartz_best_postgres_1", &[900.0, 1_100.0]),
        ]);
        let json = book.to_json(&json!({"runs": 3}));
        assert_eq!(json["fire_ratio_quartz_best"], 20.0);
        assert_eq!(json["comparisons"][0]["met"], true);
        assert_eq!(
            json["figures"][0]["per_second"],
            json!({"median": 20_000.0, "min": 10_000.0, "max": 30_000.0})
        );
        assert_eq!(json["figures"][0]["settings"]["threads"], 50);
    }

    #[test]
    fn the_best_of_theirs_counts_and_those_of_another_kind_do_not() {
        let book = book(&[
            ("drain_off", &[40_000.0]),
            ("drain_history", &[30_000.0]),
            ("graphile_worker_js", &[45_000.0]),
            ("pg_boss", &[50_000.0]),
            ("river", &[28_000.0]),
        ]);
        let json = book.to_json(&Value::Null);
        assert_eq!(json["drain_ratio_best_deleting"], 0.8);
        assert_eq!(json["drain_ratio_best_keeping"], 1.071);
        let met: Vec<_> =
            json["comparisons"].as_array().unwrap().iter().map(|one| (&one["theirs"], &one["met"])).collect();
        let (boss, river) = (&json!("pg_boss"), &json!("river"));
        assert_eq!(met, [(boss, &json!(false)), (river, &json!(false)), (boss, &Value::Null)]);
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let json = book(&[("fire_postgres_1", &[1.0])]).to_json(&Value::Null);
        for name in [
            "fire_ratio_quartz_best",
            "fire_ratio_quartz_best_4_nodes",
            "fire_ratio_quartz_default",
            "fire_mariadb_ratio_quartz_best",
            "drain_ratio_best_deleting",
            "drain_ratio_best_keeping",
            "fire_ratio_by_hand",
            "double_firings",
        ] {
            assert_eq!(json.as_object().unwrap().get(name), Some(&Value::Null), "{name}");
        }
    }

    #[test]
    fn firings_that_happened_twice_are_added_up_and_make_it_unsound() {
        let mut book = Book::default();
        assert!(book.is_sound());
        book.add_twice(0);
        assert!(book.is_sound());
        book.add_twice(2);
        book.add_twice(1);
        assert_eq!(book.to_json(&Value::Null)["double_firings"], 3);
        assert!(!book.is_sound());
    }

    #[test]
    fn each_comparison_is_of_figures_that_there_are() {
        for comparison in COMPARISONS {
            for name in comparison.ours.iter().chain(comparison.theirs) {
                assert!(FIGURES.iter().any(|figure| figure.name == *name), "{name} of {}", comparison.name);
            }
        }
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [["what", "rate"], ["a ≥ b", "1,234"], ["c", "5"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(aligned(&rows, &[0]), "what    rate\na ≥ b  1,234\nc          5");
        assert_eq!([7.4, 999.6, 1_234_567.0].map(grouped), ["7", "1,000", "1,234,567"]);
    }
}
