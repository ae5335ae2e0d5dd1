//! The failures that this project was started for, each as a test on each database: what two widely used schedulers are
//! known to do, and this one must not. `docs/seeds.md` lists them beside each other.
#![allow(clippy::future_not_send, reason = "each test drives its cluster from one thread")]
#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual::core::event::{Event, Listener, Stamped};
use punctual::core::inspect::HistoryFilter;
use punctual::core::migrate::{Damage, Drift, MigrationOutcome, Standing, repair, repairs, validate};
use punctual::core::{BootInstant, Clock, ErrorKind, Timestamp};
use punctual::runtime::SystemClock;
use punctual::{Builder, Context, Failure, Job, JobStore, Profile, Scheduler, State, WhenBusy};
use punctual_tests::crowd::{Crowd, Word};
use punctual_tests::place::{Kind, Place};
use punctual_tests::schema::Schema;
use punctual_tests::{Cluster, PATIENCE, on_each_database};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const NODE: &str = env!("CARGO_BIN_EXE_node");
const OPENER: &str = env!("CARGO_BIN_EXE_opener");

#[derive(Clone, Serialize, Deserialize)]
struct Work {
    takes_ms: u64,
}

impl Job for Work {
    const KIND: &'static str = "work";
}

/// One run of a body: which trigger, which instant, and from when to when on the boot-time clock.
#[derive(Clone, Debug)]
struct Run {
    trigger: String,
    scheduled: Timestamp,
    began: BootInstant,
    ended: BootInstant,
}

/// What all bodies of a test write to.
#[derive(Debug, Default)]
struct Log {
    runs: Mutex<Vec<Run>>,
    grew: Notify,
}

impl Log {
    fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until bodies have run `count` times.
    async fn reaches(&self, count: usize) {
        let enough = async {
            loop {
                let grew = self.grew.notified();
                if self.runs().len() >= count {
                    return;
                }
                grew.await;
            }
        };
        tokio::select! {
            () = enough => {}
            () = SystemClock.sleep(PATIENCE) => panic!("{} of {count} runs in {PATIENCE:?}", self.runs().len()),
        }
    }
}

async fn work(work: Work, log: State<Arc<Log>>, ctx: Context) -> Result<(), Failure> {
    let began = SystemClock.boot();
    if work.takes_ms > 0 {
        SystemClock.sleep(Duration::from_millis(work.takes_ms)).await;
    }
    let trigger = ctx.trigger().map(ToString::to_string).unwrap_or_default();
    let run = Run { trigger, scheduled: ctx.scheduled_at().into(), began, ended: SystemClock.boot() };
    log.runs.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    log.grew.notify_waiters();
    Ok(())
}

/// Nodes of one process, each with connections of its own.
struct Nodes {
    place: Place,
    log: Arc<Log>,
    running: Vec<(Scheduler, JoinHandle<punctual::Result<()>>)>,
    _folder: tempfile::TempDir,
}

impl Nodes {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            place: Place::new(kind, folder.path()),
            log: Arc::default(),
            running: Vec::new(),
            _folder: folder,
        }
    }

    async fn builder(&self) -> Builder {
        let store = self.place.open().await.expect("the store opens").0;
        Scheduler::builder_shared(store).profile(Profile::FAST).state(Arc::clone(&self.log)).job(work)
    }

    async fn start(&mut self, change: impl FnOnce(Builder) -> Builder) {
        let scheduler = change(self.builder().await).build().await.expect("a scheduler");
        let node = scheduler.clone();
        let running = tokio::spawn(async move { node.run_until(std::future::pending::<()>()).await });
        self.running.push((scheduler, running));
    }

    /// Ends all nodes well, and answers the store.
    async fn end(&mut self) -> Arc<dyn JobStore> {
        for (scheduler, _) in &self.running {
            scheduler.shut_down();
        }
        for (_, running) in self.running.drain(..) {
            running.await.expect("the node ends").expect("the node ends well");
        }
        self.place.open().await.expect("the store opens").0
    }

    /// No instant of any trigger ran twice, neither by the bodies' own log nor by the history.
    async fn nothing_ran_twice(&mut self) {
        let store = self.end().await;
        let mut times: BTreeMap<(String, Timestamp), u32> = BTreeMap::new();
        for run in self.log.runs() {
            *times.entry((run.trigger, run.scheduled)).or_default() += 1;
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{} of {} instants ran twice: {twice:?}", twice.len(), times.len());
        let history = store.inspect().history(HistoryFilter::default()).await.expect("a read");
        assert!(!history.is_empty());
    }
}

/// Four nodes that are always behind compete for the same triggers, taking `capacity` at a time.
async fn compete(kind: Kind, capacity: u32) {
    let mut nodes = Nodes::new(kind);
    let client = nodes.builder().await.build().await.expect("a scheduler");
    for n in 0..40 {
        let key = format!("t/{n}");
        let request = client.schedule(Work { takes_ms: 0 }).every(Duration::from_millis(20));
        request.key(&key).await.expect("it is stored");
    }
    for _ in 0..4 {
        nodes.start(|builder| builder.capacity(capacity)).await;
    }
    nodes.log.reaches(600).await;
    nodes.nothing_ran_twice().await;
}

