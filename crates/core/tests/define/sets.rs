//! Sets: what one file or library defines, applied as a whole.

use std::sync::Arc;

use punctual_core::ErrorKind;
use punctual_core::calendar::Calendar;
use punctual_core::error::Result;
use punctual_core::inspect::{FoundSet, FoundTrigger};
use punctual_core::job::{ExecutionSpec, JobRecord, Payload, RetryPolicy};
use punctual_core::protocol::define::{
    self, Counts, Elsewhere, FoundCalendar, JobDefinition, SetDefinition, SetPlan, TriggerDefinition,
    Unlisted,
};
use punctual_core::store::{Change, Expect, SetRecord};
use punctual_core::trigger::{TriggerRecord, TriggerSpec};
use punctual_core::{JobKey, Timestamp, TriggerKey};

use crate::common::{NOW, entropy, every, secs};
use crate::{
    calendar, job, never, on_the_calendar, other_jobs, other_triggers, stored_calendar, trigger, without,
};

fn job_named(name: &str) -> JobDefinition {
    JobDefinition { key: JobKey::new("g", name).unwrap(), ..job() }
}

/// A trigger of the job `j`.
fn named(name: &str) -> TriggerDefinition {
    TriggerDefinition { key: TriggerKey::new("g", name).unwrap(), ..trigger() }
}

/// Revision 2 of the set `s`.
fn set(jobs: Vec<JobDefinition>, triggers: Vec<TriggerDefinition>) -> SetDefinition {
    SetDefinition { name: "s".into(), revision: 2, by: "me".into(), jobs, triggers, calendars: Vec::new() }
}

/// What a store has.
#[derive(Default)]
struct Stored {
    set: FoundSet,
    elsewhere: Elsewhere,
}

