//! Stored calendars: what their changes compare, what they do to triggers, and what triggers bring along of them.

use std::sync::Arc;

use punctual_core::calendar::{Calendar, WhenExcluded};
use punctual_core::inspect::FoundTrigger;
use punctual_core::job::{Concurrency, JobRecord, WhenBusy};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::define::{
    self, CalendarDefinition, Elsewhere, FoundCalendar, SetDefinition, SetPlan, TriggerDefinition, Unlisted,
};
use punctual_core::quartz::{CatchUp, Progress};
use punctual_core::schedule::{Every, Weekdays};
use punctual_core::store::{Applied, CalendarRecord, Change, ClaimOutcome, Expect};
use punctual_core::trigger::{TriggerRecord, TriggerState};
use punctual_core::{Timestamp, Zone};

use crate::bench::{
    Bench, MINUTE, TheSlot, create_trigger, delete_trigger, ms, readable, replace_trigger, secs, trigger_key,
};
use crate::case::cases;

const ABSENT: Expect = Expect::Absent { mark: None };

/// Leaves out nothing that matters here.
fn open(bench: &Bench) -> Calendar {
    let long_ago = Timestamp::EPOCH.to_chrono().date_naive();
    assert!(bench.t0 > Timestamp::from_secs(86_400));
    Calendar::holiday([long_ago], Zone::utc()).expect("a calendar")
}

/// Leaves out the day of the case and the one after it.
fn closed(bench: &Bench) -> Calendar {
    let today = bench.t0.to_chrono().date_naive();
    Calendar::holiday([today, today.succ_opt().expect("a day")], Zone::utc()).expect("a calendar")
}

fn record(bench: &Bench, name: &str, calendar: Calendar) -> CalendarRecord {
    CalendarRecord { name: name.into(), calendar: Arc::new(calendar), rev: 77, updated: bench.t0 }
}

fn put(expect: Expect, calendar: CalendarRecord) -> Change {
    Change::PutCalendar { expect, calendar }
}

fn delete(name: &str, rev: i64) -> Change {
    Change::DeleteCalendar { name: name.into(), rev }
}

async fn found(bench: &Bench, name: &str) -> Option<CalendarRecord> {
    bench.store.inspect().calendar(name).await.expect("a read")
}

/// Stores a calendar.
async fn stored(bench: &Bench, name: &str, calendar: Calendar) -> CalendarRecord {
    bench.write([put(ABSENT, record(bench, name, calendar))]).await;
    found(bench, name).await.expect("it is there")
}

/// Stores a trigger that is due and names a calendar.
async fn user(bench: &Bench, name: &str, job: &JobRecord, calendar: &str) -> TriggerRecord {
    bench.trigger_with(name, job, |trigger| trigger.spec.calendar = Some(calendar.into())).await
}

/// Plans another content of a calendar, as a command does.
async fn change(bench: &Bench, name: &str, calendar: Calendar) -> Vec<Change> {
    let wanted = CalendarDefinition { name: name.into(), calendar: Arc::new(calendar) };
    let stored = found(bench, name).await;
    let users = bench.store.inspect().triggers_using(name).await.expect("a read");
    define::put_calendar(stored.as_ref(), &wanted, &users, bench.now().await).expect("it fits")
}