/// Quartz: without `acquireTriggersWithinLock` a node may take a trigger that another has fired and put back meanwhile,
/// and fires the old instant again; measured, 2.7 % of all firings of four nodes with batch size 1.
async fn acquiring_one_at_a_time_without_a_lock_fires_once(kind: Kind) {
    compete(kind, 1).await;
}

/// Quartz: the same with batch size 10, whenever only one thread is free: then the batch is one, and takes no lock.
async fn acquiring_ten_at_a_time_without_a_lock_fires_once(kind: Kind) {
    compete(kind, 10).await;
}

/// Quartz: a node that is killed between acquiring and firing leaves its triggers ACQUIRED or BLOCKED, and nobody frees
/// those of a claim that recovery did not see.
async fn a_crash_that_holds_work_leaves_nothing_stuck(kind: Kind) {
    let mut cluster = Cluster::new(NODE, kind);
    let pids = [cluster.start(), cluster.start()];
    cluster.listen_for_firings(40);
    // The moment after the claim and before the body: the trigger has moved on, and only the claim knows of the work.
    let (victim, _) = cluster.listen(|pid, stamped| {
        pids.contains(&pid) && matches!(&stamped.event, Event::Claimed { work, .. } if work.slot.is_some())
    });
    cluster.kill(victim);
    cluster.listen(|pid, stamped| pid != victim && matches!(stamped.event, Event::TookOver { .. }));
    cluster.listen_for_firings(60);
    let verdict = cluster.finish().await;
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!((verdict.duplicates, verdict.lost, verdict.overlaps, verdict.stuck), (0, 0, 0, 0));
}

/// Counts deaths that nodes declare.
#[derive(Debug)]
struct Deaths(Arc<Mutex<u32>>);

impl Listener for Deaths {
    fn hear(&self, event: &Stamped) {
        if matches!(event.event, Event::TookOver { .. }) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }
}

/// Quartz: a node counts as failed 7.5 s after the check-in that it owes, on the wall clock of whoever looks, and one that
/// failed is tried again only after 15 s; so a node that lives is declared dead, and its work is fired again.
async fn a_node_with_a_slow_check_in_is_not_taken_for_dead(kind: Kind) {
    let mut nodes = Nodes::new(kind);
    let deaths = Arc::new(Mutex::new(0));
    // The slow one beats every 5 s; the quick one would take a node of its own kind for dead after 5 s.
    nodes.start(|builder| builder.profile(Profile::CALM).name("slow")).await;
    let heard = Deaths(Arc::clone(&deaths));
    nodes.start(|builder| builder.profile(Profile::FAST).name("quick").listener(heard)).await;
    let client = nodes.builder().await.build().await.expect("a scheduler");
    let request = client.schedule(Work { takes_ms: 300 }).every(Duration::from_millis(500));
    request.exclusive(WhenBusy::Queue).key("exclusive").await.expect("it is stored");
    nodes.log.reaches(24).await;
    assert_eq!(*deaths.lock().unwrap_or_else(PoisonError::into_inner), 0);
    assert_never_at_once(&nodes.log.runs());
    nodes.nothing_ran_twice().await;
}

fn assert_never_at_once(runs: &[Run]) {
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| run.began);
    for pair in runs.windows(2) {
        assert!(pair[0].ended <= pair[1].began, "two at once: {pair:#?}");
    }
}

/// Quartz: a job that may not run concurrently and takes longer than its interval ends up BLOCKED for good, or overlaps
/// itself after a release.
async fn a_job_longer_than_its_interval_neither_overlaps_nor_stops(kind: Kind) {
    let mut nodes = Nodes::new(kind);
    let client = nodes.builder().await.build().await.expect("a scheduler");
    let request = client.schedule(Work { takes_ms: 150 }).every(Duration::from_millis(40));
    request.exclusive(WhenBusy::Queue).key("long").await.expect("it is stored");
    for _ in 0..3 {
        nodes.start(|builder| builder).await;
    }
    nodes.log.reaches(20).await;
    assert_never_at_once(&nodes.log.runs());
    nodes.nothing_ran_twice().await;
}

/// A process that has come to a place of its migration, and stands there.
async fn halted(crowd: &mut Crowd, [side, call, number]: [&str; 3]) -> usize {
    let who = crowd.start_many(1, &["--halt", side, call, number]).await.expect("a process")[0];
    crowd.go(who);
    let word = crowd.word(who).await.expect("a word");
    assert!(matches!(word, Word::Halted { .. }), "{word:?}");
    who
}

