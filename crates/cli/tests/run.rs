//! `punctual run` with real processes on a real file: what fires is what the schedule demands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use self::support::{Place, text};

fn settled(job: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "settled" && event["work"]["job"] == job
}

#[test]
fn each_second_fires_once_and_its_command_knows_which() {
    let place = Place::new(
        "revision = 1\n[job.tick]\nshell = 'echo $PUNCTUAL_SCHEDULED_US $PUNCTUAL_ATTEMPT $PUNCTUAL_NODE $PUNCTUAL_JOB'\n\
         cron = \"* * * * * ?\"\n",
    );
    let mut node = place.node(&["--name", "one", "--journal", "journal.jsonl"]);
    for _ in 0..4 {
        node.until(settled("default/tick"));
    }
    assert!(node.shut_down().success());

    let history = place.json(&["history", "--json"]);
    let mut seconds: Vec<i64> = Vec::new();
    for record in history.as_array().unwrap() {
        let scheduled = record["scheduled"].as_i64().unwrap();
        assert_eq!(record["outcome"], "succeeded", "{record}");
        let output = record["output"].as_str().unwrap();
        assert_eq!(output, format!("{scheduled} 1 one default/tick\n"));
        seconds.push(scheduled);
    }
    seconds.reverse();
    assert!(seconds.len() >= 4);
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000), "{seconds:?}");

    let mut began = BTreeMap::new();
    for line in place.read("journal.jsonl").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["event"] == "began" {
            *began.entry(event["work"]["scheduled"].as_i64().unwrap()).or_insert(0) += 1;
        }
    }
    assert!(seconds.iter().all(|second| began.get(second) == Some(&1)), "{began:?}");
    let nodes = place.json(&["nodes", "--json"]);
    assert_eq!((&nodes[0]["info"]["name"], &nodes[0]["state"]), (&"one".into(), &"left".into()));
}

#[test]
fn failures_say_why_and_others_run_on() {
    let place = Place::new(
        "revision = 1\n\
         [job.missing]\ncommand = [\"no-such-program\"]\nevery = \"1s\"\n\
         [job.status]\nshell = \"echo first; echo no good >&2; exit 3\"\nevery = \"1s\"\n\
         retry = { attempts = 2, backoff = \"fixed\", delay = \"10ms\" }\n\
         [job.slow]\nshell = \"sleep 100\"\nevery = \"1s\"\noverlap = \"skip\"\ntimeout = \"200ms\"\n\
         [job.web]\nhttp = { url = \"http://127.0.0.1:1/\" }\nevery = \"1s\"\n\
         [job.big]\nshell = \"yes all work and no play | head -c 300000; echo the end\"\nevery = \"1s\"\n\
         [job.fine]\nshell = \"true\"\nevery = \"1s\"\n",
    );
    let mut node = place.node(&[]);
    let mut waiting = vec!["missing", "status", "slow", "web", "big", "fine"];
    node.until(|event| {
        if event["event"] == "settled" && !event["outcome"].is_null() {
            waiting.retain(|job| event["work"]["job"] != format!("default/{job}"));
        }
        waiting.is_empty()
    });
    assert!(node.shut_down().success());
    let last = |job: &str| place.json(&["history", job, "-n", "1", "--json"])[0].clone();
    let error = |job: &str| last(job)["error"].as_str().unwrap_or_default().to_owned();
    assert!(error("missing").contains("\"no-such-program\" in PATH"), "{}", error("missing"));
    assert!(error("status").contains("exit status 3: no good"), "{}", error("status"));
    assert_eq!(last("status")["attempt"], 2);
    assert_eq!(last("status")["output"], "first\n[standard error]\nno good\n");
    assert!(error("web").contains("GET http://127.0.0.1:1/"), "{}", error("web"));
    assert_eq!(last("fine")["outcome"], "succeeded");
    let big = last("big");
    let output = big["output"].as_str().unwrap();
    assert!(output.len() <= 64 << 10 && output.contains("bytes left out") && output.ends_with("the end\n"));
    let slow = place.json(&["history", "slow", "--json"]);
    let slow: Vec<&Value> =
        slow.as_array().unwrap().iter().filter(|record| record["outcome"] == "failed").collect();
    assert_eq!(slow.last().unwrap()["attempts"][0]["outcome"], "timed_out");
}

