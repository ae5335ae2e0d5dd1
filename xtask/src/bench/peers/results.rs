//! What the two sides say they have measured: lines of the harness, and the last line of a benchmark of ours.

use serde_json::{Value, json};

/// A rate, and the settings that it was measured with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) rate: f64,
    pub(super) settings: Value,
    /// The part of the machine that neither those who were measured nor their database had, where that was looked at.
    pub(super) others: Option<f64>,
}

/// What some benchmark of ours found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ours {
    pub(super) found: Vec<Found>,
    /// Instants that fired twice, where that was looked for.
    pub(super) twice: Option<u64>,
}

/// The lines of the harness that are results; others, such as one that was cut off, are none.
pub(super) fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
}

/// The firings a second of Quartz.
pub(super) fn quartz(lines: &[Value]) -> Result<Found, String> {
    found(lines, "recurring", "rate", &["n", "threads", "batch", "nodes", "lock", "errors"])
}

/// The jobs a second that a queue worked off.
pub(super) fn queue(lines: &[Value]) -> Result<Found, String> {
    let found = found(lines, "peer-drain", "rate", &["n", "variant", "enqueue_batch"])?;
    let mut windows =
        of_test(lines, "peer-drain").flat_map(|line| line["wins"].as_array().into_iter().flatten());
    match windows.find(|window| window["complete"] == false) {
        Some(window) => Err(format!(
            "it had done {} of {} jobs when its time was over",
            window["jobs"], found.settings["n"]
        )),
        None => Ok(found),
    }
}

/// The rows a second of statements made by hand in a database, in the batch size and with the clients that are best for
/// them.
pub(super) fn by_hand(lines: &[Value], database: &str, mode: &str) -> Result<Found, String> {
    of_test(lines, "limit")
        .filter(|line| line["store"] == database && line["mode"] == mode)
        .filter_map(|line| one(line, "rows_per_s", &["store", "mode", "batch", "workers"]))
        .max_by(|one, other| one.rate.total_cmp(&other.rate))
        .ok_or_else(|| format!("it left no result of {mode}"))
}

/// What `fire` or `drain` of ours found: a rate for each number of nodes, or for each length of history, in order.
pub(super) fn ours(report: &Value) -> Result<Ours, String> {
    let figures = &report["figures"];
    let (list, rate, name) = match report["bench"].as_str() {
        Some("fire") => ("crews", "firings_per_second", "nodes"),
        Some("drain") => ("cases", "drained_per_second", "history"),
        other => return Err(format!("its report is of {other:?}")),
    };
    let mut found = Vec::new();
    for case in figures[list].as_array().into_iter().flatten() {
        let median = usable(&case[rate]["median"]).ok_or_else(|| format!("it has no {rate}"))?;
        let mut settings = report["settings"].clone();
        settings["nodes"] = case["nodes"].clone();
        settings[name] = case[name].clone();
        settings["database"] = report["database"].clone();
        found.push(Found { rate: median, settings, others: case["other_cpu"]["median"].as_f64() });
    }
    Ok(Ours { found, twice: figures["checks"]["double_firings"].as_u64() })
}

fn of_test<'a>(lines: &'a [Value], test: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["test"] == test)
}

/// The last line of a test.
fn found(lines: &[Value], test: &str, rate: &str, settings: &[&str]) -> Result<Found, String> {
    let line = of_test(lines, test).last().ok_or_else(|| format!("it left no result of {test}"))?;
    one(line, rate, settings).ok_or_else(|| format!("it did nothing: {rate} is {}", line[rate]))
}

fn one(line: &Value, rate: &str, settings: &[&str]) -> Option<Found> {
    let rate = usable(&line[rate]["median"])?;
    let mut kept = json!({});
    for name in settings {
        kept[*name] = line[*name].clone();
    }
    let windows = line["wins"].as_array().into_iter().flatten();
    let others = windows.filter_map(|window| {
        Some((window["cpu_total_util"].as_f64()? - window["cpu_own_util"].as_f64()?).max(0.0))
    });
    Some(Found { rate, settings: kept, others: others.reduce(f64::max) })
}

