//! `punctual epoch`: what it shows, what it refuses, and that a node stops on a file that was rolled back under it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use self::support::server::{Ground, Server};
use self::support::{Place, text};

const JOBS: &str =
    "revision = 1\n[job.token]\nshell = \"echo $PUNCTUAL_FENCING_TOKEN\"\ncron = \"* * * * * ?\"\n";

fn epoch(place: &Place, arguments: &[&str]) -> (i32, String, String) {
    let output = place.run(&[&["epoch"], arguments].concat());
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn said(place: &Place, arguments: &[&str]) -> (i32, Value) {
    let (code, out, _) = epoch(place, &[arguments, &["--json"]].concat());
    let last = out.lines().last().expect("it says something");
    (code, serde_json::from_str(last).expect("the last line is JSON"))
}

fn settled(event: &Value) -> bool {
    event["event"] == "settled"
}

/// The tokens that bodies were given, in the order of their ends.
fn tokens(place: &Place, db: &[&str]) -> Vec<u64> {
    let history = place.json(&[&["history", "token", "--json"], db].concat());
    let records = history.as_array().unwrap().iter().rev();
    records.map(|record| record["output"].as_str().unwrap().trim().parse().unwrap()).collect()
}

#[test]
fn a_node_that_beats_is_a_refusal_and_one_that_left_is_none() {
    let place = Place::new(JOBS);
    let mut node = place.node(&["--profile", "fast", "--name", "one"]);
    node.event("joined");
    assert_eq!(said(&place, &["show"]), (0, json!({"epoch": 0})));
    let (code, out, errors) = epoch(&place, &["raise"]);
    assert_eq!((code, &*out), (6, ""), "{errors}");
    assert!(errors.contains("1 node (one) still beat; nothing was changed"), "{errors}");
    assert_eq!(said(&place, &["raise"]), (6, json!({"error": "nodes are up", "nodes": ["one"]})));
    assert!(node.shut_down().success());
    let (code, out, errors) = epoch(&place, &["raise"]);
    assert_eq!((code, &*errors), (0, ""));
    assert_eq!(out, "epoch 1, was 0; no node was up\nnodes can be started\n");
    assert_eq!(epoch(&place, &["show"]).1, "epoch 1; every fencing token begins with it\n");
}

#[test]
fn a_node_that_is_silent_is_watched_and_ended() {
    let place = Place::new(JOBS);
    let mut node = place.node(&["--profile", "fast", "--name", "one"]);
    node.event("joined");
    node.signal(Signal::KILL);
    node.wait();
    let (code, out, errors) = epoch(&place, &["raise", "--above", "4"]);
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("watching 1 node (one) for 5 s"), "{errors}");
    assert!(out.starts_with("epoch 5, was 0; 1 node (one) marked dead"), "{out}");
    assert_eq!(place.json(&["nodes", "--json"])[0]["state"], "dead");
    assert_eq!(said(&place, &["raise"]), (0, json!({"epoch": 6, "was": 5, "ended": []})));
}

#[test]
fn what_cannot_be_raised_is_said() {
    let place = Place::new(JOBS);
    assert_eq!(epoch(&place, &["show"]).0, 4, "there is no database");
    let mut node = place.node(&[]);
    node.event("joined");
    assert!(node.shut_down().success());
    let (code, _, errors) = epoch(&place, &["raise", "--above", "8388607"]);
    assert!(code == 2 && errors.contains("no epoch above 8388607"), "{errors}");
    assert_eq!(epoch(&place, &["raise", "--above", "-1"]).0, 2);
    assert_eq!(said(&place, &["show"]).1["epoch"], 0);
}

#[test]
fn a_node_stops_when_its_file_is_rolled_back_and_tokens_grow_after_the_raise() {
    let place = Place::new(JOBS);
    let mut node = place.node(&["--profile", "fast", "--name", "one"]);
    node.until(settled);
    let backup = place.path("backup.db");
    let file = Connection::open(place.path("punctual.db")).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    file.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    for _ in 0..3 {
        node.until(settled);
    }
    // Rows go back under the node, in one transaction, as a restore of a live database does it.
    file.execute("ATTACH ?1 AS kept", [backup.to_str().unwrap()]).unwrap();
    let before = tokens(&place, &[]);
    let tables = ["beat", "execution", "history", "meta", "node", "slot", "trigger"];
    let put_back =
        tables.map(|table| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table};"));
    file.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT", put_back.concat())).unwrap();
    drop(file);
    assert_eq!(node.wait().code(), Some(4));
    let errors = place.read("stderr.log");
    assert!(errors.contains("rolled back") && errors.contains("punctual epoch raise --above 0"), "{errors}");

    assert_eq!(epoch(&place, &["raise", "--above", "0"]).0, 0);
    let mut node = place.node(&["--profile", "fast", "--name", "two"]);
    node.until(settled);
    assert!(node.shut_down().success());
    let newest = *tokens(&place, &[]).last().unwrap();
    assert!(before.iter().all(|old| newest > *old), "{newest} after {before:?}");
    assert_eq!(newest >> 40, 1);
}

#[test]
fn an_epoch_is_raised_on_postgres_and_on_mysql() {
    for server in [Server::Postgres, Server::Mysql] {
        let (ground, place) = (Ground::on(server), Place::new(JOBS));
        let location = ground.location();
        let db = ["--db", &*location];
        let mut node = place.node(&[&["--profile", "fast", "--name", "one"], &db[..]].concat());
        node.until(settled);
        assert_eq!(said(&place, &[&["raise"], &db[..]].concat()).0, 6);
        let (code, forced) = said(&place, &[&["raise", "--force"], &db[..]].concat());
        assert_eq!((code, forced), (0, json!({"epoch": 1, "was": 0, "ended": ["one"]})));
        // It was taken for dead while it runs: it joins again, and its tokens are larger.
        node.event("rejoined");
        node.until(settled);
        assert!(node.shut_down().success());
        assert_eq!(said(&place, &[&["show"], &db[..]].concat()), (0, json!({"epoch": 1})));
        assert_eq!(tokens(&place, &db).last().unwrap() >> 40, 1);
    }
}