/// Answers every request with a status that its path names, and with what was asked.
fn web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                request.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
            let answer = format!("{request}{}", text(&body));
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.len()
            );
            stream.get_mut().write_all((head + &answer).as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn requests_carry_the_attempt_and_are_judged_by_their_status() {
    let web = web();
    let place = Place::new(&format!(
        "revision = 1\n[defaults]\nretry = {{ attempts = 1 }}\n\
         [job.good]\nevery = \"1s\"\n\
         http = {{ method = \"post\", url = \"{web}/201\", body = \"hello\", headers = {{ X-Own = \"mine\" }} }}\n\
         [job.bad]\nevery = \"1s\"\nhttp = {{ url = \"{web}/404\" }}\n\
         [job.expected]\nevery = \"1s\"\nhttp = {{ url = \"{web}/404\", expect = [200, 404] }}\n"
    ));
    let mut node = place.node(&[]);
    let mut waiting = vec!["good", "bad", "expected"];
    node.until(|event| {
        if event["event"] == "settled" {
            waiting.retain(|job| event["work"]["job"] != format!("default/{job}"));
        }
        waiting.is_empty()
    });
    assert!(node.shut_down().success());
    let last = |job: &str| place.json(&["history", job, "-n", "1", "--json"])[0].clone();
    let good = last("good");
    let output = good["output"].as_str().unwrap().to_lowercase();
    assert_eq!(good["outcome"], "succeeded", "{good}");
    assert!(output.starts_with("post /201") && output.ends_with("hello"), "{output}");
    for header in
        ["x-own: mine", "x-punctual-attempt: 1", "x-punctual-job: default/good", "x-punctual-fencing-token: "]
    {
        assert!(output.contains(header), "no {header} in {output}");
    }
    assert!(
        output.contains(&format!("x-punctual-execution-id: {}", good["id"].as_str().unwrap())),
        "{output}"
    );
    assert_eq!(last("expected")["outcome"], "succeeded");
    let bad = last("bad");
    assert!(bad["error"].as_str().unwrap().contains("status 404 where 2xx was expected"), "{bad}");
}

#[test]
fn a_changed_file_is_applied_on_sighup_and_a_broken_one_is_not() {
    let place = Place::new("revision = 1\n[job.old]\nshell = \"true\"\nevery = \"1s\"\n");
    let mut node = place.node(&[]);
    node.until(settled("default/old"));
    place.write("jobs.toml", "revision = 2\n[job.old]\nshel = \"true\"\nevery = \"1s\"\n");
    node.signal(Signal::HUP);
    // It fires on while the broken file is refused.
    while !place.read("stderr.log").contains("the definitions in force stay") {
        node.until(settled("default/old"));
    }
    assert!(
        place.read("stderr.log").contains("jobs.toml:3:1: unknown key `shel`"),
        "{}",
        place.read("stderr.log")
    );
    place.write("jobs.toml", "revision = 3\n[job.new]\nshell = \"true\"\nevery = \"1s\"\n");
    node.signal(Signal::HUP);
    node.until(settled("default/new"));
    node.until(settled("default/old"));
    assert!(node.shut_down().success());
    let log = place.read("stderr.log");
    assert!(log.contains("no longer in the file, but firing on: default/old"), "{log}");

    let mut node = place.node(&["--prune"]);
    node.event("joined");
    assert!(node.shut_down().success());
    let listed = place.json(&["list", "--json"]);
    let keys: Vec<&Value> = listed.as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, ["default/new"]);
}

/// A job for each second that its calendar lets through.
fn seconds_but(left_out: &str, revision: u32) -> String {
    format!(
        "revision = {revision}\n[calendar.some]\ncron = \"{left_out} * * * * ?\"\n\
         [job.tick]\nshell = \"true\"\ncron = \"* * * * * ?\"\ncalendar = \"some\"\n"
    )
}

#[test]
fn a_calendar_of_the_file_leaves_seconds_out_and_a_new_one_others() {
    let place = Place::new(&seconds_but("0/2", 1));
    let mut node = place.node(&[]);
    let second = |event: &Value| event["work"]["scheduled"].as_i64().unwrap() / 1_000_000;
    for _ in 0..3 {
        assert_eq!(second(&node.until(settled("default/tick"))) % 2, 1);
    }
    place.write("jobs.toml", seconds_but("1/2", 2));
    node.signal(Signal::HUP);
    // What was claimed under the old calendar still ends.
    for _ in 0..3 {
        node.until(|event| settled("default/tick")(event) && second(event) % 2 == 0);
    }
    assert!(node.shut_down().success());

    // What a calendar leaves out is no instant: nothing is recorded about it, not even that it was skipped.
    let history = place.json(&["history", "--json"]);
    let rows = history.as_array().unwrap();
    assert!(rows.iter().all(|row| row["outcome"] == "succeeded"), "{history}");
    let mut times: Vec<i64> = rows.iter().map(|row| row["scheduled"].as_i64().unwrap() / 1_000_000).collect();
    times.sort_unstable();
    let change = times.iter().position(|second| second % 2 == 0).unwrap();
    assert!(change >= 3 && times.len() >= change + 3, "{times:?}");
    let (odd, even) = times.split_at(change);
    for part in [odd, even] {
        assert!(part.windows(2).all(|pair| pair[1] - pair[0] == 2), "{times:?}");
    }
}

