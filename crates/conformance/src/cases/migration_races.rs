//! Migrations that meet: runs that begin together, that come late, that die or are overtaken with the lock.

use std::collections::BTreeMap;
use std::time::Duration;

use punctual_core::ErrorKind;
use punctual_core::migrate::{
    LockOutcome, LockedEnd, MigrateMode, MigrationOutcome, MigrationRow, MigrationState, StepRow,
};

use crate::case::cases;
use crate::schema::{BINARY, PATIENCE, Schema, on_a_thread, take, versions};
use crate::target::Tamper;

/// How many runs race.
const RUNS: usize = 8;

cases! {
    E "migration_races";

    /// Of runs that begin together each ends well, and each statement of each version is run once.
    [Migrations]
    async fn many_runs_apply_each_version_once(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let (mut runs, mut watches) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (conn, watch) = schema.watched().await;
            runs.push(schema.start(conn, &schema.known, PATIENCE));
            watches.push(watch);
        }
        let mut applied = Vec::new();
        for run in runs {
            let migrated = run.await.expect("it ends").expect("a run").ready().expect("a good end");
            assert_eq!(migrated.version, schema.newest());
            applied.extend(migrated.applied);
        }
        assert_eq!(applied, versions(&schema.known));
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for statement in watches.iter().flat_map(|watch| watch.statements()) {
            *times.entry(statement).or_default() += 1;
        }
        let steps: usize = schema.known.iter().map(|migration| migration.steps.len()).sum();
        assert!(times.len() == steps && times.values().all(|times| *times == 1), "{times:?}");
        let history = schema.conn().await.history().await.expect("a read");
        assert_eq!(history.iter().map(|row| row.version).collect::<Vec<_>>(), versions(&schema.known));
    }

    /// Stores that are opened together on an empty place all open, and leave one history.
    [Migrations]
    async fn many_stores_open_at_once(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let open = || {
            let target = std::sync::Arc::clone(&schema.target);
            on_a_thread(async move { target.open(MigrateMode::Auto).await })
        };
        let opening: Vec<_> = (0..RUNS).map(|_| open()).collect();
        for opened in opening {
            opened.await.expect("it ends").expect("the store opens").now().await.expect("it works");
        }
        let history = schema.conn().await.history().await.expect("a read");
        assert_eq!(history.iter().map(|row| row.version).collect::<Vec<_>>(), versions(&schema.known));
        assert!(history.iter().all(|row| row.state == MigrationState::Done), "{history:?}");
    }

    /// A run that read an empty history, and got the lock when another had done everything, does nothing.
    [Migrations]
    async fn a_late_comer_reads_again_under_the_lock(bench) {
        let schema = Schema::brief_and_empty(&bench, "m").await;
        let (late, watch) = schema.watched().await;
        let (reached, go_on) = watch.hold_before_the_lock();
        let late = schema.start(late, &schema.known, PATIENCE);
        reached.await.expect("it asks for the lock");
        let mut winner = schema.conn().await;
        assert_eq!(schema.ready(&mut winner, &schema.known).await.applied, versions(&schema.known));
        let before = winner.history().await.expect("a read");
        go_on.send(()).expect("it waits");
        let migrated = late.await.expect("it ends").expect("a run").ready().expect("a good end");
        assert_eq!((migrated.version, migrated.applied), (schema.newest(), vec![]));
        assert_eq!(watch.statements(), [""; 0]);
        assert_eq!(winner.history().await.expect("a read"), before);
    }

    /// One connection has the lock at a time; who waits for it in vain is told so, and by whom if the database can tell.
    [Migrations]
    async fn a_wait_in_vain_names_the_holder(bench) {
        let (schema, _) = Schema::brief(&bench, "m").await;
        let mut holder = schema.locked("the holder").await;
        assert!(holder.owns_lock().await.expect("a read"));
        let (known, waiter) = (schema.and_one_more(), schema.conn().await);
        let waits = schema.start(waiter, &known, Duration::from_millis(200));
        let outcome = waits.await.expect("it ends").expect("a run");
        let MigrationOutcome::LockTimeout(named) = &outcome else { panic!("{outcome:?}") };
        if let Some(named) = named {
            assert!(!named.who.is_empty(), "{named:?}");
        }
        assert_eq!(outcome.ready().expect_err("it waited in vain").kind(), ErrorKind::Unavailable);
        assert!(holder.owns_lock().await.expect("a read"));
        holder.unlock(LockedEnd::Rollback).await.expect("the lock is given up");
        assert!(!holder.owns_lock().await.expect("a read"));
    }

    /// The lock ends with the connection that has it, and what can be taken back is taken back: nothing that is stored
    /// grants it.
    [Migrations]
    async fn the_lock_ends_with_its_holder(bench) {
        let (schema, _) = Schema::brief(&bench, "m").await;
        let mut holder = schema.locked("the holder").await;
        let one = schema.and_one_more().pop().expect("one more");
        let now = holder.now().await.expect("a clock");
        let row = MigrationRow::of(&one, MigrationState::Started, BINARY, now);
        holder.record(&row).await.expect("a write");
        let keeps = !holder.dialect().transactional;
        drop(holder);
        let mut next = schema.conn().await;
        let locked = on_a_thread(async move {
            take(&mut next, "the next").await;
            let history = next.history().await.expect("a read");
            next.unlock(LockedEnd::Rollback).await.expect("the lock is given up");
            history
        });
        let history = locked.await.expect("it gets the lock");
        assert_eq!(history.iter().any(|row| row.version == one.version), keeps);
    }

    /// A holder writes nothing more once another run has begun, or no other run can begin while it has the lock.
    [Migrations]
    async fn an_overtaken_holder_writes_nothing_more(bench) {
        let (schema, mut conn) = Schema::brief(&bench, "m").await;
        let before = conn.history().await.expect("a read");
        let mut old = schema.locked("the old holder").await;
        let one = schema.and_one_more().pop().expect("one more");
        let now = old.now().await.expect("a clock");
        let row = MigrationRow::of(&one, MigrationState::Done, BINARY, now);
        let entry = StepRow { version: one.version, step: "one".into(), state: MigrationState::Done };
        if schema.target.tamper(Tamper::Overtake).await.expect("it is tried") {
            for refused in [
                old.record(&row).await,
                old.record_step(&entry).await,
                old.forget_step(1, "one").await,
                old.replace(1, &[]).await,
                old.note("this").await,
            ] {
                assert_eq!(refused.expect_err("it was overtaken").kind(), ErrorKind::Fenced);
            }
            // How its end is answered is no matter.
            let _ = old.unlock(LockedEnd::Commit).await;
        } else {
            let mut other = schema.conn().await;
            let asked = on_a_thread(async move {
                let who = punctual_core::migrate::Holder::default();
                other.lock(&who, Duration::ZERO, false).await.expect("the lock can be asked for")
            });
            let LockOutcome::TimedOut(_) = asked.await.expect("it ends") else { panic!("two have the lock") };
            old.note("this").await.expect("it is alone");
            old.unlock(LockedEnd::Commit).await.expect("the lock is given up");
        }
        assert_eq!(conn.history().await.expect("a read"), before);
    }
}
