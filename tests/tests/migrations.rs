//! Migrations by real processes on each database: many at once, late ones, killed ones and frozen ones.
//!
//! The stores' own tests break a run at every statement, within one process. Here a few places have to do, and the system
//! is the one that ends and stops.
#![allow(clippy::future_not_send, reason = "each test drives its processes from one thread")]
#![cfg(test)]

use std::collections::BTreeMap;

use punctual_tests::crowd::{Crowd, Heard, Word, applied, is_trouble};
use punctual_tests::on_each_database;
use punctual_tests::place::{Kind, Place};
use punctual_tests::schema::Schema;

const OPENER: &str = env!("CARGO_BIN_EXE_opener");

/// A database and the processes that open it.
struct Scene {
    place: Place,
    crowd: Crowd,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(kind, folder.path());
        let crowd = Crowd::new(OPENER, place.location());
        Self { place, crowd, _folder: folder }
    }

    async fn ready(&mut self, arguments: &[&str]) -> usize {
        self.crowd.start_many(1, arguments).await.unwrap()[0]
    }

    /// Starts a process and has it come to a place where it halts.
    async fn halted(&mut self, [side, call, number]: [&str; 3]) -> usize {
        let who = self.ready(&["--halt", side, call, number]).await;
        self.crowd.go(who);
        let word = self.crowd.word(who).await.unwrap();
        assert_eq!(word, Word::Halted { at: format!("{call} {number}") });
        who
    }

    /// Lets a process go on until it has opened the store and ended well.
    async fn opens(&mut self, who: usize) {
        self.crowd.go(who);
        let word = self.crowd.word(who).await.unwrap();
        assert!(matches!(word, Word::Open { .. }), "{word:?}");
        assert!(self.crowd.end(who).await.unwrap().success());
    }

    /// Lets a process that halts go on to its end, which must be good, and answers what it applied.
    async fn migrates(&mut self, who: usize) -> Vec<i64> {
        self.crowd.go(who);
        let Word::Migrated { applied } = self.crowd.word(who).await.unwrap() else { panic!("it did not") };
        assert!(matches!(self.crowd.word(who).await.unwrap(), Word::Open { .. }));
        assert!(self.crowd.end(who).await.unwrap().success());
        applied
    }

    /// Lets a process go on until it is refused, and answers why.
    async fn is_refused(&mut self, who: usize) -> String {
        self.crowd.go(who);
        let Word::Refused { kind, message } = self.crowd.word(who).await.unwrap() else {
            panic!("it was not")
        };
        assert_eq!(kind, "Unavailable", "{message}");
        assert!(!self.crowd.end(who).await.unwrap().success());
        message
    }

    async fn is_golden(&self, after: &str) {
        let mut schema = Schema::at(self.place.location()).await.unwrap();
        let faults = schema.faults().await.unwrap();
        assert!(faults.is_empty(), "after {after}: {faults:#?}");
    }

    async fn versions(&self) -> Vec<i64> {
        Schema::at(self.place.location()).await.unwrap().versions().await.unwrap()
    }
}

async fn processes_that_start_together_apply_each_version_once(kind: Kind) {
    let mut scene = Scene::new(kind);
    let mut applications: BTreeMap<i64, u32> = BTreeMap::new();
    let all = scene.crowd.start_many(8, &[]).await.unwrap();
    all.iter().for_each(|who| scene.crowd.go(*who));
    let mut ended = 0;
    while ended < all.len() {
        match scene.crowd.hear().await.unwrap() {
            (_, Heard::Said(Word::Open { .. })) => {}
            (who, Heard::Ended(status)) => {
                assert!(status.success(), "process {who} ended with {status}");
                ended += 1;
            }
            (who, Heard::Logged(line)) => {
                assert!(!is_trouble(&line), "process {who}: {line}");
                if let Some(version) = applied(&line) {
                    *applications.entry(version).or_default() += 1;
                }
            }
            (who, heard) => panic!("process {who}: {heard:?}"),
        }
    }
    let versions = scene.versions().await;
    assert_eq!(applications, versions.iter().map(|version| (*version, 1)).collect());
    scene.is_golden("eight at once").await;
}

/// Seven have read that there is nothing, and then somebody else does everything before they get the lock.
async fn late_comers_apply_nothing_a_second_time(kind: Kind) {
    let mut scene = Scene::new(kind);
    let mut late = Vec::new();
    for _ in 0..7 {
        late.push(scene.halted(["before", "lock", "1"]).await);
    }
    let winner = scene.ready(&[]).await;
    scene.opens(winner).await;
    for who in late {
        assert_eq!(scene.migrates(who).await, [0_i64; 0], "process {who}");
    }
    scene.is_golden("late-comers").await;
}