/// The schema is whole, and a node works with it.
async fn a_node_starts_and_works(nodes: &mut Nodes) {
    nodes.start(|builder| builder).await;
    let client = nodes.builder().await.build().await.expect("a scheduler");
    client
        .schedule(Work { takes_ms: 0 })
        .every(Duration::from_millis(50))
        .key("t")
        .await
        .expect("it is stored");
    nodes.log.reaches(2).await;
    nodes.end().await;
    let mut schema = Schema::at(nodes.place.location()).await.expect("a connection");
    let faults = schema.faults().await.expect("a read");
    assert!(faults.is_empty(), "{faults:#?}");
}

/// JobRunr: what is missing is read before the lock is taken and not again after it, so whoever comes late runs what
/// another one has run meanwhile.
async fn a_late_comer_to_a_migration_applies_nothing_twice(kind: Kind) {
    let mut nodes = Nodes::new(kind);
    let mut crowd = Crowd::new(OPENER, nodes.place.location());
    // It has read that nothing is there.
    let late = halted(&mut crowd, ["before", "lock", "1"]).await;
    nodes.place.open().await.expect("the winner opens the store");
    crowd.go(late);
    assert_eq!(crowd.word(late).await.expect("a word"), Word::Migrated { applied: vec![] });
    assert!(matches!(crowd.word(late).await.expect("a word"), Word::Open { .. }));
    assert!(crowd.end(late).await.expect("an end").success());
    a_node_starts_and_works(&mut nodes).await;
}

/// JobRunr: the lock is a row that outlives its holder, and every later start fails until a person deletes it.
async fn a_migrator_that_is_killed_leaves_nothing_for_a_person(kind: Kind) {
    let mut nodes = Nodes::new(kind);
    let mut crowd = Crowd::new(OPENER, nodes.place.location());
    let doomed = halted(&mut crowd, ["after", "run", "9"]).await;
    crowd.kill(doomed).expect("it is there");
    assert!(!crowd.end(doomed).await.expect("an end").success());
    a_node_starts_and_works(&mut nodes).await;
}

/// JobRunr: the name of a script is not unique in its history, so a race leaves it there twice, and every later start
/// refuses to go on until a person has cleaned up.
async fn a_history_with_doubled_rows_is_named_and_mended(kind: Kind) {
    let mut nodes = Nodes::new(kind);
    nodes.place.open().await.expect("the store opens");
    // Only without its key can the history be like that, as a tool leaves it that copies rows and knows no keys.
    let (table, without_key) = match kind {
        Kind::Sqlite => (
            "migration",
            "CREATE TABLE copied AS SELECT * FROM migration; DROP TABLE migration; \
             ALTER TABLE copied RENAME TO migration",
        ),
        Kind::Postgres => {
            ("punctual.migration", "ALTER TABLE punctual.migration DROP CONSTRAINT migration_pkey")
        }
        Kind::Mysql => ("punctual_migration", "ALTER TABLE punctual_migration DROP PRIMARY KEY"),
    };
    nodes.place.run(without_key).expect("it has a key");
    let twice = format!("INSERT INTO {table} SELECT * FROM {table}");
    nodes.place.run(&twice).expect("it has no key");
    let refused = nodes.place.open().await.map(drop).expect_err("the history is damaged");
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.message().contains("punctual migrate repair"), "{refused}");

    // What `punctual migrate validate` and `punctual migrate repair --yes` do.
    let mut schema = Schema::at(nodes.place.location()).await.expect("a connection");
    let resumes = !schema.conn.dialect().transactional;
    let (conn, runner) = schema.runner(PATIENCE);
    let (_, standing, drift) = validate(conn, &runner, true).await.expect("a look");
    let versions = runner.known.iter().map(|migration| migration.version);
    let doubled: Vec<_> = versions.map(|version| Damage::Duplicate { version, rows: 2 }).collect();
    assert_eq!(standing, Standing::Damaged(doubled));
    let history = conn.history().await.expect("a read");
    let (plan, left) = repairs(&runner, &history, resumes, drift.as_ref().is_some_and(Drift::is_harmless));
    assert_eq!((plan.len(), left), (runner.known.len(), vec![]));
    repair(conn, &runner, &plan).await.and_then(MigrationOutcome::ready).expect("it is mended");
    drop(schema);
    nodes.place.run(&twice).expect_err("the history has its key again");
    a_node_starts_and_works(&mut nodes).await;
}

on_each_database! {
    a_late_comer_to_a_migration_applies_nothing_twice;
    a_migrator_that_is_killed_leaves_nothing_for_a_person;
    a_history_with_doubled_rows_is_named_and_mended;
    acquiring_one_at_a_time_without_a_lock_fires_once;
    acquiring_ten_at_a_time_without_a_lock_fires_once;
    a_crash_that_holds_work_leaves_nothing_stuck;
    a_node_with_a_slow_check_in_is_not_taken_for_dead;
    a_job_longer_than_its_interval_neither_overlaps_nor_stops;
}