impl Stored {
    /// A store to which `set` was applied; each record has revision 7.
    fn with(set: &SetDefinition) -> Self {
        let mut stored = Self::default();
        let (changes, _) = stored.written(set, Unlisted::Keep);
        for change in changes {
            match change {
                Change::PutJob { job, .. } => stored.set.jobs.push(JobRecord { rev: 7, ..job }),
                Change::PutTrigger { trigger, .. } => {
                    stored.set.triggers.push(TriggerRecord { rev: 7, last: Some(NOW), ..trigger });
                }
                Change::PutSet { set, .. } => stored.set.set = Some(SetRecord { rev: 7, ..set }),
                Change::PutCalendar { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for calendar in &set.calendars {
            stored.give(&calendar.name, Arc::clone(&calendar.calendar));
        }
        stored
    }

    /// Stores a calendar, in revision 3, that those triggers of the set use that name it.
    fn give(&mut self, name: &str, document: Arc<Calendar>) {
        let users = self.set.triggers.iter().filter(|user| user.spec.calendar.as_deref() == Some(name));
        let found = FoundCalendar {
            calendar: Some(stored_calendar(name, document)),
            users: users.cloned().collect(),
        };
        self.elsewhere.calendars.insert(name.into(), found);
    }

    fn apply(&self, wanted: &SetDefinition, unlisted: Unlisted) -> Result<SetPlan> {
        define::apply_set(&self.set, &self.elsewhere, wanted, unlisted, NOW, &entropy())
    }

    fn written(&self, wanted: &SetDefinition, unlisted: Unlisted) -> (Vec<Change>, Counts) {
        match self.apply(wanted, unlisted).unwrap() {
            SetPlan::Write { changes, counts } => (changes, counts),
            other => panic!("{other:?}"),
        }
    }

    /// The changes in short, and what they amount to.
    fn outline(&self, wanted: &SetDefinition, unlisted: Unlisted) -> (Vec<String>, Counts) {
        let (changes, counts) = self.written(wanted, unlisted);
        (changes.iter().map(|change| self.short(change)).collect(), counts)
    }

    fn short(&self, change: &Change) -> String {
        let (expect, what) = match change {
            Change::PutJob { expect, job } => (expect, format!("job {}", job.key)),
            Change::PutTrigger { expect, trigger } => (expect, format!("trigger {}", trigger.key)),
            Change::PutCalendar { expect, calendar } => (expect, format!("calendar {}", calendar.name)),
            Change::PutSet { expect, set } => (expect, format!("set {} {}", set.name, set.revision)),
            Change::DeleteJob { id, rev, .. } => {
                let job = self.set.jobs.iter().find(|job| job.id == *id).unwrap();
                return format!("no job {} at {rev}", job.key);
            }
            Change::DeleteTrigger { id, rev, .. } => {
                let trigger = self.set.triggers.iter().find(|trigger| trigger.id == *id).unwrap();
                return format!("no trigger {} at {rev}", trigger.key);
            }
            other => panic!("{other:?}"),
        };
        match expect {
            Expect::Absent { mark: None } => format!("new {what}"),
            Expect::Absent { mark: Some(_) } => format!("again {what}"),
            Expect::Rev(rev) => format!("{what} at {rev}"),
        }
    }
}

fn triggers(changes: &[Change]) -> Vec<&TriggerRecord> {
    let puts = changes.iter().filter_map(|change| match change {
        Change::PutTrigger { trigger, .. } => Some(trigger),
        _ => None,
    });
    puts.collect()
}

#[test]
fn a_set_is_another_if_any_part_of_it_is() {
    let set = |job: JobDefinition, trigger: TriggerDefinition, calendar| SetDefinition {
        jobs: vec![job],
        triggers: vec![trigger],
        calendars: vec![calendar],
        ..SetDefinition::default()
    };
    let same = || calendar("c", without("12:00", "12:00"));
    let mut hashes = vec![
        set(job(), trigger(), same()).hash(),
        set(job(), trigger(), calendar("d", without("12:00", "12:00"))).hash(),
        set(job(), trigger(), calendar("c", never())).hash(),
    ];
    hashes.extend(other_jobs().into_iter().map(|job| set(job, trigger(), same()).hash()));
    hashes.extend(other_triggers().into_iter().map(|trigger| set(job(), trigger, same()).hash()));
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn a_set_fits_together_or_is_refused_by_name() {
    let whole = SetDefinition {
        calendars: vec![calendar("c", never()), calendar("d", never())],
        ..set(vec![job(), job_named("k")], vec![named("t"), named("u")])
    };
    whole.check().unwrap();
    let refused = |set: SetDefinition, why: &str| {
        let error = set.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(why), "{error}");
        let planned = Stored::default().apply(&set, Unlisted::Keep).unwrap_err();
        assert_eq!(planned.to_string(), error.to_string());
    };
    refused(set(vec![job(), job()], vec![]), "job g/j is defined twice");
    refused(set(vec![job()], vec![named("t"), named("t")]), "trigger g/t is defined twice");
    refused(set(vec![job_named("k")], vec![named("t")]), "trigger g/t names job g/j");
    let calendars = vec![calendar("c", never()), calendar("c", never())];
    refused(SetDefinition { calendars, ..whole.clone() }, "calendar `c` is defined twice");
    refused(SetDefinition { calendars: vec![calendar("", never())], ..whole }, "no name for a calendar");
    let retry = RetryPolicy { jitter_percent: 101, ..RetryPolicy::NEVER };
    let spec = ExecutionSpec { retry, ..ExecutionSpec::default() };
    refused(set(vec![JobDefinition { spec, ..job() }], vec![]), "jitter");
    let (start, end) = (Some(NOW), Some(NOW.minus(secs(1))));
    let spec = TriggerSpec { start, end, ..every(60) };
    refused(set(vec![job()], vec![TriggerDefinition { spec, ..trigger() }]), "before the start");
}

#[test]
fn a_set_is_written_as_a_whole_and_not_again() {
    let wanted = SetDefinition {
        calendars: vec![calendar("c", without("12:00", "12:00"))],
        ..set(vec![job(), job_named("k")], vec![named("t"), named("u")])
    };
    let nothing = Stored::default();
    let (outline, counts) = nothing.outline(&wanted, Unlisted::Keep);
    let all = ["calendar c", "job g/j", "job g/k", "trigger g/t", "trigger g/u", "set s 2"];
    assert_eq!(outline, all.map(|what| format!("new {what}")));
    assert_eq!(counts, Counts { created: 5, ..Counts::default() });

    let stored = Stored::with(&wanted);
    let record = SetRecord {
        name: "s".into(),
        revision: 2,
        hash: wanted.hash(),
        by: "me".into(),
        rev: 7,
        written: NOW,
    };
    assert_eq!(stored.set.set, Some(record));
    assert!(stored.set.jobs.iter().all(|job| job.set.as_deref() == Some("s")));
    let (job, rest) = (&stored.set.jobs[0], &stored.set.triggers);
    assert!(rest.iter().all(|t| t.set.as_deref() == Some("s") && t.job_id == job.id));
    for unlisted in [Unlisted::Keep, Unlisted::Prune] {
        assert_eq!(stored.apply(&wanted, unlisted).unwrap(), SetPlan::Unchanged);
    }
}

#[test]
fn what_differs_is_written_with_the_set() {
    let wanted = set(vec![job(), job_named("k")], vec![named("t"), named("u")]);
    let mut stored = Stored::with(&wanted);
    // Somebody has written to one job and one trigger since, without a set.
    stored.set.jobs[1].priority = 9;
    stored.set.triggers[0].hash = 0;
    let (outline, counts) = stored.outline(&wanted, Unlisted::Keep);
    assert_eq!(outline, ["job g/k at 7", "trigger g/t at 7", "set s 2 at 7"]);
    assert_eq!(counts, Counts { changed: 2, ..Counts::default() });
}

#[test]
fn a_lower_revision_overwrites_nothing_and_the_same_one_has_one_content() {
    let wanted = set(vec![job()], vec![named("t")]);
    let stored = Stored::with(&wanted);
    let older = SetDefinition { revision: 1, by: "you".into(), ..set(vec![job_named("k")], vec![]) };
    let outdated = SetPlan::Outdated { in_force: 2, by: "me".into() };
    assert_eq!(stored.apply(&older, Unlisted::Prune).unwrap(), outdated);

    let other = SetDefinition { revision: 2, ..older };
    let error = stored.apply(&other, Unlisted::Prune).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let why = "set \"s\" revision 2 was written by me with other content than you has";
    assert!(error.message().contains(why), "{error}");

    let newer = SetDefinition { revision: 3, ..other };
    let (outline, counts) = stored.outline(&newer, Unlisted::Prune);
    assert_eq!(outline, ["new job g/k", "no trigger g/t at 7", "no job g/j at 7", "set s 3 at 7"]);
    assert_eq!(counts, Counts { created: 1, deleted: 2, ..Counts::default() });

    let raised = SetDefinition { revision: 3, ..wanted };
    let (outline, counts) = stored.outline(&raised, Unlisted::Keep);
    assert_eq!(outline, ["set s 3 at 7"], "so that revision 2 is outdated");
    assert_eq!(counts, Counts::default());
}

#[test]
fn what_is_no_longer_listed_stays_or_goes_with_what_its_work_inherits() {
    let k = JobDefinition { payload: Payload::json(&"k").unwrap(), ..job_named("k") };
    let of_k = TriggerDefinition { job: k.key.clone(), ..named("of_k") };
    let jobs = vec![job(), k, job_named("l"), job_named("m")];
    let stored = Stored::with(&set(jobs, vec![named("t"), named("u"), of_k]));
    let less = SetDefinition { revision: 3, ..set(vec![job()], vec![named("t")]) };
    let (outline, counts) = stored.outline(&less, Unlisted::Keep);
    assert_eq!(outline, ["set s 3 at 7"]);
    assert_eq!(counts, Counts { unlisted: 5, ..Counts::default() });

    let (changes, counts) = stored.written(&less, Unlisted::Prune);
    let outline: Vec<_> = changes.iter().map(|change| stored.short(change)).collect();
    let gone = ["trigger g/u", "trigger g/of_k", "job g/k", "job g/l", "job g/m"];
    let gone = gone.map(|what| format!("no {what} at 7"));
    assert_eq!(outline, [gone.as_slice(), &["set s 3 at 7".to_owned()]].concat());
    assert_eq!(counts, Counts { deleted: 5, ..Counts::default() });
    let leaves = changes.iter().filter_map(|change| match change {
        Change::DeleteTrigger { leave, .. } => Some(leave.payload.clone()),
        _ => None,
    });
    let inherited = [job().payload, Payload::json(&"k").unwrap()];
    assert_eq!(leaves.collect::<Vec<_>>(), inherited, "each from its own job");
}

#[test]
fn what_is_there_without_a_set_is_taken_and_what_another_set_has_is_not() {
    let wanted = set(vec![job()], vec![named("t")]);
    let Stored { set: FoundSet { mut jobs, mut triggers, .. }, .. } = Stored::with(&wanted);
    let (job, trigger) = (jobs.remove(0), triggers.remove(0));
    let elsewhere = |set: Option<&str>| {
        let job = JobRecord { set: set.map(Into::into), ..job.clone() };
        let trigger = TriggerRecord { set: set.map(Into::into), ..trigger.clone() };
        let mut stored = Stored::default();
        let found = FoundTrigger { trigger: Some(trigger.clone()), mark: None };
        stored.elsewhere.triggers.insert(trigger.key, found);
        stored.elsewhere.jobs.insert(job.key.clone(), job);
        stored
    };
    let (outline, counts) = elsewhere(None).outline(&wanted, Unlisted::Prune);
    assert_eq!(outline, ["job g/j at 7", "trigger g/t at 7", "new set s 2"]);
    assert_eq!(counts, Counts { changed: 2, ..Counts::default() });
    let error = elsewhere(Some("other")).apply(&wanted, Unlisted::Prune).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn what_an_earlier_trigger_of_the_key_has_consumed_is_done_and_nothing_else_is_let_pass() {
    let until = |end: Timestamp| TriggerSpec { end: Some(end), ..every(60) };
    let plan = |spec: TriggerSpec, mark: Option<Timestamp>| {
        let mut stored = Stored::default();
        let found = FoundTrigger { trigger: None, mark };
        stored.elsewhere.triggers.insert(trigger().key, found);
        let wanted = set(vec![job()], vec![TriggerDefinition { spec, ..trigger() }]);
        stored.apply(&wanted, Unlisted::Keep).map(|plan| match plan {
            SetPlan::Write { changes, .. } => triggers(&changes).first().map(|put| put.next_fire),
            other => panic!("{other:?}"),
        })
    };
    let end = NOW.plus(secs(60));
    assert_eq!(plan(until(end), None).unwrap(), Some(Some(end)));
    assert_eq!(plan(until(end), Some(end)).unwrap(), None, "the last instant was its");
    assert_eq!(plan(every(60), Some(end)).unwrap(), Some(Some(end.plus(secs(60)))), "after the mark");
    assert_eq!(plan(until(NOW), None).unwrap_err().kind(), ErrorKind::Invalid);
    for mark in [None, Some(end)] {
        let error = plan(on_the_calendar().spec, mark).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "its calendar is missing, whatever was consumed");
    }
}

#[test]
fn a_calendar_of_the_set_moves_the_triggers_that_name_it() {
    let on = |name: &str| TriggerDefinition { key: named(name).key, ..on_the_calendar() };
    let with = |calendar, triggers| SetDefinition { calendars: vec![calendar], ..set(vec![job()], triggers) };
    let old = with(calendar("c", without("12:00", "12:00")), vec![on("t"), on("u")]);
    let stored = Stored::with(&old);
    let renamed = TriggerDefinition { description: Some("other".into()), ..on("t") };
    let fewer = with(calendar("c", without("08:00", "08:09")), vec![renamed]);
    let wanted = SetDefinition { revision: 3, ..fewer };

    let (changes, counts) = stored.written(&wanted, Unlisted::Keep);
    let outline: Vec<_> = changes.iter().map(|change| stored.short(change)).collect();
    assert_eq!(outline, ["calendar c at 3", "trigger g/t at 7", "trigger g/u at 7", "set s 3 at 7"]);
    assert_eq!(counts, Counts { changed: 2, unlisted: 1, ..Counts::default() });
    for moved in triggers(&changes) {
        assert_eq!((moved.next_fire, moved.generation), (Some(NOW.plus(secs(600))), 2), "{}", moved.key);
    }
    assert_eq!(triggers(&changes)[0].description.as_deref(), Some("other"));

    let (outline, counts) = stored.outline(&wanted, Unlisted::Prune);
    assert_eq!(outline, ["calendar c at 3", "trigger g/t at 7", "no trigger g/u at 7", "set s 3 at 7"]);
    assert_eq!(counts, Counts { changed: 2, deleted: 1, ..Counts::default() });

    // A trigger that is defined as before is moved as well, and no calendar is touched beside it.
    let same = SetDefinition { triggers: vec![on("t"), on("u")], ..wanted };
    let (outline, _) = stored.outline(&same, Unlisted::Keep);
    assert_eq!(outline, ["calendar c at 3", "trigger g/t at 7", "trigger g/u at 7", "set s 3 at 7"]);
}

#[test]
fn triggers_that_are_written_come_with_the_calendar_that_they_name_once() {
    let on = |name: &str| TriggerDefinition { key: named(name).key, ..on_the_calendar() };
    let wanted = set(vec![job()], vec![on("t"), named("free"), on("u")]);
    let mut stored = Stored::default();
    stored.give("c", without("08:00", "08:09"));
    let (changes, counts) = stored.written(&wanted, Unlisted::Keep);
    let outline: Vec<_> = changes.iter().map(|change| stored.short(change)).collect();
    let new = ["new trigger g/t", "new trigger g/free", "new trigger g/u", "new set s 2"];
    assert_eq!(outline, [["new job g/j", "calendar c at 3"].as_slice(), &new].concat());
    assert_eq!(counts, Counts { created: 4, ..Counts::default() });
    let next: Vec<_> = triggers(&changes).iter().map(|put| put.next_fire.unwrap()).collect();
    assert_eq!(next, [600, 60, 600].map(|n| NOW.plus(secs(n))));

    let brings = SetDefinition { calendars: vec![calendar("c", without("08:00", "08:04"))], ..wanted };
    let (changes, _) = stored.written(&brings, Unlisted::Keep);
    let outline: Vec<_> = changes.iter().map(|change| stored.short(change)).collect();
    assert_eq!(outline, [["calendar c at 3", "new job g/j"].as_slice(), &new].concat());
    let next: Vec<_> = triggers(&changes).iter().map(|put| put.next_fire.unwrap()).collect();
    assert_eq!(next, [300, 60, 300].map(|n| NOW.plus(secs(n))), "the one that the set brings counts");
}