cases! {
    A "calendars";

    /// A calendar is stored as it was given, with `rev` 1.
    async fn keeps_a_calendar_as_given(bench) {
        let given = Calendar::weekly(Weekdays::WEEKEND, Zone::utc()).with_base(closed(&bench)).expect("a chain");
        let calendar = stored(&bench, "Feiertage / Ä", given.clone()).await;
        assert_eq!((&*calendar.name, &*calendar.calendar, calendar.rev), ("Feiertage / Ä", &given, 1));
    }

    /// A calendar says when it was written, on the store's clock.
    [Clock]
    async fn stamps_a_calendar_with_the_stores_time(bench) {
        bench.advance(secs(5));
        let calendar = stored(&bench, "c", open(&bench)).await;
        assert_eq!(calendar.updated, bench.now().await);
    }

    /// A change of a calendar compares its revision, and a creation that there is none.
    async fn refuses_a_stale_calendar(bench) {
        let other = || record(&bench, "c", closed(&bench));
        assert_eq!(bench.apply([put(Expect::Rev(1), other())]).await, Applied::Lost { at: 0 });
        let calendar = stored(&bench, "c", open(&bench)).await;
        assert_eq!(bench.apply([put(ABSENT, other())]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.apply([put(Expect::Rev(2), other())]).await, Applied::Lost { at: 0 });
        assert_eq!(found(&bench, "c").await, Some(calendar));
        bench.write([put(Expect::Rev(1), other())]).await;
        let calendar = found(&bench, "c").await.expect("it is there");
        assert_eq!((calendar.rev, &*calendar.calendar), (2, &closed(&bench)));
    }

    /// A trigger that names a calendar which is not there is lost.
    async fn refuses_a_trigger_without_its_calendar(bench) {
        let job = bench.job("j").await;
        let mut trigger = bench.new_trigger("t", &job);
        trigger.spec.calendar = Some("c".into());
        assert_eq!(bench.apply([create_trigger(trigger.clone())]).await, Applied::Lost { at: 0 });
        let mut plain = bench.trigger("plain", &job).await;
        plain.spec.calendar = Some("c".into());
        assert_eq!(bench.apply([replace_trigger(plain)]).await, Applied::Lost { at: 0 });
        bench.write([put(ABSENT, record(&bench, "c", open(&bench))), create_trigger(trigger)]).await;
        let mut other = bench.new_trigger("u", &job);
        other.spec.calendar = Some("d".into());
        assert_eq!(bench.apply([create_trigger(other)]).await, Applied::Lost { at: 0 }, "another one is there");
    }

    /// A calendar that a trigger names is not deleted, whatever the trigger's state.
    async fn refuses_to_delete_a_calendar_in_use(bench) {
        let job = bench.job("j").await;
        stored(&bench, "c", open(&bench)).await;
        let trigger = user(&bench, "t", &job, "c").await;
        assert_eq!(bench.apply([delete("c", 1)]).await, Applied::Lost { at: 0 });
        bench.write([replace_trigger(TriggerRecord { state: TriggerState::Error, ..trigger.clone() })]).await;
        assert_eq!(bench.apply([delete("c", 1)]).await, Applied::Lost { at: 0 });
        let trigger = bench.reread(&trigger).await;
        bench.write([delete_trigger(&trigger, &job), delete("c", 1)]).await;
        assert_eq!(found(&bench, "c").await, None);
    }

    /// A calendar that no trigger names any more can be deleted.
    async fn deletes_a_calendar_that_nobody_names_any_more(bench) {
        let job = bench.job("j").await;
        stored(&bench, "c", open(&bench)).await;
        let mut trigger = user(&bench, "t", &job, "c").await;
        trigger.spec.calendar = None;
        bench.write([replace_trigger(trigger)]).await;
        bench.write([delete("c", 1)]).await;
        assert_eq!(found(&bench, "c").await, None);
    }

    /// A deletion of a calendar compares its revision.
    async fn refuses_a_stale_deletion(bench) {
        assert_eq!(bench.apply([delete("c", 1)]).await, Applied::Lost { at: 0 });
        stored(&bench, "c", open(&bench)).await;
        assert_eq!(bench.apply([delete("c", 2)]).await, Applied::Lost { at: 0 });
        assert!(found(&bench, "c").await.is_some());
    }

    /// A batch that loses leaves calendars as they were.
    async fn a_lost_batch_leaves_calendars_alone(bench) {
        let calendar = stored(&bench, "c", open(&bench)).await;
        let changed = put(Expect::Rev(1), record(&bench, "c", closed(&bench)));
        let new = put(ABSENT, record(&bench, "new", open(&bench)));
        let lost = bench.apply([changed, new, delete("missing", 1)]).await;
        assert_eq!(lost, Applied::Lost { at: 2 });
        let all = bench.store.inspect().calendars().await.expect("a read");
        assert_eq!(all, [calendar]);
    }

    /// Calendars are listed by name, and each is found by its name.
    async fn lists_calendars_by_name(bench) {
        for name in ["b", "a", "ab", "B"] {
            stored(&bench, name, open(&bench)).await;
        }
        let all = bench.store.inspect().calendars().await.expect("a read");
        assert_eq!(all.iter().map(|calendar| &*calendar.name).collect::<Vec<_>>(), ["B", "a", "ab", "b"]);
        assert_eq!(found(&bench, "ab").await.as_ref(), all.get(2));
        assert_eq!(found(&bench, "abc").await, None);
    }

    /// The triggers that name a calendar are listed by key, and no others.
    async fn lists_the_triggers_that_name_a_calendar(bench) {
        let job = bench.job("j").await;
        stored(&bench, "c", open(&bench)).await;
        stored(&bench, "other", open(&bench)).await;
        let second = user(&bench, "b", &job, "c").await;
        let first = user(&bench, "a", &job, "c").await;
        user(&bench, "x", &job, "other").await;
        bench.trigger("plain", &job).await;
        let users = bench.store.inspect().triggers_using("c").await.expect("a read");
        assert_eq!(users, [first, second]);
        assert!(bench.store.inspect().triggers_using("none").await.expect("a read").is_empty());
    }

    /// Each due trigger comes with the calendar that it names, as that is stored now.
    async fn comes_with_its_calendar(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let weekends = Calendar::weekly(Weekdays::WEEKEND, Zone::utc());
        for (name, calendar) in [("c", open(&bench)), ("weekends", weekends.clone())] {
            stored(&bench, name, calendar).await;
            user(&bench, name, &job, name).await;
        }
        bench.trigger("plain", &job).await;
        bench.write([put(Expect::Rev(1), record(&bench, "c", closed(&bench)))]).await;
        let due = bench.due(node).await.triggers.into_iter().map(readable);
        let mut due: Vec<_> = due.map(|due| (due.trigger.key, due.calendar.map(|it| (*it).clone()))).collect();
        due.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [("c", Some(closed(&bench))), ("plain", None), ("weekends", Some(weekends))];
        assert_eq!(due, expected.map(|(name, calendar)| (trigger_key(name), calendar)));
    }

    /// A changed calendar moves the triggers that name it: what it leaves out does not fire, and the next wake time says
    /// when the next one does.
    async fn a_changed_calendar_moves_its_triggers(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        stored(&bench, "c", open(&bench)).await;
        let trigger = user(&bench, "t", &job, "c").await;
        assert_eq!(bench.due(node).await.triggers.len(), 1);
        bench.write(change(&bench, "c", closed(&bench)).await).await;
        let moved = bench.reread(&trigger).await;
        let reopens = closed(&bench).next_included(bench.t0).expect("an end");
        let next = trigger.spec.schedule.first_from(reopens);
        assert_eq!((moved.next_fire, moved.wake, moved.generation), (next, next, trigger.generation + 1));
        let due = bench.due(node).await;
        assert!(due.triggers.is_empty());
        assert_eq!(due.next_wake, next);
    }

    /// A calendar that opens again brings back instants that are still to come, and none that have passed.
    async fn an_opened_calendar_brings_instants_back(bench) {
        let job = bench.job("j").await;
        stored(&bench, "c", closed(&bench)).await;
        let late = closed(&bench).next_included(bench.t0);
        let trigger = bench
            .trigger_with("t", &job, |trigger| {
                trigger.spec.calendar = Some("c".into());
                trigger.last = Some(bench.t0.minus(MINUTE * 9));
                (trigger.next_fire, trigger.wake) = (late, late);
            })
            .await;
        let before = bench.now().await;
        bench.write(change(&bench, "c", open(&bench)).await).await;
        let next = bench.reread(&trigger).await.next_fire.expect("it goes on");
        assert!(before < next && next <= bench.now().await.plus(MINUTE), "{next}");
    }

    /// A change of a calendar and a claim that was planned before it exclude each other: the claim is lost.
    async fn a_claim_planned_under_the_old_calendar_is_lost(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        stored(&bench, "c", open(&bench)).await;
        let trigger = user(&bench, "t", &job, "c").await;
        let plan = bench.plan(node).await;
        bench.write(change(&bench, "c", closed(&bench)).await).await;
        let moved = bench.reread(&trigger).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        assert_eq!(bench.reread(&trigger).await, moved);
        assert!(bench.rows().await.is_empty());
    }

    /// A change of a calendar that was planned before a firing of one of its triggers is lost.
    async fn a_change_planned_before_a_firing_is_lost(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let calendar = stored(&bench, "c", open(&bench)).await;
        user(&bench, "t", &job, "c").await;
        let changes = change(&bench, "c", closed(&bench)).await;
        bench.fire_one(node).await;
        assert_eq!(bench.apply(changes).await, Applied::Lost { at: 1 });
        assert_eq!(found(&bench, "c").await, Some(calendar));
    }

    /// Of a change of a calendar and a trigger that begins to name it, planned at once, the second one is lost.
    async fn a_new_user_and_a_change_exclude_each_other(bench) {
        let job = bench.job("j").await;
        let calendar = stored(&bench, "c", open(&bench)).await;
        let changes = change(&bench, "c", closed(&bench)).await;
        let mut spec = bench.new_trigger("t", &job).spec;
        spec.calendar = Some("c".into());
        let (key, payload, priority) = (trigger_key("t"), None, 0);
        let wanted = TriggerDefinition { key, job: job.key.clone(), description: None, spec, payload, priority };
        let nothing = FoundTrigger::default();
        let now = bench.now().await;
        let new = define::put_trigger(&nothing, &wanted, Some(&calendar), job.id, None, now, &bench.entropy);
        let new = new.expect("it fits");
        bench.write(new.clone()).await;
        assert_eq!(bench.apply(changes).await, Applied::Lost { at: 0 });
        let changes = change(&bench, "c", closed(&bench)).await;
        assert_eq!(changes.len(), 2, "it moves the new trigger");
        bench.write(changes).await;
        assert_eq!(bench.apply(new).await, Applied::Lost { at: 0 });
    }

    /// A set brings its calendars along: they and the triggers that name them are written in one batch.
    async fn a_set_brings_its_calendars_along(bench) {
        let job = bench.job("elsewhere").await;
        let set = |revision, calendar: Calendar| SetDefinition {
            name: "set".into(),
            revision,
            by: "a".into(),
            calendars: vec![CalendarDefinition { name: "c".into(), calendar: Arc::new(calendar) }],
            ..SetDefinition::default()
        };
        let apply = async |wanted: SetDefinition| {
            let inspect = bench.store.inspect();
            let stored = inspect.set("set").await.expect("a read");
            let users = inspect.triggers_using("c").await.expect("a read");
            let mut elsewhere = Elsewhere::default();
            let calendar = found(&bench, "c").await;
            elsewhere.calendars.insert("c".into(), FoundCalendar { calendar, users });
            let now = bench.now().await;
            let plan = define::apply_set(&stored, &elsewhere, &wanted, Unlisted::Keep, now, &bench.entropy);
            match plan.expect("it fits") {
                SetPlan::Write { changes, .. } => bench.write(changes).await,
                other => panic!("{other:?}"),
            }
        };
        apply(set(1, open(&bench))).await;
        let trigger = user(&bench, "t", &job, "c").await;
        apply(set(2, closed(&bench))).await;
        assert_eq!(*found(&bench, "c").await.expect("it is there").calendar, closed(&bench));
        assert!(bench.reread(&trigger).await.next_fire > trigger.next_fire);
    }

    /// A trigger whose calendar cannot do what its definition wants is set aside, with the reason and alone.
    async fn sets_aside_what_its_calendar_cannot_do(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let noon = "12:00:00.000".parse().expect("a time");
        let hours = Calendar::daily(noon, noon, false, Zone::utc()).expect("a calendar");
        stored(&bench, "hours", hours).await;
        let bad = bench
            .trigger_with("bad", &job, |trigger| {
                trigger.spec.calendar = Some("hours".into());
                trigger.spec.when_excluded = WhenExcluded::After;
            })
            .await;
        let good = bench.trigger("good", &job).await;
        assert_eq!(bench.fire(node).await.len(), 1);
        let bad = bench.reread(&bad).await;
        assert!(bad.state == TriggerState::Error && bad.error.is_some_and(|why| why.contains("whole days")));
        assert_eq!(bench.reread(&good).await.fires, 1);
    }

    /// What a trigger has come to is kept as it was given, and set by the patch of a claim.
    async fn keeps_the_progress_of_a_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let progress = Progress {
            start: Some(bench.t0.plus(ms(1))),
            repeat: Some(u32::MAX),
            triggered: 7,
            catch_up: Some(CatchUp { k: 2, n: 5 }),
            wait: Some(bench.t0.plus(secs(1))),
        };
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.progress = progress).await;
        assert_eq!(trigger.progress, progress);
        let due = bench.due(node).await.triggers.remove(0);
        assert_eq!(readable(due).trigger.progress, progress);
        let mut plan = bench.plan(node).await;
        for progress in [Progress { triggered: 8, ..Progress::default() }, Progress::default()] {
            (plan.then.progress, plan.then.wake) = (progress, Some(bench.t0));
            assert_eq!(bench.claim_one(node, plan.clone()).await, ClaimOutcome::Fired(Vec::new()));
            assert_eq!(bench.reread(&trigger).await.progress, progress);
            (plan.rev, plan.fire_seq) = (plan.rev + 1, plan.fire_seq + 1);
        }
    }

    /// A trigger that finds its slot taken keeps what it has come to.
    async fn a_taken_slot_leaves_the_progress_alone(bench) {
        let node = bench.node("a").await;
        let concurrency = Concurrency { key: "k".into(), limit: 1, when_busy: WhenBusy::Queue };
        let job = bench.job_with("j", |job| job.spec.concurrency = Some(concurrency)).await;
        let progress = Progress { catch_up: Some(CatchUp { k: 1, n: 3 }), ..Progress::default() };
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.progress = progress).await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        let plan = bench.plan(node).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Busy);
        assert_eq!(bench.reread(&trigger).await.progress, progress);
    }

    /// An execution keeps its place in a run of late instants over all of its attempts; work that is no firing has none.
    async fn keeps_the_place_in_a_catch_up(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let old = bench.t0.minus(MINUTE * 10);
        let misfire = MisfirePolicy::CatchUp { limit: 3, max_age: None };
        bench
            .trigger_with("t", &job, |trigger| {
                let every = Every::new(MINUTE).expect("a minute is an interval").anchored_at(old);
                trigger.spec.schedule = every.into();
                trigger.spec.misfire = misfire;
                trigger.spec.tolerance = ms(1);
                (trigger.next_fire, trigger.wake) = (Some(old), Some(old));
            })
            .await;
        let row = bench.fire_one(node).await;
        let place = row.catch_up.expect("it catches up");
        assert_eq!(place.k, 1);
        assert!((2..=3).contains(&place.n), "{place:?}");
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        assert_eq!(bench.take_one(node).await.catch_up, Some(place));
        let plain = bench.enqueue(&job).await;
        assert_eq!(bench.row(plain).await.catch_up, None);
        assert_eq!(bench.fire_one(node).await.catch_up.expect("it catches up").k, 2);
    }
}
