//! Bad input: each is answered with what is wrong, where, what to do, and an exit code of its own; nothing panics.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use self::support::{Place, text};

const GOOD: &str = "revision = 1\n[job.a]\nshell = \"true\"\nevery = \"1h\"\n";

fn refused(output: &Output, code: i32, words: &[&str]) {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "no {word:?} in: {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

/// A place with a database that a node has made.
fn with_database() -> Place {
    let place = Place::new(GOOD);
    let mut node = place.node(&[]);
    node.event("joined");
    assert!(node.shut_down().success());
    place
}

#[test]
fn a_broken_file_ends_with_3_and_makes_no_database() {
    let place = Place::new("[job.a]\nshell = \"true\"\ncron = \"0 0 25 * * ?\"\n");
    refused(&place.run(&["run", "jobs.toml"]), 3, &["jobs.toml:3:13", "`cron`", "hint: use 0 to 23"]);
    refused(&place.run(&["run", "no.toml"]), 3, &["no.toml", "cannot be read"]);
    assert!(!place.path("punctual.db").exists());
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new(GOOD);
    refused(&place.run(&["histori"]), 2, &["history"]);
    refused(&place.run(&["run", "jobs.toml", "--profile", "quick"]), 2, &["failover-tolerant"]);
    refused(&place.run(&["next", "0 0 25 * * ?"]), 2, &["column 5", "^", "0 to 23"]);
    refused(&place.run(&["next", "0 9 * * 1"]), 2, &["--unix"]);
    refused(&place.run(&["next", "@daily", "--zone", "Europe/Berlni"]), 2, &["Europe/Berlin"]);
    refused(&place.run(&["next", "@daily", "--after", "soon"]), 2, &["--after"]);
    refused(&place.run(&["run", "jobs.toml", "--db", "oracle://x"]), 2, &["oracle"]);
}

#[test]
fn a_database_may_be_named_on_either_side_of_a_subcommand() {
    let place = Place::new(GOOD);
    for arguments in [["migrate", "--db", "a.db", "apply"], ["migrate", "apply", "--db", "b.db"]] {
        let output = place.run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert!(place.path("a.db").exists() && place.path("b.db").exists());
    assert!(!place.path("punctual.db").exists());
}

#[test]
fn databases_that_cannot_be_used_end_with_4() {
    let place = Place::new(GOOD);
    for command in ["list", "history", "nodes"] {
        refused(&place.run(&[command]), 4, &["punctual.db", "no such file", "punctual run"]);
    }
    assert!(!place.path("punctual.db").exists(), "looking makes nothing");
    refused(&place.run(&["run", "jobs.toml", "--db", "no/such/folder/a.db"]), 4, &["no/such/folder"]);
    refused(&place.run(&["run", "jobs.toml", "--db", "."]), 4, &["hint: "]);

    place.write(
        "text.db",
        "this is a text and no database, and it is longer than the head of a database would be",
    );
    for command in [&["list"][..], &["run", "jobs.toml"]] {
        let output = place.command(command).env("PUNCTUAL_DB", "text.db").output().unwrap();
        refused(&output, 4, &["text.db", "not an SQLite database"]);
    }
    assert!(place.read("text.db").starts_with("this is a text"), "it is left as it was");

    place.write("empty.db", "");
    refused(&place.run(&["list", "--db", "empty.db"]), 4, &["empty.db"]);
    assert_eq!(place.read("empty.db"), "");
}

#[test]
fn a_newer_database_is_refused() {
    let place = with_database();
    let database = rusqlite::Connection::open(place.path("punctual.db")).unwrap();
    database
        .execute(
            "INSERT INTO migration (version, name, checksum, state, started_us, finished_us, binary, min_reader, min_writer)
             SELECT 99 + max(version) - 98, 'later', 1, 2, 0, 0, '9.9.9', 99, 99 FROM migration",
            [],
        )
        .unwrap();
    drop(database);
    for command in [&["list"][..], &["run", "jobs.toml"]] {
        refused(&place.run(command), 4, &["punctual.db", "9.9.9", "newer version of Punctual"]);
    }
}

#[test]
fn a_read_only_database_is_refused() {
    let place = with_database();
    let path = place.path("punctual.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    refused(&place.run(&["run", "jobs.toml"]), 4, &["punctual.db", "read-only"]);
}

#[test]
fn an_unknown_key_ends_with_5_and_a_near_one_is_offered() {
    let place = with_database();
    refused(&place.run(&["show", "aa"]), 5, &["`aa`", "did you mean `default/a`?"]);
    refused(&place.run(&["history", "nothing/like-it"]), 5, &["`nothing/like-it`", "punctual list"]);
    refused(&place.run(&["list", "nogroup"]), 5, &["`nogroup`"]);
    refused(&place.run(&["show", "0190a6f2-7c1e-7b54-9d0e-1f2a3b4c5d6e"]), 5, &["there is no execution"]);
    refused(&place.run(&["show", "a/"]), 2, &["group/name"]);
}

#[test]
fn next_computes_without_a_database() {
    let place = Place::new(GOOD);
    let answer = place.json(&[
        "next",
        "0 30 2 * * ?",
        "--zone",
        "Europe/Berlin",
        "--after",
        "2026-03-28T12:00:00",
        "-n",
        "2",
        "--json",
    ]);
    let times = answer["times"].as_array().unwrap();
    assert_eq!(times[0]["utc"], "2026-03-29T01:00:00Z");
    assert_eq!(times[0]["local"], "2026-03-29 03:00:00");
    assert_eq!(times[0]["offset"], "+02:00");
    assert_eq!(times[0]["marks"], serde_json::json!(["end_of_gap", "offset_change"]));
    assert_eq!(times[1]["utc"], "2026-03-30T00:30:00Z");
    let answer = place.json(&["next", "every 90s", "--after", "1970-01-01T00:00:00Z", "-n", "1", "--json"]);
    assert_eq!(answer["times"][0]["us"], 90_000_000);
    assert!(place.run(&["next", "0 9 * * 1", "--unix"]).status.success());
    assert!(text(&place.run(&["next", "0 0 9 30 2 ?"]).stdout).contains("no instant"));
    assert!(text(&place.run(&["--help"]).stdout).contains("Exit codes"));
}

#[test]
fn next_looks_through_a_calendar() {
    let place = Place::new(GOOD);
    place.write(
        "days.ics",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR\n",
    );
    let ask = [
        "next",
        "0 0 9 25 12 ? 2026",
        "-n",
        "1",
        "--json",
        "--after",
        "2026-12-01",
        "--calendar",
        "days.ics",
    ];
    let answer = place.json(&ask);
    let fates = |answer: &serde_json::Value| {
        let times = answer["times"].as_array().unwrap().iter();
        times.map(|time| format!("{} {}", time["local"], time["fate"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(fates(&answer), ["2026-12-25 09:00:00 excluded"]);
    let moved = place.json(&[&ask[..], &["--when-excluded", "after"]].concat());
    assert_eq!(fates(&moved), ["2026-12-25 09:00:00 excluded", "2026-12-26 09:00:00 moved"]);
    refused(&place.run(&["next", "@daily", "--calendar", "no.ics"]), 3, &["no.ics", "cannot be read"]);
}

#[test]
fn next_takes_a_trigger_out_of_a_file() {
    let place = Place::new(
        "[job.a]\nshell = \"true\"\ndaily = { every = \"4h\", from = \"09:00\", to = \"17:00\" }\nzone = \
         \"Europe/Berlin\"\n",
    );
    let answer =
        place.json(&["next", "--file", "jobs.toml", "a", "-n", "1", "--json", "--after", "2026-07-01"]);
    assert_eq!(answer["times"][0]["utc"], "2026-07-01T07:00:00Z");
    refused(
        &place.run(&["next", "--file", "jobs.toml", "aa"]),
        5,
        &["no trigger aa", "its triggers are default/a"],
    );
}