/// With nothing of it done, in the middle of it, and with all of it done but the end.
const PLACES: [[&str; 3]; 5] = [
    ["after", "lock", "1"],
    ["after", "run", "1"],
    ["before", "run", "17"],
    ["after", "run", "17"],
    ["before", "unlock", "1"],
];

async fn what_a_killed_migrator_began_the_next_process_completes(kind: Kind) {
    for place in PLACES {
        let mut scene = Scene::new(kind);
        let doomed = scene.halted(place).await;
        scene.crowd.kill(doomed).unwrap();
        assert!(!scene.crowd.end(doomed).await.unwrap().success());
        let next = scene.ready(&[]).await;
        scene.opens(next).await;
        scene.is_golden(&place.join(" ")).await;
    }
}

on_each_database! {
    processes_that_start_together_apply_each_version_once;
    late_comers_apply_nothing_a_second_time;
    what_a_killed_migrator_began_the_next_process_completes;
}

const MIDDLE: [&str; 3] = ["after", "run", "17"];

/// Others wait for a frozen migrator whose lock lasts, for so long as they have patience, and it goes on when it wakes.
/// The error of whoever had none.
async fn a_frozen_migrator_is_waited_for(kind: Kind) -> (String, u32) {
    let mut scene = Scene::new(kind);
    let frozen = scene.halted(MIDDLE).await;
    scene.crowd.freeze(frozen).unwrap();
    let impatient = scene.ready(&["--patience", "200"]).await;
    let message = scene.is_refused(impatient).await;
    let patient = scene.ready(&[]).await;
    scene.crowd.go(patient);
    scene.crowd.thaw(frozen).unwrap();
    scene.crowd.go(frozen);
    let mut opened = Vec::new();
    let mut ended = 0;
    while ended < 2 {
        match scene.crowd.hear().await.unwrap() {
            (who, Heard::Said(Word::Open { .. })) => opened.push(who),
            (who, Heard::Said(Word::Migrated { applied })) => {
                assert_eq!((who, applied.first(), applied.is_sorted()), (frozen, Some(&1), true));
            }
            (who, Heard::Ended(status)) => {
                assert!(status.success(), "process {who} ended with {status}");
                ended += 1;
            }
            (who, Heard::Logged(line)) => assert!(!is_trouble(&line), "process {who}: {line}"),
            (who, heard) => panic!("process {who}: {heard:?}"),
        }
    }
    opened.sort_unstable();
    assert_eq!(opened, [frozen, patient]);
    scene.is_golden("a thaw").await;
    let pid = scene.crowd.pid(frozen);
    (message, pid)
}

#[tokio::test]
async fn a_frozen_migrator_on_sqlite_is_waited_for() {
    let (message, _) = a_frozen_migrator_is_waited_for(Kind::Sqlite).await;
    assert!(
        message.contains("the migrations are locked by another process; wait for it to end"),
        "{message}"
    );
}

#[tokio::test]
async fn a_frozen_migrator_on_mysql_is_waited_for() {
    let (message, pid) = a_frozen_migrator_is_waited_for(Kind::Mysql).await;
    assert!(message.contains(&format!("the migrations are locked by process {pid} (")), "{message}");
    assert!(message.contains(", at step trigger_due; wait for it to end"), "{message}");
}

/// Somebody else completes what a process began whose session is gone, and it finds that out when it wakes.
async fn a_migrator_without_a_session_writes_nothing_more(kind: Kind, end_session: impl Fn(&Place)) {
    let mut scene = Scene::new(kind);
    let frozen = scene.halted(MIDDLE).await;
    scene.crowd.freeze(frozen).unwrap();
    end_session(&scene.place);
    let next = scene.ready(&[]).await;
    scene.opens(next).await;
    scene.crowd.thaw(frozen).unwrap();
    scene.is_refused(frozen).await;
    scene.is_golden("a thaw").await;
}

/// The server itself ends a session that idles within a transaction.
#[tokio::test]
async fn a_frozen_migrator_on_postgres_is_replaced() {
    a_migrator_without_a_session_writes_nothing_more(Kind::Postgres, |_| {}).await;
}

/// There an administrator has to end it.
#[tokio::test]
async fn a_frozen_migrator_on_mysql_is_replaced_when_its_session_was_ended() {
    a_migrator_without_a_session_writes_nothing_more(Kind::Mysql, Place::end_session).await;
}
