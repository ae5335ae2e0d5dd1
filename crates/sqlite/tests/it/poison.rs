//! Rows that somebody damaged by hand: each is set aside alone.

use std::sync::Arc;

use punctual_core::calendar::Calendar;
use punctual_core::check::{Mended, Rule};
use punctual_core::execution::ExecutionState;
use punctual_core::inspect::{ExecutionFilter, HistoryFilter, Page};
use punctual_core::protocol::finish;
use punctual_core::schedule::Weekdays;
use punctual_core::store::{
    Applied, CalendarRecord, Change, ClaimOutcome, Expect, Poison, PoisonRow, Readable, SettleOutcome,
};
use punctual_core::trigger::TriggerState;
use punctual_core::{ErrorKind, ExecutionId, Inspect, JobStore, Timestamp, Zone};
use punctual_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::*;

struct Fixture {
    folder: TempDir,
    store: SqliteStore,
    now: Timestamp,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("jobs.db")).await;
        let now = store.now().await.unwrap();
        store.join(node(1)).await.unwrap();
        Self { folder, store, now }
    }

    /// Damages the file behind the store's back.
    fn damage(&self, sql: &str) {
        let file = Connection::open(self.folder.path().join("jobs.db")).unwrap();
        assert_eq!(file.execute(sql, []).unwrap(), 1, "{sql}");
    }
}

#[tokio::test]
async fn a_damaged_trigger_is_set_aside_and_the_others_fire() {
    for (damage, column) in [
        ("UPDATE trigger SET spec = '{' WHERE id = 1", "trigger.spec"),
        ("UPDATE trigger SET spec = '{\"schedule\":{\"type\":\"lunar\"}}' WHERE id = 1", "trigger.spec"),
        ("UPDATE trigger SET name = ' x' WHERE id = 1", "trigger.name"),
        ("UPDATE trigger SET priority = 99999999999 WHERE id = 1", "trigger.priority"),
        ("UPDATE trigger SET payload_data = x'00' WHERE id = 1", "trigger.payload"),
        ("UPDATE trigger SET description = CAST(x'ff' AS TEXT) WHERE id = 1", "description is not UTF-8"),
        ("UPDATE trigger SET progress = '{\"unknown\":1}' WHERE id = 1", "trigger.progress"),
    ] {
        let Fixture { store, now, .. } = &{
            let fixture = Fixture::new().await;
            let job = job(1, false);
            put(&fixture.store, &job, &[trigger(1, &job, fixture.now), trigger(2, &job, fixture.now)]).await;
            fixture.damage(damage);
            fixture
        };
        let due = read_due(store, 1, 10).await;
        let Readable::Poison(Poison { reason, .. }) = &due.triggers[0] else { panic!("{damage}: {due:?}") };
        assert!(reason.contains(column), "{damage}: {reason}");
        let claimed = fire(store, 1, 10, 1).await;
        assert!(
            claimed.outcomes.iter().all(|outcome| matches!(outcome, ClaimOutcome::Fired(_))),
            "{claimed:?}"
        );
        let due = read_due(store, 1, 10).await;
        assert!(due.triggers.iter().all(|row| matches!(row, Readable::Row(_))), "{damage}");
        assert!(store.now().await.unwrap() >= *now);
    }
}