/// A rate that can be compared with another one.
fn usable(rate: &Value) -> Option<f64> {
    rate.as_f64().filter(|rate| rate.is_finite() && *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECURRING: &str = r#"{"db": "pg", "test": "insert", "out": "INSERT n=5000"}
{"db": "pg", "test": "recurring", "n": 5000, "threads": 50, "batch": 50, "nodes": 4, "lock": "true", "rate": {"median": 812.5, "min": 812.5, "max": 812.5}, "errors": 2, "wins": [{"jobs": 812, "cpu_total_util": 0.75, "cpu_own_util": 0.5}], "at": "10:00:00"}
{"db": "pg", "test": "recur"#;

    fn peer(rate: f64, complete: bool) -> Vec<Value> {
        let windows = json!([{"jobs": 70, "complete": complete}]);
        let rate = json!({"median": rate, "min": rate, "max": rate});
        vec![
            json!({"test": "peer-drain", "name": "river", "n": 100, "variant": "some", "rate": rate, "wins": windows}),
        ]
    }

    #[test]
    fn a_rate_of_quartz_is_read_with_its_settings() {
        let found = quartz(&lines(RECURRING)).unwrap();
        assert!((found.rate - 812.5).abs() < 1e-9);
        let settings =
            json!({"n": 5000, "threads": 50, "batch": 50, "nodes": 4, "lock": "true", "errors": 2});
        assert_eq!(found.settings, settings);
        assert_eq!(found.others, Some(0.25));
        assert_eq!(quartz(&[]).unwrap_err(), "it left no result of recurring");
    }

    #[test]
    fn a_queue_that_has_not_worked_all_off_has_no_rate() {
        assert!((queue(&peer(28_000.0, true)).unwrap().rate - 28_000.0).abs() < 1e-9);
        let cut = queue(&peer(490.0, false)).unwrap_err();
        assert_eq!(cut, "it had done 70 of 100 jobs when its time was over");
        assert!(queue(&peer(0.0, true)).unwrap_err().starts_with("it did nothing"), "nothing to divide by");
        let none = vec![json!({"test": "peer-drain", "rate": null})];
        assert!(queue(&none).is_err());
    }

    #[test]
    fn by_hand_the_best_batch_size_of_a_statement_counts() {
        let line = |store: &str, mode: &str, batch: u32, rate: f64| json!({"test": "limit", "store": store, "mode": mode, "batch": batch, "workers": 2, "rows_per_s": {"median": rate}});
        let lines = [
            line("sqlite FULL", "bump", 100, 7.0),
            line("sqlite FULL", "bump", 1000, 9.0),
            line("sqlite FULL", "bump", 5000, 8.0),
            line("sqlite FULL", "claim+delete", 1000, 11.0),
            line("sqlite NORMAL", "bump", 1000, 90.0),
        ];
        let best = by_hand(&lines, "sqlite FULL", "bump").unwrap();
        assert!((best.rate - 9.0).abs() < 1e-9, "what does not wait for the disk is another thing");
        assert_eq!(best.settings["batch"], 1000);
        assert!(by_hand(&lines, "sqlite FULL", "one").is_err());
    }

    #[test]
    fn reports_of_ours_are_read_case_by_case() {
        let fire = json!({
            "bench": "fire", "settings": {"capacity": 64}, "database": {"fsync": "on"},
            "figures": {"crews": [{"nodes": 4, "firings_per_second": {"median": 20_000.0}, "other_cpu": {"median": 0.125}}], "checks": {"double_firings": 3}},
        });
        let fire = ours(&fire).unwrap();
        assert_eq!(fire.twice, Some(3));
        assert_eq!(fire.found.len(), 1);
        assert_eq!(fire.found[0].others, Some(0.125));
        assert_eq!(fire.found[0].settings, json!({"capacity": 64, "nodes": 4, "database": {"fsync": "on"}}),);
        let case = |history: &str, rate: f64| json!({"nodes": 1, "history": history, "drained_per_second": {"median": rate}});
        let cases = json!([case("default", 5.0), case("off", 6.0)]);
        let drain = ours(&json!({"bench": "drain", "settings": {}, "figures": {"cases": cases}})).unwrap();
        assert_eq!(drain.twice, None);
        assert_eq!(drain.found.iter().map(|found| found.rate).collect::<Vec<_>>(), [5.0, 6.0]);
        assert_eq!(drain.found[1].settings["history"], "off");
        assert!(ours(&json!({"bench": "idle"})).is_err());
    }
}
