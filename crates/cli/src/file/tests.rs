use std::time::Duration;

use punctual::{Concurrency, MisfirePolicy, OnNodeLoss, Schedule, WhenBusy};
use punctual_core::Timestamp;
use punctual_core::quartz::Instruction;
use punctual_core::schedule::{Clocks, DailyClocks};

use super::source::Source;
use super::*;

fn read_text(text: &str) -> Result<Schedules, Vec<Trouble>> {
    read(&Source::new(Path::new("a.toml"), text.to_owned()), "a", 17)
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
    refused(&a("every = \"1s\"\ndst = \"quartz\""), "4:7", &["cron expressions, only"]);
    refused(
        &a("every = \"1s\"\nend = 2020-01-01T00:00:00Z\nstart = 2021-01-01T00:00:00Z"),
        "4:7",
        &["before"],
    );
    refused(&a("calendar_interval = { every = 1, unit = \"months\" }"), "3:41", &["`months`", "`month`"]);
    refused(&a("calendar_interval = { every = 1, unit = \"month\" }"), "3:21", &["`start`"]);
    let start = "start = 2026-01-31T09:00:00Z";
    refused(
        &a(&format!("calendar_interval = {{ every = 0, unit = \"day\", {start} }}")),
        "3:21",
        &["interval 0"],
    );
    refused(&a("daily = { every = \"15m\", from = \"9:00\" }"), "3:33", &["\"09:00\""]);
    refused(
        &a("daily = { every = \"15m\", from = \"18:00\", to = \"09:00\" }"),
        "3:9",
        &["before its start"],
    );
    refused(&a("daily = { every = \"1500ms\" }"), "3:9", &["whole seconds"]);
    refused(&a("daily = { every = \"25h\" }"), "3:9", &["a day"]);
    refused(&a("daily = { every = \"1h\", days = [] }"), "3:9", &["no day of the week"]);
    refused(&a("daily = { every = \"1h\", days = [\"monday\"] }"), "3:32", &["`monday`", "`mon`"]);
    refused(&a("daily = { every = \"1h\", count = 3 }"), "3:9", &["`start`"]);
    refused(&a(&format!("daily = {{ every = \"1h\", count = 0 }}\n{start}")), "3:9", &["`count`"]);
    refused(&a("daily = { every = \"1h\" }\ndst = { gap = \"skip\" }"), "4:7", &["\"quartz\""]);
    refused(&a("every = \"1s\"\nmisfire = \"quartz:now\""), "4:11", &["\"fire_now\"", "\"do_nothing\""]);
    refused(&a("every = \"1s\"\nmisfire = { quartz = \"smart\", over = \"1m\" }"), "4:11", &["alone"]);
    refused(&a("every = \"1s\"\nmisfire = { max_age = \"1m\" }"), "4:11", &["`catch_up = 3`"]);
    refused(&a("every = \"1s\"\nmisfire = { catch_up = 3, over = \"2d\" }"), "4:11", &["a day"]);
    refused(&a("every = \"1s\"\nmisfire = \"quartz:smart\""), "4:11", &["start", "another policy"]);
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
fn mistakes_in_calendars_name_them() {
    let a = |calendar: &str| format!("[calendar.c]\n{calendar}\n");
    refused(&a(""), "1:11", &["`c` leaves nothing out", "`weekly`"]);
    refused(&a("weekly = [\"sat\", \"sonntag\"]"), "2:10", &["`sonntag`", "`sun`"]);
    refused(&a("weakly = [\"sat\"]"), "2:1", &["`weakly` in [calendar.c]", "`weekly`"]);
    refused(&a("dates = [\"2026-12-25\"]"), "2:10", &["without quotes"]);
    refused(&a("dates = [2026-12-25T00:00:00Z]"), "2:10", &["2026-12-25"]);
    refused(&a("annual = [\"13-24\"]"), "2:10", &["MM-DD", "like \"12-24\""]);
    refused(&a("monthly = [1, 32]"), "2:11", &["32 is no day"]);
    refused(&a("daily = { from = \"08:00\", to = \"07:00\" }"), "2:9", &["before its start"]);
    refused(&a("cron = \"* * 25 ? * *\""), "2:13", &["25 is not an hour"]);
    refused(&a("ics = \"nowhere.ics\""), "2:7", &["nowhere.ics cannot be read", "folder"]);
    refused(&a("weekly = [\"sat\"]\nuntil = 2030"), "3:9", &["`ics`"]);
    refused(&a("weekly = [\"sat\"]\nbase = \"d\""), "3:8", &["no calendar \"d\"", "did you mean \"c\"?"]);
    refused(&a("weekly = [\"sat\"]\nbase = \"c\""), "3:8", &["below itself"]);
    refused(&a("base = { weekly = [\"sat\"], base = {} }"), "1:11", &["leaves nothing out"]);
    let day = "[calendar.nights]\ndaily = { from = \"00:00\", to = \"06:00\" }\n[calendar.never]\nweekly = \
               [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\n";
    let seen = |rest: &str| format!("{day}[job.a]\nshell = \"true\"\ncron = \"0 0 9 * * ?\"\n{rest}\n");
    refused(&seen("calendar = \"night\""), "8:12", &["\"night\"", "did you mean \"nights\"?"]);
    refused(&seen("when_excluded = \"after\""), "8:17", &["`calendar`"]);
    refused(&seen("calendar = \"nights\"\nwhen_excluded = \"later\""), "9:17", &["`later`", "`after`"]);
    refused(&seen("calendar = \"nights\"\nwhen_excluded = \"after\""), "9:17", &["whole days", "skip"]);
    refused(&seen("calendar = \"never\""), "5:6", &["would never fire", "calendar includes"]);
}

#[test]
fn windows_and_steps_become_schedules() {
    let zone = "zone = \"Europe/Berlin\"\nstart = 2026-01-31T09:00:00\n";
    let next = |text: &str, n| {
        let trigger = job(&format!("{zone}{text}")).set.triggers.remove(0);
        let instants = trigger.spec.schedule.next_n(Timestamp::MIN, n).into_iter();
        (trigger, instants.map(|at| at.to_string()).collect::<Vec<_>>())
    };
    let (_, at) = next("calendar_interval = { every = 1, unit = \"month\" }", 3);
    let days: Vec<&str> = at.iter().map(|at| &at[..16]).collect();
    assert_eq!(days, ["2026-01-31T08:00", "2026-02-28T08:00", "2026-03-31T07:00"]);
    let (_, at) = next("calendar_interval = { every = 1, unit = \"month\", month_end = \"sticks\" }", 3);
    assert!(at[2].starts_with("2026-03-28"), "{at:?}");
    let quartz = "calendar_interval = { every = 1, unit = \"day\" }\ndst = \"quartz\"";
    let Schedule::CalendarInterval(steps) = next(quartz, 1).0.spec.schedule else { panic!() };
    assert!(matches!(steps.clocks(), Clocks::Quartz { .. }));

    let window = "daily = { every = \"4h\", from = \"09:00\", to = \"17:30\", days = [\"mon\"], count = 4 }";
    let (trigger, at) = next(window, 9);
    let hours: Vec<&str> = at.iter().map(|at| &at[5..13]).collect();
    assert_eq!(hours, ["02-02T08", "02-02T12", "02-02T16", "02-09T08"]);
    let Schedule::Daily(daily) = trigger.spec.schedule else { panic!() };
    assert_eq!(daily.clocks(), DailyClocks::Widest);
    let Schedule::Daily(daily) = next("daily = { every = \"4h\" }\ndst = \"quartz\"", 1).0.spec.schedule
    else {
        panic!()
    };
    assert_eq!(daily.clocks(), DailyClocks::Quartz);
}

#[test]
fn misfire_policies_are_all_there() {
    let policy = |text: &str| {
        let text = format!("every = \"1s\"\nstart = 2026-01-01T00:00:00Z\nmisfire = {text}");
        job(&text).set.triggers[0].spec.misfire
    };
    let (hour, over) = (Duration::from_secs(3600), Duration::from_secs(600));
    assert_eq!(policy("\"fire_all\""), MisfirePolicy::FireAll);
    assert_eq!(policy("{ catch_up = 3 }"), MisfirePolicy::CatchUp { limit: 3, max_age: None });
    assert_eq!(
        policy("{ catch_up = 3, max_age = \"1h\", over = \"10m\" }"),
        MisfirePolicy::Spread { limit: 3, max_age: Some(hour), over }
    );
    for text in ["\"quartz:next_existing\"", "{ quartz = \"next_existing\" }"] {
        assert_eq!(policy(text), MisfirePolicy::Quartz { instruction: Instruction::NextExisting });
    }
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
    let windows = include_str!("../../../../docs/examples/windows.toml");
    assert_eq!(read_text(windows).unwrap().set.triggers.len(), 4);
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