#[test]
fn a_calendar_is_listed_shown_and_looked_through() {
    let place = Place::new(
        "revision = 1\n[calendar.holidays]\nannual = [\"12-25\", \"12-26\"]\n\
         [job.report]\nshell = \"true\"\ncron = \"0 0 9 ? 12 *\"\ncalendar = \"holidays\"\nwhen_excluded = \"after\"\n\
         [job.plain]\nshell = \"true\"\ncron = \"0 0 9 25 12 ? *\"\n\
         [job.left-out]\nshell = \"true\"\ncron = \"0 0 9 25-27 12 ? *\"\ncalendar = \"holidays\"\n",
    );
    let mut node = place.node(&[]);
    node.event("joined");
    assert!(node.shut_down().success());

    let listed = place.json(&["list", "--json"]);
    let listed: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["key"].as_str().unwrap(), row["calendar"].as_str(), row["when_excluded"].as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            ("default/left-out", Some("holidays"), Some("skip")),
            ("default/plain", None, None),
            ("default/report", Some("holidays"), Some("after")),
        ]
    );
    let shown = text(&place.run(&["list"]).stdout);
    assert!(shown.contains("CALENDAR") && shown.matches("holidays").count() == 2, "{shown}");

    let shown = text(&place.run(&["show", "report"]).stdout);
    assert!(shown.contains("holidays; what it leaves out is moved to the day after"), "{shown}");
    let shown = place.json(&["show", "left-out", "--json"]);
    let upcoming: Vec<&str> =
        shown["triggers"][0]["upcoming"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    assert_eq!(upcoming.len(), 5);
    assert!(upcoming.iter().all(|at| at.contains("-12-27T09:00:00")), "{upcoming:?}");

    // The file and the database say the same.
    let fates = |arguments: &[&str]| {
        let all = [&["next"], arguments, &["-n", "1", "--after", "2026-12-24T12:00:00", "--json"]].concat();
        let answer = place.json(&all);
        let times = answer["times"].as_array().unwrap().iter();
        times.map(|time| format!("{} {}", time["local"], time["fate"]).replace('"', "")).collect::<Vec<_>>()
    };
    let of_the_file = fates(&["--file", "jobs.toml", "left-out"]);
    assert_eq!(
        of_the_file,
        ["2026-12-25 09:00:00 excluded", "2026-12-26 09:00:00 excluded", "2026-12-27 09:00:00 fires"]
    );
    assert_eq!(fates(&["0 0 9 25-27 12 ? *", "--stored-calendar", "holidays"]), of_the_file);
    let moved = fates(&["0 0 9 25 12 ? *", "--stored-calendar", "holidays", "--when-excluded", "after"]);
    assert_eq!(moved, ["2026-12-25 09:00:00 excluded", "2026-12-27 09:00:00 moved"]);
    let unknown = place.run(&["next", "@daily", "--stored-calendar", "holiday"]);
    assert_eq!(unknown.status.code(), Some(5));
    assert!(text(&unknown.stderr).contains("did you mean holidays?"), "{}", text(&unknown.stderr));
}

#[test]
fn two_versions_of_a_file_that_restart_in_turn_write_once_each() {
    let version = |revision: u32| {
        format!("revision = {revision}\n[job.a]\nshell = \"echo {revision}\"\ncron = \"0 0 0 1 1 ? 2299\"\n")
    };
    let place = Place::new("");
    for _ in 0..20 {
        for revision in [1, 2] {
            place.write("jobs.toml", version(revision));
            let mut node = place.node(&["--grace", "0s"]);
            node.event("joined");
            assert!(node.shut_down().success());
        }
    }
    let log = place.read("stderr.log");
    assert_eq!(log.matches("definitions created").count(), 2, "{log}");
    assert_eq!(log.matches("is older than revision 2").count(), 19, "{log}");
    assert_eq!(log.matches("in force already").count(), 19, "{log}");
    let shown = place.json(&["show", "a", "--json"]);
    assert_eq!((&shown["rev"], &shown["runs"]), (&2.into(), &"sh -c \"echo 2\"".into()));
}

#[test]
fn the_same_revision_with_other_content_is_refused() {
    let place = Place::new("revision = 1\n[job.a]\nshell = \"true\"\nevery = \"1h\"\n");
    let mut node = place.node(&[]);
    node.event("joined");
    assert!(node.shut_down().success());
    place.write("jobs.toml", "revision = 1\n[job.a]\nshell = \"false\"\nevery = \"1h\"\n");
    let output = place.run(&["run", "jobs.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("raise the revision"), "{}", text(&output.stderr));
}

#[test]
fn what_is_listed_can_be_shown() {
    let place = Place::new(
        "revision = 1\n[job.\"x/tick\"]\nshell = \"echo hello\"\nevery = \"1s\"\ndescription = \"ticks\"\n",
    );
    let mut node = place.node(&["--name", "one"]);
    node.until(settled("x/tick"));
    for (arguments, words) in [
        (&["list"][..], &["KEY", "x/tick", "every 1s", "echo hello"][..]),
        (&["show", "x/tick"], &["ticks", "every 1s", "the set `jobs`", "ok"]),
        (&["history"], &["x/tick", "ok", "one"]),
        (&["nodes"], &["one", "up", "default"]),
    ] {
        let output = place.run(arguments);
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert!(words.iter().all(|word| shown.contains(word)), "{arguments:?}: {shown}");
    }
    let id = place.json(&["history", "-n", "1", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let shown = text(&place.run(&["show", &id]).stdout);
    assert!(shown.contains("hello") && shown.contains("x/tick"), "{shown}");
    assert!(node.shut_down().success());
}
