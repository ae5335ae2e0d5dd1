//! The benchmarks of clusters, each once and small: that they run, check what they promise to, and say it as data.

use std::process::Command;

use serde_json::Value;

/// Runs one on SQLite for a moment, and answers its last line.
fn run(name: &str, more: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punctual-bench"));
    command.args([name, "--store", "sqlite", "--runs", "1", "--seconds", "1", "--warm-up", "0", "--json"]);
    let output = command.args(more).output().expect("the program starts");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {said}{wrong}");
    let last = said.lines().last().expect("it says something");
    let value: Value = serde_json::from_str(last).expect("the last line is JSON");
    assert_eq!(value["bench"], name);
    assert_eq!(value["database"]["synchronous"], "FULL");
    value["figures"].clone()
}

#[test]
fn fire_counts_what_has_run_and_finds_it_recorded() {
    let figures = run("fire", &["--nodes", "2", "--triggers", "50"]);
    let (crew, checks) = (&figures["crews"][0], &figures["checks"]);
    for name in ["firings_per_second", "statements", "commits", "bytes", "late_p50_ms"] {
        assert!(crew[name]["median"].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {crew}");
    }
    assert!(checks["bodies"].as_u64().is_some_and(|bodies| bodies > 50), "{checks}");
    assert_eq!((&checks["same"], &checks["double_firings"]), (&true.into(), &0.into()));
}

#[test]
fn drain_enqueues_in_each_way_and_runs_each_job_once() {
    let figures = run("drain", &["--nodes", "1", "--jobs", "300"]);
    assert_eq!((&figures["same"], &figures["jobs"]), (&true.into(), &300.into()));
    let cases = figures["cases"].as_array().expect("there are cases");
    assert_eq!(cases.len(), 2);
    // A node that takes itself for the first process on the file begins its counters anew.
    let commits = |case: &Value| case["commits"]["median"].as_f64().is_some_and(|commits| commits < 10.0);
    assert!(cases.iter().all(commits), "{figures}");
    for name in
        ["drained_per_second", "enqueued_per_second_in_transactions", "enqueued_per_second_in_batches"]
    {
        assert!(
            cases.iter().all(|case| case[name]["median"].as_f64().is_some_and(|figure| figure > 0.0)),
            "{name}"
        );
    }
}

#[test]
fn latency_misses_no_trigger() {
    let figures = run("latency", &["--poll-ms", "200"]);
    assert_eq!(figures["lost"], 0);
    assert_eq!(figures["cases"].as_array().map(Vec::len), Some(4));
}

#[test]
fn latency_is_that_of_single_triggers_beside_a_load() {
    let figures = run("latency", &["--half-load", "--triggers", "50", "--poll-ms", "200"]);
    assert_eq!(figures["lost"], 0, "the load is not among the samples");
    assert!(figures["beside_per_second"].as_u64().is_some_and(|beside| beside > 1), "{figures}");
}

#[test]
fn idle_nodes_check_in() {
    let figures = run("idle", &["--nodes", "1", "--profile", "fast", "--poll-ms", "100"]);
    let statements = &figures["crews"][0]["statements_per_second_of_a_node"]["median"];
    assert!(statements.as_f64().is_some_and(|figure| figure > 0.0), "{figures}");
}

#[test]
fn work_of_a_killed_node_is_taken_over_within_the_bound() {
    let more = ["--profile", "fast", "--nodes", "2", "--kills", "1"];
    let figures = run("takeover", &more);
    let profile = &figures["profiles"][0];
    assert_eq!(profile["bound_s"], 10.0);
    assert_eq!(
        (&profile["takeovers"], &profile["never"], &profile["within"]),
        (&1.into(), &0.into(), &true.into())
    );
    // Sooner would mean that nobody waited for the lease to end.
    let seconds = profile["seconds"]["min"].as_f64().expect("it was measured");
    assert!((3.0..=10.0).contains(&seconds), "{figures}");
}

#[test]
fn scale_stores_triggers_that_are_not_due_and_compares() {
    let figures = run("scale", &["--sizes", "40,1500"]);
    assert_eq!((&figures["due_per_second"], &figures["checks"]["same"]), (&40.into(), &true.into()));
    let sizes = figures["sizes"].as_array().expect("there are sizes");
    assert_eq!(
        sizes.iter().map(|size| size["triggers"].as_u64()).collect::<Vec<_>>(),
        [Some(40), Some(1_500)]
    );
    for name in ["firings_per_second", "statements", "commits", "bytes"] {
        let is_there = |size: &Value| size[name]["median"].as_f64().is_some_and(|figure| figure > 0.0);
        assert!(sizes.iter().all(is_there), "{name}: {figures}");
    }
    // What is due in a year has not fired.
    let rate = |size: &Value| size["firings_per_second"]["median"].as_f64().expect("it was measured");
    assert!(sizes.iter().all(|size| rate(size) < 400.0), "{figures}");
}

#[test]
fn history_is_long_and_is_deleted_meanwhile() {
    let figures = run("history", &["--triggers", "50", "--history-rows", "120000"]);
    assert_eq!((&figures["lasted"], &figures["checks"]["same"]), (&true.into(), &true.into()));
    let cases = figures["cases"].as_array().expect("there are cases");
    let deleted = |case: &Value| case["deleted_per_second"]["median"].as_f64();
    assert_eq!(cases.iter().map(|case| deleted(case).is_some()).collect::<Vec<_>>(), [false, false, true]);
    assert!(cases.last().and_then(deleted).is_some_and(|rows| rows > 0.0), "{figures}");
}

#[test]
fn commits_can_be_delayed_on_postgres_alone() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punctual-bench"));
    let output = command.args(["commits", "--store", "sqlite"]).output().expect("the program starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--store postgres"), "{said}");
}
