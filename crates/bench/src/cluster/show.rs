//! What people see: settings, progress, aligned tables, and medians with their spread.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this is for")]

use std::collections::BTreeMap;
use std::fmt::Display;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::Result;
use super::ground::Ground;
use super::options::Options;
use crate::measure::median;

/// The head of a report: what the figures below depend on.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    settings: Value,
    database: BTreeMap<String, String>,
    json: bool,
}

impl Report {
    /// Prints what is measured and on what.
    ///
    /// # Errors
    /// If the database would not keep what it acknowledges: such figures are not to be had.
    pub(crate) async fn begin(
        name: &'static str,
        what: &str,
        (options, settings): (&Options, Value),
        ground: &mut Ground,
    ) -> Result<Self> {
        let database = ground.settings().await?;
        if let Some((name, value)) = not_durable(&database) {
            return Err(
                format!("{name} is {value} on this database: it would lose what it acknowledged").into()
            );
        }
        println!("{name} on {}: {what}", options.store.name());
        let pairs = database.iter().map(|(name, value)| format!("{name} {value}"));
        println!("  database  {}", pairs.collect::<Vec<_>>().join(", "));
        let pairs = settings.as_object().into_iter().flatten();
        let pairs = pairs.map(|(name, value)| format!("{name} {}", plain(value)));
        println!("  settings  {}", pairs.collect::<Vec<_>>().join(", "));
        if cfg!(debug_assertions) {
            println!("  this is not a release build: the figures say nothing");
        }
        Ok(Self { name, settings, database, json: options.json })
    }

    /// Prints a table with a heading, numbers to the right.
    pub(crate) fn table(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header.to_vec());
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("\n{table}\n");
    }

    /// Prints what explains a table.
    pub(crate) fn note(&self, text: impl Display) {
        println!("{text}");
    }

    /// Prints all figures as one object, if that was asked for.
    pub(crate) fn end(&self, store: &str, figures: Value) {
        if self.json {
            let Self { name, settings, database, .. } = self;
            println!(
                "{}",
                json!({"bench": name, "store": store, "settings": settings, "database": database, "figures": figures})
            );
        }
    }
}

/// A setting under which a commit that was acknowledged may be lost.
fn not_durable(found: &BTreeMap<String, String>) -> Option<(&'static str, &str)> {
    let rules: [(&'static str, &[&str]); 5] = [
        ("fsync", &["on"]),
        ("full_page_writes", &["on"]),
        ("synchronous_commit", &["on", "remote_apply", "remote_write", "local"]),
        ("innodb_flush_log_at_trx_commit", &["1"]),
        ("synchronous", &["FULL", "EXTRA"]),
    ];
    let wrong = |(name, good): &(&'static str, &[&str])| {
        let value = found.get(*name)?.as_str();
        (!good.contains(&value)).then_some((*name, value))
    };
    rules.iter().find_map(wrong)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Says how far a long run is.
pub(crate) fn progress(text: impl Display) {
    eprintln!("  … {text}");
}

/// The middle of some figures, the smallest and the largest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let figures: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        let min = figures.iter().copied().fold(f64::NAN, f64::min);
        let max = figures.iter().copied().fold(f64::NAN, f64::max);
        Self { median: median(figures), min, max }
    }

    /// The median, and the others behind it if they differ.
    pub(crate) fn shown(self) -> String {
        let Self { median, min, max } = self;
        if min < max {
            format!("{} ({}–{})", figure(median), figure(min), figure(max))
        } else {
            figure(median)
        }
    }

    pub(crate) fn to_json(self) -> Value {
        json!({"median": rounded(self.median), "min": rounded(self.min), "max": rounded(self.max)})
    }
}

/// A number of nodes in words.
pub(crate) fn nodes(number: u32) -> String {
    if number == 1 { "1 node".to_owned() } else { format!("{number} nodes") }
}

/// Three digits behind the point are more than any of these figures has.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// A figure with as many digits as it deserves, and a dash where there is none.
pub(crate) fn figure(figure: f64) -> String {
    match figure.abs() {
        _ if !figure.is_finite() => "–".to_owned(),
        size if size >= 100.0 => grouped(figure),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

/// A large figure without a fraction, in groups of three digits.
fn grouped(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut text = if figure < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count as a figure; it is exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of what ran in minutes are far below 2^53")]
pub(crate) const fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_long_as_they_deserve() {
        let shown = [1_234_567.8, 999.6, 100.0, 12.34, 1.234, 0.012_34, f64::NAN].map(figure);
        assert_eq!(shown, ["1,234,568", "1,000", "100", "12.3", "1.23", "0.0123", "–"]);
    }

    #[test]
    fn a_spread_leaves_out_what_was_not_measured() {
        let spread = Spread::of([3.0, f64::NAN, 1.0, 2.0]);
        assert_eq!(spread.to_json(), json!({"median": 2.0, "min": 1.0, "max": 3.0}));
    }

    #[test]
    fn a_database_that_loses_commits_is_refused() {
        let with = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(not_durable(&with("synchronous_commit", "off")), Some(("synchronous_commit", "off")));
        assert_eq!(
            not_durable(&with("innodb_flush_log_at_trx_commit", "2")).map(|(_, value)| value),
            Some("2")
        );
        assert_eq!(not_durable(&with("synchronous", "NORMAL")).map(|(_, value)| value), Some("NORMAL"));
        assert_eq!(not_durable(&with("fsync", "on")), None);
        assert_eq!(not_durable(&with("synchronous", "FULL")), None);
    }
}
