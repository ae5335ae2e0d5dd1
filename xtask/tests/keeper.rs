//! The process that owns throw-away servers ends with whoever started it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_keeper_deletes_its_folder_when_its_starter_is_gone() {
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["db", "keep", "{}"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    let stdout = keeper.stdout.take().expect("its output is piped");
    BufReader::new(stdout).read_line(&mut said).expect("it says what it has started");
    assert!(said.contains("\"urls\":{}"), "{said}");
    let folder = std::env::temp_dir().join(format!("punctual-db-{}", keeper.id()));
    assert!(folder.is_dir());
    // What the kernel does when a process dies.
    drop(keeper.stdin.take());
    assert!(keeper.wait().expect("it ends").success());
    assert!(!folder.exists());
}

#[test]
fn a_keeper_that_cannot_start_a_server_says_why_and_leaves_nothing() {
    let plan = "{\"postgres\":\"/nowhere\"}";
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(["db", "keep", plan]).output().expect("it starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("error") && said.contains("/nowhere/initdb"), "{said}");
}
