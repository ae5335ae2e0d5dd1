//! `punctual pause` and `punctual resume`, beside a node that fires.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::{Value, json};

use self::support::{Place, text};

const JOBS: &str = "revision = 1\n[job.\"night/a\"]\nshell = \"true\"\nevery = \"1s\"\n\
                    [job.\"day/b\"]\nshell = \"true\"\nevery = \"1s\"\n";

fn settled(key: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "settled" && event["work"]["job"] == key
}

fn state_of(place: &Place, key: &str) -> Value {
    let listed = place.json(&["list", "--json"]);
    listed.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap()["state"].clone()
}

#[test]
fn a_paused_schedule_stays_paused_through_a_restart_until_it_is_resumed() {
    let place = Place::new(JOBS);
    let mut node = place.node(&[]);
    node.until(settled("night/a"));
    let pause = ["pause", "night/a", "--by", "Ada", "--reason", "the disk is full"];
    assert_eq!(
        place.json(&[&pause[..], &["--json"]].concat()),
        json!({"key": "night/a", "state": "paused", "changed": true})
    );
    assert_eq!(state_of(&place, "night/a"), "paused");
    assert!(node.shut_down().success());

    let mut node = place.node(&[]);
    for _ in 0..3 {
        let event = node.until(|event| event["event"] == "settled");
        assert_eq!(event["work"]["job"], "day/b");
    }
    let shown = text(&place.run(&["show", "night/a"]).stdout);
    assert!(shown.contains("by Ada: the disk is full"), "{shown}");
    let listed = text(&place.run(&["list"]).stdout);
    assert!(listed.contains("paused by Ada"), "{listed}");
    let again = text(&place.run(&pause).stdout);
    assert!(again.contains("was paused already"), "{again}");
    assert!(text(&place.run(&["resume", "night/a"]).stdout).contains("night/a goes on"));
    node.until(settled("night/a"));
    assert!(node.shut_down().success());
}

#[test]
fn a_paused_group_is_listed_and_holds_its_schedules_back() {
    let place = Place::new(JOBS);
    let mut node = place.node(&[]);
    node.until(settled("night/a"));
    assert!(place.run(&["pause", "--group", "night", "--by", "Ada"]).status.success());
    assert_eq!((state_of(&place, "night/a"), state_of(&place, "day/b")), (json!("paused"), json!("active")));
    let listed = text(&place.run(&["list"]).stdout);
    assert!(
        listed.contains("paused with its group") && listed.contains("the group night was paused"),
        "{listed}"
    );
    let resumed = text(&place.run(&["resume", "night/a"]).stdout);
    assert!(resumed.contains("`punctual resume --group night` lets it go on"), "{resumed}");
    let resumed = ["resume", "--group", "night", "--json"];
    assert_eq!(place.json(&resumed), json!({"key": "night", "state": "active", "changed": true}));
    assert_eq!(place.json(&resumed), json!({"key": "night", "state": "active", "changed": false}));
    node.until(settled("night/a"));
    assert!(node.shut_down().success());
}

#[test]
fn what_cannot_be_paused_is_named_with_what_to_do() {
    let place = Place::new(JOBS);
    let mut node = place.node(&[]);
    node.event("joined");
    assert!(node.shut_down().success());
    for (arguments, code, said) in [
        (&["pause", "night/b"][..], 5, "there is no schedule `night/b`"),
        (&["resume", "nihgt/a"], 5, "did you mean `night/a`?"),
        (&["pause"], 2, "--group"),
        (&["pause", "a", "--group", "b"], 2, "cannot be used with"),
        (&["pause", "--group", "a/b"], 2, "has a slash"),
        (&["pause", "--group", "a", "--by", ""], 2, "who pauses is named"),
    ] {
        let output = place.run(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
}