#[tokio::test]
async fn a_missing_or_damaged_calendar_sets_its_triggers_aside_and_no_others() {
    for (damage, why) in [
        ("DELETE FROM calendar WHERE name = 'one'", "there is no calendar `one`"),
        ("UPDATE calendar SET document = '{}' WHERE name = 'one'", "calendar.document"),
    ] {
        let fixture = Fixture::new().await;
        let (job, now) = (job(1, false), fixture.now);
        let calendar = |name: &str| CalendarRecord {
            name: name.into(),
            calendar: Arc::new(Calendar::weekly(Weekdays::NONE, Zone::utc())),
            rev: 0,
            updated: now,
        };
        let expect = Expect::Absent { mark: None };
        let calendars = ["one", "other"].map(|name| Change::PutCalendar { expect, calendar: calendar(name) });
        assert_eq!(fixture.store.apply(calendars.into()).await.unwrap(), Applied::All);
        let mut triggers = [1, 2, 3].map(|id| trigger(id, &job, now));
        triggers[0].spec.calendar = Some("one".into());
        triggers[1].spec.calendar = Some("other".into());
        put(&fixture.store, &job, &triggers).await;
        fixture.damage(damage);

        let claimed = fire(&fixture.store, 1, 10, 1).await;
        assert_eq!(claimed.outcomes.len(), 3);
        let found = fixture.store.triggers(Page::first(9)).await.unwrap();
        let states: Vec<_> = found.iter().map(|trigger| (trigger.state, trigger.fires)).collect();
        assert_eq!(
            states,
            [(TriggerState::Error, 0), (TriggerState::Active, 1), (TriggerState::Active, 1)],
            "{damage}"
        );
        assert!(found[0].error.as_ref().is_some_and(|error| error.contains(why)), "{:?}", found[0].error);
        let listed = fixture.store.calendars().await.unwrap();
        assert_eq!(listed.iter().map(|calendar| &*calendar.name).collect::<Vec<_>>(), ["other"]);
    }
}

#[tokio::test]
async fn a_damaged_job_poisons_its_triggers_and_its_work_and_nothing_else() {
    let fixture = Fixture::new().await;
    let (store, now) = (&fixture.store, fixture.now);
    let (bad, well) = (job(1, false), job(2, false));
    put(store, &bad, &[trigger(1, &bad, now)]).await;
    put(store, &well, &[trigger(2, &well, now)]).await;
    let batch = vec![work(1, Some(&bad), now), work(2, Some(&well), now)];
    assert_eq!(store.enqueue(batch).await.unwrap(), Applied::All);
    fixture.damage("UPDATE job SET spec = '{\"retries\":1}' WHERE id = 1");

    let due = read_due(store, 1, 10).await;
    assert!(matches!(&due.triggers[0], Readable::Poison(poison) if poison.reason.contains("job.spec")));
    assert!(matches!(&due.triggers[1], Readable::Row(_)));
    let claimed = claim_ready(store, 1, 10).await;
    let Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason }) = &claimed.work[0] else {
        panic!("{claimed:?}")
    };
    assert!(matches!(&claimed.work[1], Readable::Row(_)));
    assert_eq!(store.settle(vec![finish::hold(*claim, reason)]).await.unwrap(), [SettleOutcome::Done]);
    let held = store.execution(claim.id).await.unwrap().unwrap();
    assert_eq!((held.state, held.owner), (ExecutionState::Held, None));
    assert!(held.error.unwrap().contains("job.spec"));

    assert_eq!(store.job(&bad.key).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.jobs(Page::first(10)).await.unwrap().len(), 1);
    assert_eq!(store.cancel(vec![claim.id], "mend".to_owned()).await.unwrap().ended, 1);
}

#[tokio::test]
async fn a_damaged_live_row_is_shown_with_its_identity() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    assert_eq!(store.enqueue(vec![work(7, None, fixture.now)]).await.unwrap(), Applied::All);
    fixture.damage("UPDATE execution SET attempts = 'x'");
    let rows = store.executions(ExecutionFilter::default()).await.unwrap();
    let Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason }) = &rows[0] else {
        panic!("{rows:?}")
    };
    assert_eq!(claim.id, ExecutionId::from_bytes(7_u128.to_be_bytes()));
    assert!(reason.contains("execution.attempts"), "{reason}");
    let claimed = claim_ready(store, 1, 1).await;
    assert!(matches!(claimed.work[0], Readable::Poison(_)));
    assert_eq!(store.check_in(node_id(1)).await.unwrap().owned.len(), 1);
}

