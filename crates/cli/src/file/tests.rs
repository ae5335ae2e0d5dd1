use std::time::Duration;

use punctual::{Concurrency, MisfirePolicy, OnNodeLoss, Schedule, WhenBusy};
use punctual_core::Timestamp;

use super::source::Source;
use super::*;

fn read_text(text: &str) -> Result<Schedules, Vec<Trouble>> {
    read(&Source { name: "a.toml".to_owned(), text: text.to_owned() }, "a", 17)
}

fn job(text: &str) -> Schedules {
    match read_text(&format!("[job.a]\nshell = \"true\"\n{text}")) {
        Ok(schedules) => schedules,
        Err(troubles) => panic!("{}", troubles.iter().map(Trouble::text).collect::<String>()),
    }
}

/// The file, the place and the words that an error must have.
fn refused(text: &str, place: &str, words: &[&str]) {
    let troubles = read_text(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
    let shown: String = troubles.iter().map(Trouble::text).collect();
    assert!(shown.contains(&format!("a.toml:{place}: ")), "no {place} in: {shown}");
    for word in words {
        assert!(shown.contains(word), "no {word:?} in: {shown}");
    }
    assert!(shown.contains("hint: "), "no hint in: {shown}");
}

#[test]
fn mistakes_name_line_key_and_remedy() {
    let a = |rest: &str| format!("[job.a]\nshell = \"true\"\n{rest}\n");
    refused("revison = 3\n", "1:1", &["`revison`", "did you mean `revision`?"]);
    refused(&a("tiemout = \"5s\"\nevery = \"1s\""), "3:1", &["`tiemout` in [job.a]", "`timeout`"]);
    refused(&a("cron = \"0 0 25 * * ?\""), "3:13", &["25 is not an hour", "column 5", "0 to 23"]);
    refused(&a("cron = \"0 9 * * 1\""), "3:18", &["`cron`"]);
    refused(&a("cron = \"0 0 9 30 2 ?\""), "1:6", &["default/a would never fire"]);
    refused(&a("every = \"5 parsecs\""), "3:9", &["`every`", "parsecs"]);
    refused(&a("every = \"0s\""), "3:9", &["`every`", "above zero"]);
    refused(&a("every = \"10us\""), "3:9", &["`every`", "1 ms"]);
    refused(&a("every = 5"), "3:9", &["`every`", "in quotes"]);
    refused(&a("every = \"1s\"\nzone = \"Europe/Belrin\""), "4:8", &["`zone`", "Europe/Berlin"]);
    refused(&a(""), "1:6", &["when", "`cron`"]);
    refused(&a("every = \"1s\"\ncron = \"* * * * * ?\""), "1:6", &["more than one", "triggers"]);
    refused(&a("at = \"2030-01-01T00:00:00Z\""), "3:6", &["without quotes"]);
    refused(&a("at = 2030-01-01T00:00:00"), "3:6", &["no offset"]);
    refused(&a("at = 2030-01-01"), "3:6", &["not a date with a time"]);
    refused(&a("at = 2026-03-29T02:30:00\nzone = \"Europe/Berlin\""), "3:6", &["does not exist"]);
    refused(&a("at = 2026-10-25T02:30:00\nzone = \"Europe/Berlin\""), "3:6", &["comes twice"]);
    refused(&a("every = \"1s\"\nmisfire = { catch_up = 0 }"), "4:11", &["`misfire`", "1 and 100"]);
    refused(&a("every = \"1s\"\nmisfire = { catch_up = 3, max_aeg = \"1h\" }"), "4:27", &["`max_age`"]);
    refused(&a("every = \"1s\"\noverlap = \"never\""), "4:11", &["`never`", "`queue`"]);
    refused(
        &a("every = \"1s\"\noverlap = \"allow\"\nlimit = { key = \"k\", max = 1 }"),
        "4:11",
        &["contradicts"],
    );
    refused(&a("every = \"1s\"\nlimit = { key = \"k\", max = 0 }"), "4:9", &["`limit`"]);
    refused(&a("every = \"1s\"\nretry = { attempts = 0 }"), "4:9", &["`retry`", "1 or more"]);
    refused(&a("every = \"1s\"\nretry = { attempts = 2, jitter = 200 }"), "4:9", &["`retry`", "percent"]);
    refused(&a("every = \"1s\"\non_node_loss = \"retry\""), "4:16", &["`on_node_loss`", "\"rerun\""]);
    refused(&a("every = \"1s\"\ndst = \"quartz\""), "4:7", &["cron expressions only"]);
    refused(
        &a("every = \"1s\"\nend = 2020-01-01T00:00:00Z\nstart = 2021-01-01T00:00:00Z"),
        "4:7",
        &["before"],
    );
    refused(&a("triggers = []"), "3:12", &["`triggers` is empty"]);
    refused(&a("every = \"1s\"\ntriggers = [{ every = \"1s\" }]"), "3:9", &["move this into the list"]);
    refused("[job.a]\nevery = \"1s\"\n", "1:6", &["`a`", "what to run", "`command`"]);
    refused("[job.a]\nevery = \"1s\"\ncommand = []\n", "3:11", &["names no program"]);
    refused("[job.a]\nevery = \"1s\"\nshell = \" \"\n", "3:9", &["`shell` is empty"]);
    refused("[job.a]\nevery = \"1s\"\nhttp = { url = \"nope\" }\n", "3:16", &["`url`", "https://"]);
    refused("[job.a]\nevery = \"1s\"\nhttp = { url = \"http://x/\", expect = 99 }\n", "3:38", &["99"]);
    refused("[job.a]\nevery = \"1s\"\nhttp = { url = \"http://x/\" }\nstdin = \"x\"\n", "4:9", &["`stdin`"]);
    refused(
        "[job.a]\nevery = \"1s\"\nhttp = { url = \"http://x/\", method = \"G T\" }\n",
        "3:38",
        &["`method`"],
    );
    refused(&a("every = \"1s\"\nenv = { PUNCTUAL_X = \"1\" }"), "4:9", &["PUNCTUAL_X", "rename"]);
    refused("[job.\"a/\"]\nshell = \"x\"\nevery = \"1s\"\n", "1:6", &["[job.backup]"]);
    refused("[job.a]\nshell = \"x\n", "2:11", &["`shell`"]);
    refused("[node]\nprofile = \"quick\"\n", "2:11", &["`profile`", "\"fast\""]);
    refused("[node]\ncapacity = 0\n", "2:12", &["`capacity`"]);
    refused("revision = -1\n", "1:12", &["`revision`", "negative"]);
    refused("set = \"\"\n", "1:7", &["`set`"]);
}

#[test]
fn all_jobs_with_a_mistake_are_reported_at_once() {
    let troubles = read_text(
        "[job.a]\nshell = \"x\"\n[job.b]\nevery = \"1s\"\n[job.c]\nshell = \"x\"\nevery = \"1s\"\n",
    );
    assert_eq!(troubles.unwrap_err().len(), 2);
    let twice =
        "[job.a]\nshell = \"x\"\nevery = \"1s\"\n[job.\"default/a\"]\nshell = \"x\"\nevery = \"1s\"\n";
    refused(twice, "4:6", &["defined twice"]);
}

#[test]
fn what_is_left_out_is_taken_from_the_file_and_its_defaults() {
    let file = read_text(
        "[defaults]\nzone = \"Asia/Tokyo\"\ntimeout = \"5s\"\noverlap = \"queue\"\nmisfire = \"skip\"\n\
                          [job.\"x/y\"]\nshell = \"true\"\ncron = \"0 0 9 * * ?\"\n[job.z]\nshell = \"true\"\n\
                          cron = \"0 0 9 * * ?\"\nzone = \"UTC\"\noverlap = \"allow\"\ntimeout = \"1m\"\n",
    );
    let Schedules { set, revision_given, .. } = file.unwrap();
    assert_eq!((&*set.name, set.revision, revision_given), ("a", 17, false));
    let spec = &set.jobs[0].spec;
    assert_eq!(set.jobs[0].key.to_string(), "x/y");
    assert_eq!(spec.timeout, Some(Duration::from_secs(5)));
    assert_eq!(spec.concurrency, Some(Concurrency::exclusive(&set.jobs[0].key, WhenBusy::Queue)));
    let zones: Vec<_> =
        set.triggers.iter().map(|trigger| trigger.spec.schedule.zone().unwrap().name()).collect();
    assert_eq!(zones, ["Asia/Tokyo", "UTC"]);
    assert_eq!(set.triggers[0].spec.misfire, MisfirePolicy::Skip);
    assert_eq!(set.jobs[1].spec.concurrency, None);
    assert_eq!(set.jobs[1].spec.timeout, Some(Duration::from_secs(60)));
    set.check().unwrap();
}

#[test]
fn triggers_have_names_of_their_own() {
    let set = job("triggers = [{ every = \"1s\" }, { name = \"eve\", cron = \"0 0 18 * * ?\" }]").set;
    let keys: Vec<_> = set.triggers.iter().map(|trigger| trigger.key.to_string()).collect();
    assert_eq!(keys, ["default/a#1", "default/a:eve"]);
    assert!(set.triggers.iter().all(|trigger| trigger.job == set.jobs[0].key));
}

#[test]
fn work_that_must_not_run_twice_is_bound_to_the_lease() {
    let bound = |text: &str| {
        let spec = job(text).set.jobs[0].spec.clone();
        (spec.stops_on_lease_loss(), spec.on_node_loss)
    };
    assert_eq!(bound("every = \"1s\""), (false, OnNodeLoss::Rerun));
    assert_eq!(bound("every = \"1s\"\noverlap = \"skip\""), (true, OnNodeLoss::Rerun));
    assert_eq!(bound("every = \"1s\"\non_node_loss = \"lose\""), (true, OnNodeLoss::Lose));
}

#[test]
fn instants_have_an_offset_or_a_zone() {
    for (text, micros) in [
        ("at = 1970-01-01T01:00:00+01:00", 0),
        ("at = 1970-01-01T00:00:01.5Z", 1_500_000),
        ("at = 1970-01-01T00:00:00\nzone = \"Etc/GMT-1\"", -3_600_000_000),
        ("at = 1972-06-30T23:59:60Z", 78_796_800_000_000),
    ] {
        let Schedule::Once(once) = &job(text).set.triggers[0].spec.schedule else { panic!("{text}") };
        assert_eq!(once.at(), Timestamp::from_micros(micros), "{text}");
    }
}

#[test]
fn the_same_file_makes_the_same_definitions() {
    let text = include_str!("../../../../docs/examples/cron.toml");
    let (one, other) = (read_text(text).unwrap(), read_text(text).unwrap());
    assert_eq!(one.set.hash(), other.set.hash());
    assert!(one.revision_given);
    let once = include_str!("../../../../docs/examples/once.toml");
    assert_eq!(&*read_text(once).unwrap().set.name, "maintenance");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let text = include_str!("../../../../docs/examples/cron.toml");
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        let _ = read_text(&text[..at]);
        let _ = read_text(&format!("{}\u{fc}{}", &text[..at], &text[at..]));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("no.toml")).unwrap_err();
    assert!(missing[0].text().contains("no.toml: cannot be read"));
    let path = folder.path().join("bytes.toml");
    std::fs::write(&path, b"# one\n\xff\n").unwrap();
    assert!(load(&path).unwrap_err()[0].text().contains("bytes.toml:2: the file is not UTF-8"));
    assert!(load(folder.path()).is_err());
}
