//! `punctual check`: what it finds in a database that was altered by hand, what it mends, and what it says of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use rusqlite::Connection;
use serde_json::Value;

use self::support::{Place, text};

const JOBS: &str =
    "revision = 1\n[job.a]\nshell = \"true\"\nevery = \"1h\"\n[job.b]\nshell = \"true\"\nevery = \"1h\"\n";

/// A place with a database that a node has made, and which nobody uses.
fn with_database() -> Place {
    let place = Place::new(JOBS);
    let mut node = place.node(&[]);
    node.event("joined");
    assert!(node.shut_down().success());
    place
}

/// Runs the command, and answers its exit code, its output and its errors.
fn check(place: &Place, arguments: &[&str]) -> (i32, String, String) {
    let output = place.run(&[&["check"], arguments].concat());
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn json(place: &Place, arguments: &[&str]) -> (i32, Value) {
    let (code, out, _) = check(place, &[arguments, &["--json"]].concat());
    let last = out.lines().last().expect("it says something");
    (code, serde_json::from_str(last).expect("the last line is JSON"))
}

fn alter(place: &Place, sql: &str) {
    let file = Connection::open(place.path("punctual.db")).expect("the file opens");
    file.execute_batch(sql).expect("the file can be written");
}

#[test]
fn a_sound_database_ends_with_0_and_is_not_changed() {
    let place = with_database();
    let (code, out, errors) = check(&place, &[]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("Nothing was found") && errors.is_empty(), "{out}{errors}");
    assert_eq!(
        json(&place, &["--repair"]),
        (0, serde_json::json!({"findings": [], "left": 0, "repair": true}))
    );
    assert!(check(&place, &["--log"]).1.contains("No repair was ever made"));
}

#[test]
fn what_is_found_is_shown_then_mended_and_then_listed() {
    let place = with_database();
    alter(
        &place,
        "INSERT INTO slot VALUES ('k', 0, x'00000000000000000000000000000007', 4);
         INSERT INTO beat VALUES (9, 3, 0);
         UPDATE trigger SET rank = 7 WHERE name = 'a';",
    );
    let (code, out, errors) = check(&place, &[]);
    assert_eq!(code, 6, "{out}{errors}");
    for word in
        ["RULE", "slot-of-nobody", "slot 0 of k", "beat-without-node", "trigger-copies", "default/a", "rank"]
    {
        assert!(out.contains(word), "no {word} in\n{out}");
    }
    assert!(out.ends_with("3 findings; `punctual check --repair` mends 3.\n"), "{out}");
    assert!(errors.is_empty(), "nothing here passes by itself: {errors}");
    assert_eq!(check(&place, &[]).0, 6, "a look changes nothing");
    let (code, said) = json(&place, &["--repair"]);
    assert_eq!((code, &said["left"]), (0, &0.into()), "{said}");
    let fates: Vec<_> = said["findings"].as_array().unwrap().iter().map(|one| &one["fate"]).collect();
    assert_eq!(fates, ["mended", "mended", "mended"]);
    assert_eq!(check(&place, &[]).0, 0);
    let (code, log) = json(&place, &["--log"]);
    let rules: Vec<_> = log["repairs"].as_array().unwrap().iter().map(|one| &one["rule"]).collect();
    assert!(code == 0 && rules.len() == 3 && rules.contains(&&"slot-of-nobody".into()), "{log}");
    assert!(check(&place, &["--log"]).1.contains("punctual check, process"), "who did it");
}

#[test]
fn what_no_repair_touches_is_left_and_ends_with_6() {
    let place = with_database();
    alter(
        &place,
        "UPDATE trigger SET spec = '{' WHERE name = 'a'; UPDATE trigger SET wake_us = NULL WHERE name = 'b';",
    );
    let (code, out, _) = check(&place, &["--repair"]);
    assert_eq!(code, 6, "{out}");
    for word in ["unreadable", "trigger.spec", "active-without-next", "you"] {
        assert!(out.contains(word), "no {word} in\n{out}");
    }
    assert!(out.ends_with("2 findings: 0 mended, 0 changed meanwhile, 2 left.\n"), "{out}");
}

#[test]
fn what_may_pass_is_looked_at_twice() {
    let place = with_database();
    alter(
        &place,
        "INSERT INTO node SELECT 9, name, host, pid, version, zone_data, profile, capacity, kinds, 1, 0, 0, 0, NULL FROM node;",
    );
    let (code, out, errors) = check(&place, &[]);
    assert_eq!(code, 6, "{out}");
    assert!(errors.contains("looking again in 15 s"), "{errors}");
    assert!(out.contains("node-without-beat") && out.contains("Start a node"), "{out}");
}

#[test]
fn a_database_that_is_not_there_ends_with_4_and_is_not_made() {
    let place = Place::new(JOBS);
    assert_eq!(check(&place, &[]).0, 4);
    assert!(!place.path("punctual.db").exists());
    assert_eq!(check(&place, &["--log", "--repair"]).0, 2);
}
