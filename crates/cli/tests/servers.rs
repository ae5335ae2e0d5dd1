//! The commands on real servers: the same answers as on a file, in a place that the URL names, and errors that show no
//! password.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::Value;

use self::support::server::{Ground, Server};
use self::support::{Place, text};

const JOBS: &str = "revision = 3\n\
    [calendar.none]\nweekly = [\"sun\"]\n\
    [job.tick]\nshell = 'echo $PUNCTUAL_SCHEDULED_US'\ncron = \"* * * * * ?\"\noverlap = \"queue\"\n\
    [job.later]\nshell = \"true\"\nat = 2100-01-01T00:00:00Z\ncalendar = \"none\"\n";

#[test]
fn a_node_and_all_that_looks_work_on_postgres() {
    all_commands(Server::Postgres);
}

#[test]
fn a_node_and_all_that_looks_work_on_mysql() {
    all_commands(Server::Mysql);
}

fn all_commands(server: Server) {
    let (ground, place) = (Ground::on(server), Place::new(JOBS));
    let location = ground.location();
    let ask = |arguments: &[&str]| place.json(&[arguments, &["--json", "--db", &location]].concat());

    let early = place.run(&["list", "--db", &location]);
    assert_eq!(early.status.code(), Some(4), "there is nothing to look at yet");
    assert!(text(&early.stderr).contains("hint: run the migrations first"), "{}", text(&early.stderr));
    match server {
        Server::Postgres => assert!(server.names(ground.name()).is_empty(), "looking makes no schema"),
        Server::Mysql => assert!(tables(server, &ground).is_empty(), "looking makes no table"),
    }

    // By the environment, as a URL with a password should be given.
    let mut node = place.node_in(&[("PUNCTUAL_DB", &location)], &["--name", "one", "--profile", "fast"]);
    let settled = |event: &Value| event["event"] == "settled" && event["work"]["job"] == "default/tick";
    node.until(settled);
    node.until(settled);
    let nodes = ask(&["nodes"]);
    assert_eq!((&nodes[0]["info"]["name"], &nodes[0]["state"]), (&"one".into(), &"up".into()));
    assert!(node.shut_down().success());

    let list = ask(&["list"]);
    let keys: Vec<&Value> = list.as_array().unwrap().iter().map(|trigger| &trigger["key"]).collect();
    assert_eq!(keys, ["default/later", "default/tick"]);
    let shown = place.run(&["show", "tick", "--db", &location]);
    assert!(shown.status.success() && text(&shown.stdout).contains("* * * * * ?"), "{}", text(&shown.stdout));
    let history = ask(&["history", "tick"]);
    let records = history.as_array().unwrap();
    assert!(records.len() >= 2);
    for record in records {
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert_eq!(record["output"], format!("{}\n", record["scheduled"]));
    }
    let id = records[0]["id"].as_str().unwrap();
    assert!(place.run(&["show", id, "--db", &location]).status.success());
    assert_eq!(ask(&["nodes"])[0]["state"], "left");

    // A Sunday.
    let next =
        ["next", "0 0 9 * * ?", "-n", "1", "--after", "2026-12-05T12:00:00", "--stored-calendar", "none"];
    let times = ask(&next)["times"].clone();
    let fates: Vec<&Value> = times.as_array().unwrap().iter().map(|time| &time["fate"]).collect();
    assert_eq!(fates, ["excluded", "fires"]);

    // The same server, another cluster.
    let other = Ground::on(server);
    let mut node = place.node(&["--db", &other.location()]);
    node.event("joined");
    assert!(node.shut_down().success());
    let names = place.json(&["nodes", "--json", "--db", &other.location()]);
    assert_eq!(names.as_array().unwrap().len(), 1, "{names}");
}

/// The tables of a database.
fn tables(server: Server, ground: &Ground) -> Vec<String> {
    let name = ground.name();
    server.ask(&format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{name}'"))
}

#[test]
fn servers_that_cannot_be_used_end_with_4_and_no_password_is_shown() {
    let place = Place::new(JOBS);
    let wrong = |server: Server| {
        let url = server.url();
        let (start, place) = url.rsplit_once('@').expect("the URL has a user");
        let (user, _) = start.rsplit_once(':').expect("the URL has a password");
        format!("{user}:hunter2@{place}")
    };
    for (location, words) in [
        (
            "postgres://jobs:hunter2@127.0.0.1:1/app".to_owned(),
            ["postgres://jobs@127.0.0.1:1/app", "refused"],
        ),
        ("mysql://jobs:hunter2@127.0.0.1:1/app".to_owned(), ["mysql://jobs@127.0.0.1:1/app", "refused"]),
        (wrong(Server::Postgres), ["password", "correct the URL"]),
        (wrong(Server::Mysql), ["Access denied", "name and password"]),
        (format!("{}_missing", Server::Postgres.url()), ["does not exist", "create it"]),
        (format!("{}_missing", Server::Mysql.url()), ["does not exist", "create it"]),
    ] {
        for command in [&["list"][..], &["run", "jobs.toml"]] {
            let output = place.command(command).env("PUNCTUAL_DB", &location).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{said}");
            assert!(words.iter().all(|word| said.contains(word)), "{words:?} in: {said}");
            assert!(said.contains("hint: ") && !said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn what_a_url_cannot_say_ends_with_2() {
    let place = Place::new(JOBS);
    for (location, word) in [
        ("postgres://jobs:hunter2@host/app?shema=a", "did you mean `schema`?"),
        ("postgres://jobs:hunter2@host/app?pooler=session", "pooler=transaction"),
        ("mysql://jobs:hunter2@host/app?schema=a", "mysql://USER@HOST/DATABASE"),
        ("oracle://jobs:hunter2@host/app", "no kind of database"),
    ] {
        let output = place.run(&["list", "--db", location]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word) && !said.contains("hunter2"), "{said}");
    }
    let output = place.run(&["list", "--db", "jobs.db", "--db-listen", "postgres://jobs:hunter2@host/app"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("leave out --db-listen"), "{}", text(&output.stderr));
}
