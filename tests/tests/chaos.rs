//! The chaos harness itself, on a file: a short run is clean, and one whose store breaks a rule is not.
#![cfg(test)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A run with three workers. The command for operators is named if the store is to be put back.
fn chaos(folder: &Path, minutes: f64, mutant: Option<&str>, restore: Option<&str>) -> (Output, Value) {
    let plan = json!({
        "store": "sqlite", "minutes": minutes, "seed": 5, "json": true, "mutant": mutant, "folder": folder.join("run"),
        "workers": 3, "restore": restore,
    });
    let output = Command::new(env!("CARGO_BIN_EXE_chaos")).arg(plan.to_string()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    (output, figures)
}

#[test]
fn a_short_run_on_a_file_is_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let (output, figures) = chaos(folder.path(), 0.07, None, None);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for (name, least) in [("executions", 50), ("kills", 1), ("freezes", 1), ("effects", 10)] {
        assert!(figures[name].as_u64() >= Some(least), "{name}: {text}");
    }
    for name in
        ["duplicates", "lost", "stuck", "overlaps", "effects_doubled", "false_deaths", "violations_total"]
    {
        assert_eq!(figures[name], 0, "{name}: {text}");
    }
}

#[test]
fn a_run_whose_nodes_take_over_the_living_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (output, figures) = chaos(folder.path(), 0.05, Some("recovery-ignores-the-beat"), None);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(figures["false_deaths"].as_u64() > Some(0), "{figures}");
}

#[test]
fn a_run_in_which_nobody_raises_the_epoch_after_a_restore_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = "nobody-uses-this";
    let (output, figures) = chaos(folder.path(), 0.05, Some("epoch-not-raised"), Some(nobody));
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    // A seat may be empty for a moment when the backup is put back.
    assert!(figures["rolled_back"].as_u64() >= Some(2), "nodes have noticed: {figures}");
    assert!(figures["broken"]["token_backwards"].as_u64() > Some(0), "{figures}");
}

#[test]
fn a_plan_that_is_none_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos")).arg("x").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
}
