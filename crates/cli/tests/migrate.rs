//! `punctual migrate` as operators use it: several at once, looking, damage and its repair, and an exit code for each end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::thread;

use serde_json::Value;

use self::support::server::{Ground, Server};
use self::support::{Place, text};

/// A database, and the command on it.
struct Operator {
    place: Place,
    location: String,
}

impl Operator {
    /// Exit code and standard output of a command, and its standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.place.run(&[&["migrate", "--db", &self.location], arguments].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// The standard output of a command that must end so.
    fn says(&self, code: i32, arguments: &[&str]) -> String {
        let (found, out, err) = self.run(arguments);
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        out
    }

    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let out = self.says(code, &[arguments, &["--json"]].concat());
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }
}

/// How many migrations this binary knows, which is the number of the newest.
fn newest() -> usize {
    punctual::SqliteMigrations::known().unwrap().len()
}

/// From nothing to the newest version, by several at once.
fn makes_the_schema(operator: &Operator) {
    let newest = newest();
    assert!(operator.says(2, &["status"]).contains(&format!("{newest} of {newest} migrations are pending")));
    let plan = operator.says(2, &["plan"]);
    assert!(plan.contains("1 init") && plan.contains("2 queues") && plan.contains("CREATE TABLE"), "{plan}");
    operator.says(0, &["apply", "--dry-run"]);
    assert_eq!(operator.json(2, &["status"])["version"], 0, "a dry run changes nothing");

    let applied: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|_| scope.spawn(|| operator.says(0, &["apply"]))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |words: &str| applied.iter().filter(|out| out.contains(words)).count();
    let all = (1..=newest).map(|version| version.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(count(&format!("Applied {all}; the schema is at version {newest}.")), 1, "{applied:?}");
    assert_eq!(count(&format!("Nothing to do: the schema is at version {newest}.")), 3, "{applied:?}");

    let status = operator.json(0, &["status"]);
    assert_eq!((&status["version"], &status["standing"]), (&newest.into(), &"current".into()));
    assert_eq!(status["history"].as_array().unwrap().len(), newest);
    assert!(operator.says(0, &["validate"]).contains("as they should be"));
    assert!(operator.says(0, &["repair"]).contains("nothing to mend"));
    let (code, _, err) = operator.run(&["baseline"]);
    assert!(code == 1 && err.contains("there is a history already"), "{err}");
    let script = operator.says(0, &["export", "--from", "1"]);
    assert!(script.starts_with("-- Punctual") && script.contains("lock_guard"), "{script}");
}

#[test]
fn a_file_is_migrated_by_hand() {
    let place = Place::new("");
    let location = place.path("jobs.db").display().to_string();
    let operator = Operator { place, location };
    // Looking makes no file, so a path that was mistyped is told from one that is empty.
    for look in [&["status"][..], &["plan"], &["validate"], &["repair"]] {
        let (code, _, err) = operator.run(look);
        assert!(code == 1 && err.contains("there is no such file"), "{look:?}: {err}");
    }
    assert!(!operator.place.path("jobs.db").exists());
    operator.says(0, &["apply", "--dry-run"]);
    makes_the_schema(&operator);
}

#[test]
fn a_lock_that_is_kept_has_an_exit_code_of_its_own() {
    let place = Place::new("");
    let file = place.path("jobs.db");
    let operator = Operator { place, location: file.display().to_string() };
    operator.says(0, &["apply"]);
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute("INSERT INTO migration VALUES (-1, 'stray', 0, 2, 0, 0, '0.1.0', 1, 1)", []).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for command in [&["repair", "--yes"][..], &["baseline"]] {
        let (code, out, err) = operator.run(&[command, &["--lock-timeout", "100ms"]].concat());
        assert!(code == 6 && out.contains("locked by"), "{command:?}: {code}: {out}{err}");
    }
    other.execute_batch("ROLLBACK; DELETE FROM migration WHERE version <> 1; BEGIN IMMEDIATE").unwrap();
    assert!(
        operator.json(6, &["apply", "--lock-timeout", "100ms"])["error"]
            .as_str()
            .unwrap()
            .contains("locked by")
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(operator.json(2, &["status"])["pending"].as_array().unwrap().len(), newest() - 1);
}

#[test]
fn a_migration_that_was_begun_is_told_from_one_that_is_done() {
    let newest = newest();
    let ground = Ground::on(Server::Mysql);
    let operator = Operator { place: Place::new(""), location: ground.location() };
    operator.says(0, &["apply"]);
    Server::Mysql.ask(&format!(
        "UPDATE {}.punctual_migration SET state = 1, finished_us = NULL WHERE version = {newest}",
        ground.name()
    ));
    let out = operator.says(2, &["status"]);
    assert!(
        out.contains(&format!("Migration {newest} ("))
            && out.contains("was begun and has not ended")
            && out.contains(&format!("1 of {newest} migrations are to be done")),
        "{out}"
    );
    assert_eq!(operator.json(2, &["status"])["version"], newest - 1, "what was begun is not done");
}

#[test]
fn a_postgres_schema_is_migrated_and_mended_by_hand() {
    on(Server::Postgres);
}

#[test]
fn a_mysql_database_is_migrated_and_mended_by_hand() {
    on(Server::Mysql);
}

fn on(server: Server) {
    let newest = newest();
    let ground = Ground::on(server);
    let operator = Operator { place: Place::new(""), location: ground.location() };
    makes_the_schema(&operator);

    let (table, key, index) = match server {
        Server::Postgres => (
            format!("{}.migration", ground.name()),
            "CONSTRAINT migration_pkey",
            format!("{}.job_set", ground.name()),
        ),
        Server::Mysql => {
            let job = format!("job_set ON {}.punctual_job", ground.name());
            (format!("{}.punctual_migration", ground.name()), "PRIMARY KEY", job)
        }
    };
    server.ask(&format!("ALTER TABLE {table} DROP {key}"));
    server.ask(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE version = 1"));
    for look in [&["status"][..], &["validate"], &["repair"]] {
        let out = operator.says(5, look);
        assert!(out.contains("migration 1 has 2 rows in the history"), "{look:?}: {out}");
    }
    let (code, _, err) = operator.run(&["apply"]);
    assert!(code == 5, "{err}");
    assert_eq!(
        server.ask(&format!("SELECT name FROM {table}")).len(),
        newest + 1,
        "nothing is mended unasked"
    );
    assert!(operator.says(0, &["repair", "--yes"]).contains("delete 1 of the rows of migration 1"));
    assert_eq!(operator.json(0, &["status"])["version"], newest);

    server.ask(&format!("DROP INDEX {index}"));
    let out = operator.says(5, &["validate"]);
    assert!(out.lines().any(|line| line.starts_with("- index") && line.contains("job_set")), "{out}");

    let newer = newest + 1;
    let later = |writer: usize| {
        format!("INSERT INTO {table} VALUES ({newer}, 'later', 1, 2, 0, 0, '9.0.0', 1, {writer})")
    };
    server.ask(&later(1));
    assert!(operator.says(3, &["status"]).contains("may work with it"));
    operator.says(0, &["apply"]);
    server.ask(&format!("DELETE FROM {table} WHERE version = {newer}"));
    server.ask(&later(newer));
    assert!(operator.says(4, &["status"]).contains("written by Punctual 9.0.0"));
    operator.says(4, &["apply"]);
}