#[tokio::test]
async fn an_instant_that_the_history_has_is_not_fired_again() {
    let fixture = Fixture::new().await;
    let (store, now) = (&fixture.store, fixture.now);
    let job = job(1, false);
    put(store, &job, &[trigger(1, &job, now), trigger(2, &job, now)]).await;
    // As after a restored backup of one table, or a defect.
    fixture.damage(&format!(
        "INSERT INTO history SELECT x'000102030405060708090a0b0c0d0e0f', 1, 1, 'group/trigger-1', 1, 'group/job-1', 'test',
         {}, NULL, 1, 1, NULL, 1, 1, 1, NULL, 0, NULL, NULL, '[]'",
        now.as_micros()
    ));
    let claimed = fire(store, 1, 10, 1).await;
    assert_eq!(claimed.outcomes[0], ClaimOutcome::Lost);
    assert!(matches!(claimed.outcomes[1], ClaimOutcome::Fired(_)), "the batch goes on");
    let stopped = store.triggers_of(job.id).await.unwrap().remove(0);
    assert_eq!((stopped.state, stopped.wake, stopped.fires), (TriggerState::Error, None, 0));
    assert!(stopped.error.unwrap().contains("has an execution already"));
}

#[tokio::test]
async fn an_end_that_the_history_has_already_sets_the_trigger_aside_and_settles_the_rest() {
    let fixture = Fixture::new().await;
    let (store, now) = (&fixture.store, fixture.now);
    let job = job(1, true);
    put(store, &job, &[trigger(1, &job, now)]).await;
    assert_eq!(store.enqueue(vec![work(9, None, now)]).await.unwrap(), Applied::All);
    let _ = fire(store, 1, 10, 1).await;
    let _ = claim_ready(store, 1, 10).await;
    fixture.damage(&format!(
        "INSERT INTO history SELECT x'000102030405060708090a0b0c0d0e0f', 1, 1, 'group/trigger-1', 1, 'group/job-1', 'test',
         {}, NULL, 1, 1, NULL, 1, 1, 1, NULL, 0, NULL, NULL, '[]'",
        now.as_micros()
    ));
    store.leave(node_id(1)).await.unwrap();
    let owned = store.orphans(node_id(1), 10).await.unwrap();
    let plans: Vec<_> = good(&owned).into_iter().map(|row| success(row, now)).collect();
    assert_eq!(store.settle(plans).await.unwrap(), [SettleOutcome::Done; 2]);
    assert_eq!(store.history(HistoryFilter::default()).await.unwrap().len(), 2);
    assert_eq!(store.triggers_of(job.id).await.unwrap()[0].state, TriggerState::Error);
    assert!(store.executions(ExecutionFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_is_no_text_stops_neither_the_look_nor_the_waking_of_others() {
    let fixture = Fixture::new().await;
    let (store, now) = (&fixture.store, fixture.now);
    let [damaged, sound] = [job(1, true), job(2, true)];
    put(store, &damaged, &[]).await;
    put(store, &sound, &[]).await;
    let rows = vec![work(1, Some(&damaged), now), work(2, Some(&damaged), now)];
    assert_eq!(store.enqueue(rows).await.unwrap(), Applied::All);
    assert_eq!(good(&claim_ready(store, 1, 10).await.work).len(), 1);
    assert_eq!(store.enqueue(vec![work(3, Some(&sound), now)]).await.unwrap(), Applied::All);
    fixture.damage("UPDATE slot SET slot_key = CAST(x'fe' AS TEXT)");
    fixture.damage("UPDATE execution SET slot_key = CAST(x'ff' AS TEXT) WHERE wake_us > due_us");
    fixture.damage("UPDATE execution SET wake_us = due_us + 1 WHERE slot_key LIKE '%job-2'");

    let checks = store.checks().unwrap();
    let found = checks.contradictions(10).await.unwrap();
    let rules: Vec<_> = found.iter().map(|finding| finding.rule).collect();
    let waiting = Rule::WaitsForNothing;
    assert_eq!(rules, [Rule::SlotOfNobody, Rule::OwnedWithoutSlot, waiting, waiting], "{found:?}");
    for finding in [&found[0], &found[3]] {
        assert!(finding.place.to_string().contains('\u{fffd}'), "{finding:?}");
        assert_eq!(checks.repair(finding, "a test").await.unwrap(), Mended::Changed, "it cannot be named");
    }
    assert_eq!(store.wake_waiting(10).await.unwrap(), 1, "the other one");
}
