//! The algorithm on a database of the tests' own, which can be cut off at any of its calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

const FIRST: &str = "-- About it.\n-- min-writer: 1\n\n-- step: a\n-- why\nCREATE a\n-- probe:\nHAS a\n-- step: b\nCREATE b\n\
                     -- probe:\nHAS b\n";
const SECOND: &str = "-- min-reader: 1\n-- min-writer: 1\n-- step: c\nCREATE c;\n-- probe:\nHAS c\n";
const ONLINE: &str = "-- online:\n-- step: i\nCREATE i\n-- probe:\nHAS i\n-- cleanup:\nDROP i\n";
const CONTRACT: &str = "-- contracts: 0.3.0\n-- step: drop_b\nDROP b\n-- probe:\nLACKS b\n";

fn known(texts: &[&str]) -> Vec<Migration> {
    let names: Vec<String> = (1..=texts.len()).map(|n| format!("{n:04}_m{n}.sql")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().copied()).collect();
    parse(&files).unwrap()
}

/// What all connections of a test share.
#[derive(Clone, Debug, Default, PartialEq)]
struct Database {
    rows: Vec<MigrationRow>,
    steps: BTreeMap<(i64, Box<str>), MigrationState>,
    objects: BTreeSet<Box<str>>,
    notes: Vec<String>,
    binaries: Vec<Box<str>>,
    /// How often each object was made.
    made: BTreeMap<Box<str>, u32>,
    generation: u64,
    locked: bool,
}

/// A connection.
struct Fake {
    shared: Arc<Mutex<Database>>,
    transactional: bool,
    /// What the transaction in progress will write.
    mine: Option<Database>,
    online: bool,
    generation: u64,
    /// The connection breaks before this call, counted from 0; `true` if what the call does is done all the same.
    breaks: Option<(u32, bool)>,
    calls: u32,
    /// Written by somebody else between the first read and the lock.
    meanwhile: Option<Database>,
    log: Vec<String>,
}

impl Fake {
    fn new(transactional: bool) -> Self {
        Self::on(Arc::default(), transactional)
    }

    fn on(shared: Arc<Mutex<Database>>, transactional: bool) -> Self {
        let (mine, meanwhile, breaks) = (None, None, None);
        let (online, generation, calls, log) = (false, 0, 0, Vec::new());
        Self { shared, transactional, mine, online, generation, breaks, calls, meanwhile, log }
    }

    fn database(&self) -> Database {
        self.shared.lock().unwrap().clone()
    }

    /// One call: it breaks before, does something, or breaks after.
    fn call<T>(&mut self, what: &str, body: impl FnOnce(&mut Database) -> Result<T>) -> Result<T> {
        let at = self.calls;
        self.calls += 1;
        self.log.push(what.to_owned());
        let cut = || Error::unavailable("test", "the connection broke");
        match self.breaks {
            Some((n, false)) if n <= at => return self.lost(cut()),
            Some((n, true)) if n < at => return self.lost(cut()),
            _ => {}
        }
        let mut shared = self.shared.lock().unwrap();
        let stale = self.generation != 0 && shared.generation != self.generation;
        let database = self.mine.as_mut().unwrap_or(&mut shared);
        if stale && what.starts_with("write") {
            return Err(Error::new(ErrorKind::Fenced, "test", "another run has begun"));
        }
        let answer = body(database);
        drop(shared);
        if self.breaks == Some((at, true)) { self.lost(cut()) } else { answer }
    }

    /// A connection that ends loses its lock and its transaction.
    fn lost<T>(&mut self, error: Error) -> Result<T> {
        if self.generation != 0 {
            self.shared.lock().unwrap().locked = false;
        }
        self.mine = None;
        Err(error)
    }
}

#[async_trait]
impl MigrationConn for Fake {
    fn dialect(&self) -> Dialect {
        Dialect { name: "fake", transactional: self.transactional }
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        self.call("history", |database| Ok(database.rows.clone()))
    }

    async fn lock(&mut self, _who: &Holder, _patience: Duration, online: bool) -> Result<LockOutcome> {
        if let Some(meanwhile) = self.meanwhile.take() {
            *self.shared.lock().unwrap() = meanwhile;
        }
        if self.shared.lock().unwrap().locked {
            let step = Some("b".into());
            return Ok(LockOutcome::TimedOut(Some(Holder { who: "host/7".into(), since: None, step })));
        }
        // From here on the end of the connection ends the lock.
        self.generation = u64::MAX;
        self.call("lock", |database| {
            database.locked = true;
            database.generation += 1;
            Ok(())
        })?;
        let shared = self.shared.lock().unwrap();
        (self.generation, self.online) = (shared.generation, online);
        if self.transactional && !online {
            self.mine = Some(shared.clone());
        }
        Ok(LockOutcome::Taken)
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        let generation = self.generation;
        self.call("owns", |database| Ok(database.generation == generation))
    }

    async fn now(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::EPOCH)
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        let word: Vec<&str> = sql.lines().last().unwrap_or_default().split(' ').collect();
        self.call(&format!("run {}", word.join(" ")), |database| match word[..] {
            ["CREATE", name] if database.objects.insert(name.into()) => {
                *database.made.entry(name.into()).or_default() += 1;
                Ok(())
            }
            ["CREATE", name] => Err(Error::new(ErrorKind::AlreadyExists, "test", format!("{name} is there"))),
            ["DROP", name] => {
                database.objects.remove(name);
                Ok(())
            }
            _ => Err(Error::internal("test", "no such statement")),
        })
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        let (word, name) = sql.split_once(' ').unwrap();
        let name = name.to_owned();
        let wanted = word == "HAS";
        self.call("probe", |database| Ok(database.objects.contains(&*name) == wanted))
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        let row = row.clone();
        self.call("write row", |database| {
            match database.rows.iter_mut().find(|earlier| earlier.version == row.version) {
                Some(earlier) => *earlier = row,
                None => database.rows.push(row),
            }
            Ok(())
        })
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        self.call("journal", |database| {
            let of_version = database.steps.iter().filter(|((of, _), _)| *of == version);
            let row = |((version, step), state): (&(i64, Box<str>), &MigrationState)| StepRow {
                version: *version,
                step: step.clone(),
                state: *state,
            };
            Ok(of_version.map(row).collect())
        })
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        let StepRow { version, step, state } = row.clone();
        self.call("write step", |database| {
            database.steps.insert((version, step), state);
            Ok(())
        })
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        let key = (version, step.into());
        self.call("write step", |database| {
            database.steps.remove(&key);
            Ok(())
        })
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        let rows = rows.to_vec();
        self.call("write rows", |database| {
            database.rows.retain(|row| row.version != version);
            database.rows.extend(rows);
            database.rows.sort_by_key(|row| row.version);
            Ok(())
        })
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        let what = what.to_owned();
        self.call("write note", |database| {
            database.notes.push(what);
            Ok(())
        })
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        self.call("fingerprint", |database| Ok(Fingerprint::of(database.objects.iter().map(|name| &**name))))
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        self.call("binaries", |database| Ok(database.binaries.clone()))
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        let mine = self.mine.take();
        self.call("unlock", |database| {
            if let (LockedEnd::Commit, Some(mine)) = (end, mine) {
                *database = mine;
            }
            database.locked = false;
            Ok(())
        })?;
        self.generation = 0;
        Ok(())
    }

    fn bootstrap(&self) -> Vec<String> {
        vec!["CREATE migration".to_owned()]
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        format!("INSERT {} {}", row.version, row.name)
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the fake never waits"),
    }
}

fn shapes() -> Vec<Fingerprint> {
    ["a\nb", "a\nb\nc", "a\nb\nc\ni", "a\nc\ni"].map(|text| Fingerprint::of(text.lines())).to_vec()
}

fn with_runner<T>(known: &[Migration], body: impl FnOnce(&Runner<'_>) -> T) -> T {
    let shapes = shapes();
    let who = Holder { who: "host/1".into(), since: None, step: None };
    let patience = Duration::from_secs(1);
    body(&Runner { known, shapes: &shapes[..known.len()], binary: "0.2.0", who, patience })
}

fn go(conn: &mut Fake, known: &[Migration]) -> Result<MigrationOutcome> {
    with_runner(known, |runner| run(migrate(conn, runner, &mut |_| {})))
}

fn ready(conn: &mut Fake, known: &[Migration]) -> Migrated {
    go(conn, known).unwrap().ready().unwrap()
}

fn damaged(conn: &mut Fake, known: &[Migration]) -> Vec<Damage> {
    match go(conn, known).unwrap() {
        MigrationOutcome::Damaged(damage) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_are_cut_at_their_headers_and_nowhere_else() {
    let known =
        known(&["-- step: a\n-- why\nSELECT ';'\n-- probe:\nSELECT 1\n-- step: b\nX;\n-- cleanup:\nY\n"]);
    let texts = |step: &MigrationStep| {
        let text = |part: &Option<Box<str>>| part.as_deref().map(str::to_owned);
        (step.name.to_string(), step.sql.to_string(), text(&step.probe), text(&step.cleanup))
    };
    let steps: Vec<_> = known[0].steps.iter().map(texts).collect();
    assert_eq!(steps[0], ("a".into(), "-- why\nSELECT ';'".into(), Some("SELECT 1".into()), None));
    assert_eq!(steps[1], ("b".into(), "X".into(), None, Some("Y".into())));
}

#[test]
fn heads_of_files_are_read() {
    let known = known(&[FIRST, ONLINE, CONTRACT]);
    assert_eq!((known[0].min_reader, known[0].min_writer, known[0].online), (1, 1, false));
    assert_eq!((known[1].min_reader, known[1].online), (2, true));
    assert_eq!(known[2].contracts.as_deref(), Some("0.3.0"));
}

#[test]
fn the_checksum_sees_the_text_and_not_its_line_endings() {
    let windows = FIRST.replace('\n', "\r\n");
    assert_eq!(known(&[&windows]), known(&[FIRST]));
    assert_ne!(known(&[&FIRST.replace("CREATE a", "CREATE A")])[0].checksum, known(&[FIRST])[0].checksum);
}

#[test]
fn bad_files_are_named() {
    for (file, text) in [
        ("0002_init.sql", "-- step: a\nX"),
        ("1_init.sql", "-- step: a\nX"),
        ("0001_init.sql", "SELECT 1"),
        ("0001_init.sql", "-- step: a\n-- nothing"),
        ("0001_init.sql", "-- step: a\nX\n-- step: a\nX"),
        ("0001_init.sql", "-- step: a\nX\n-- probe:\nA\n-- probe:\nB"),
        ("0001_init.sql", "-- online:\n-- step: a\nX"),
        ("0001_init.sql", "-- min-reader: x\n"),
    ] {
        let error = parse(&[(file, text)]).unwrap_err();
        assert!(error.message().contains(file), "{error}");
    }
}

#[test]
fn what_is_missing_is_applied_once_under_the_lock() {
    let known = known(&[FIRST, SECOND]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        assert_eq!(ready(&mut conn, &known), Migrated { version: 2, applied: vec![1, 2], held_back: None });
        conn.log.clear();
        assert_eq!(ready(&mut conn, &known).applied, [0_i64; 0]);
        assert_eq!(conn.log, ["history"], "a current database is not locked");
        assert!(conn.database().rows.iter().all(|row| row.state == MigrationState::Done));
    }
}

#[test]
fn what_a_late_comer_finds_under_the_lock_counts() {
    let known = known(&[FIRST, SECOND]);
    for transactional in [true, false] {
        let mut winner = Fake::new(transactional);
        ready(&mut winner, &known);
        let mut late = Fake::new(transactional);
        late.meanwhile = Some(winner.database());
        assert_eq!(ready(&mut late, &known), Migrated { version: 2, applied: vec![], held_back: None });
        assert!(late.database().made.values().all(|times| *times == 1));
    }
}

#[test]
fn a_run_that_breaks_at_any_call_is_completed_by_the_next_one() {
    for texts in [&[FIRST, SECOND][..], &[FIRST, SECOND, ONLINE]] {
        let known = known(texts);
        for transactional in [true, false] {
            let mut whole = Fake::new(transactional);
            ready(&mut whole, &known);
            let (calls, golden) = (whole.calls, whole.database());
            for at in 0..calls {
                for after in [false, true] {
                    let mut doomed = Fake::new(transactional);
                    doomed.breaks = Some((at, after));
                    let broke = go(&mut doomed, &known);
                    assert!(broke.is_err() || at + 1 >= calls, "call {at}");
                    let mut next = Fake::on(Arc::clone(&doomed.shared), transactional);
                    let migrated = ready(&mut next, &known);
                    let place =
                        format!("transactional {transactional}, broken at call {at}, after it {after}");
                    assert_eq!(migrated.version, i64::try_from(golden.rows.len()).unwrap(), "{place}");
                    let found = next.database();
                    assert_eq!(found.objects, golden.objects, "{place}");
                    assert_eq!(found.rows, golden.rows, "{place}");
                    // What cannot be taken back was made once; of a transaction only the last one counts.
                    assert_eq!(
                        found.made.keys().collect::<Vec<_>>(),
                        golden.made.keys().collect::<Vec<_>>(),
                        "{place}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_holder_that_was_overtaken_writes_nothing_more() {
    let known = known(&[FIRST, SECOND]);
    let mut frozen = Fake::new(false);
    let who = Holder::default();
    assert_eq!(run(frozen.lock(&who, Duration::ZERO, false)).unwrap(), LockOutcome::Taken);
    // Its session ended while it was frozen; somebody else goes through.
    frozen.shared.lock().unwrap().locked = false;
    ready(&mut Fake::on(Arc::clone(&frozen.shared), false), &known);
    assert!(!run(frozen.owns_lock()).unwrap());
    let row = MigrationRow::of(&known[0], MigrationState::Started, "0.2.0", Timestamp::EPOCH);
    assert_eq!(run(frozen.record(&row)).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn a_lock_that_is_kept_names_its_holder() {
    let known = known(&[FIRST]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().locked = true;
    let error = go(&mut conn, &known).unwrap().ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("host/7") && error.message().contains("step b"), "{error}");
}

#[test]
fn a_table_of_somebody_elses_stops_the_run_and_stays() {
    let known = known(&[FIRST]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        conn.shared.lock().unwrap().objects.insert("b".into());
        for _ in 0..2 {
            let error = go(&mut conn, &known).unwrap_err();
            assert!(error.message().contains("migration 1 (m1), step b"), "{error}");
        }
        assert!(conn.database().rows.iter().all(|row| row.state == MigrationState::Started));
        // It is moved out of the way, and the run goes through.
        conn.shared.lock().unwrap().objects.remove("b");
        assert_eq!(ready(&mut conn, &known).version, 1);
    }
}

#[test]
fn a_step_that_an_earlier_run_began_stays_begun_when_it_is_refused() {
    let known = known(&["-- step: a\nCREATE a\n-- probe:\nHAS end\n"]);
    let mut conn = Fake::new(false);
    let row = MigrationRow::of(&known[0], MigrationState::Started, "0.1.0", Timestamp::EPOCH);
    conn.shared.lock().unwrap().rows.push(row);
    conn.shared.lock().unwrap().steps.insert((1, "a".into()), MigrationState::Started);
    // The statement of a run that is gone stands in the way, and has not come to its end.
    conn.shared.lock().unwrap().objects.insert("a".into());
    assert_eq!(go(&mut conn, &known).unwrap_err().kind(), ErrorKind::AlreadyExists);
    conn.shared.lock().unwrap().objects.insert("end".into());
    let outcome = with_runner(&known, |runner| {
        run(migrate(&mut conn, &Runner { shapes: &[], ..runner.clone() }, &mut |_| {}))
    });
    assert_eq!(outcome.unwrap().ready().unwrap().applied, [1]);
}

#[test]
fn an_index_that_was_built_beforehand_is_taken() {
    let known = known(&[FIRST, SECOND, ONLINE]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().objects.insert("i".into());
    assert_eq!(ready(&mut conn, &known).version, 3);
    assert_eq!(conn.database().made.get("i"), None);
}

#[test]
fn what_older_nodes_need_is_not_taken_from_them() {
    let known = known(&[FIRST, SECOND, ONLINE, CONTRACT]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        conn.shared.lock().unwrap().binaries = vec!["0.3.1".into(), "0.2.9".into()];
        let migrated = ready(&mut conn, &known);
        assert_eq!((migrated.version, migrated.held_back), (3, Some(4)));
        assert!(conn.database().objects.contains("b"));
        assert_eq!(ready(&mut conn, &known).held_back, Some(4), "it is asked again at each start");
        conn.shared.lock().unwrap().binaries = vec!["0.3.0".into(), "1.0.0-rc.1".into()];
        assert_eq!(ready(&mut conn, &known), Migrated { version: 4, applied: vec![4], held_back: None });
        assert!(!conn.database().objects.contains("b"));
    }
}

#[test]
fn a_schema_that_came_out_wrong_is_not_kept() {
    let known = known(&[FIRST]);
    let wrong = [Fingerprint::of(["a", "b", "view v"])];
    let mut conn = Fake::new(true);
    with_runner(&known, |runner| {
        let runner = Runner { shapes: &wrong, ..runner.clone() };
        let error = run(migrate(&mut conn, &runner, &mut |_| {})).unwrap_err();
        assert!(error.message().contains("- view v"), "{error}");
    });
    assert_eq!(conn.database().rows, []);
}

#[test]
fn tables_of_others_are_no_drift() {
    let expected = Fingerprint::of("# ours\na\n\nb".lines());
    let drift = expected.drift(&Fingerprint::of(["b", "mine"]));
    assert_eq!(drift.to_string(), "- a\n+ mine\n");
    assert!(!drift.is_harmless() && expected.drift(&Fingerprint::of(["a", "b", "mine"])).is_harmless());
}

#[test]
fn a_rehearsal_keeps_nothing() {
    let known = known(&[FIRST, SECOND, ONLINE]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        let mut steps = 0;
        let outcome = with_runner(&known, |runner| {
            let mut hear =
                |progress: Progress<'_>| steps += usize::from(matches!(progress, Progress::Step { .. }));
            run(rehearse(&mut conn, runner, &mut hear)).unwrap().ready().unwrap()
        });
        assert!(steps >= 3 && outcome.applied.starts_with(&[1, 2]));
        let found = conn.database();
        assert!(found.rows.is_empty() && found.objects.is_empty() && !found.locked);
    }
}

fn rows(known: &[Migration]) -> Vec<MigrationRow> {
    known.iter().map(|one| MigrationRow::of(one, MigrationState::Done, "0.1.0", Timestamp::EPOCH)).collect()
}

#[test]
fn a_newer_schema_is_refused_unless_it_allows_this_writer() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    let mut newer = rows(&known);
    conn.shared.lock().unwrap().rows = newer.clone();
    // The second one allows writers of version 1.
    assert_eq!(ready(&mut conn, &known[..1]).version, 2);
    newer[1].min_writer = 2;
    conn.shared.lock().unwrap().rows = newer;
    let error = go(&mut conn, &known[..1]).unwrap().ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("newer version of Punctual"), "{error}");
}

#[test]
fn contradictions_are_named() {
    let known = known(&[FIRST, SECOND]);
    let whole = rows(&known);
    let with = |rows: Vec<MigrationRow>| {
        let mut conn = Fake::new(true);
        conn.shared.lock().unwrap().rows = rows;
        damaged(&mut conn, &known)
    };
    let mut changed = whole.clone();
    changed[0].checksum += 1;
    assert!(matches!(with(changed)[..], [Damage::Checksum { version: 1, .. }]));
    assert_eq!(with(whole[1..].to_vec()), [Damage::Gap { version: 1 }]);
    let mut half = whole.clone();
    half[1].state = MigrationState::Started;
    assert_eq!(with(half), [Damage::Unfinished { version: 2 }]);
    let twice = [&whole[..], &whole[1..]].concat();
    assert_eq!(with(twice), [Damage::Duplicate { version: 2, rows: 2 }]);
    let stray = MigrationRow { version: 0, ..whole[0].clone() };
    assert_eq!(with([&[stray], &whole[..]].concat()), [Damage::Stray { version: 0 }]);
    let far = MigrationRow { version: i64::MAX, min_writer: 1, ..whole[0].clone() };
    assert_eq!(with([&whole[..1], &[far]].concat()).len(), known.len(), "a bounded list of gaps");
}

fn planned(conn: &mut Fake, known: &[Migration], sound: bool) -> (Vec<Repair>, Vec<Damage>) {
    let history = run(conn.history()).unwrap();
    with_runner(known, |runner| repairs(runner, &history, !conn.transactional, sound))
}

#[test]
fn a_history_is_repaired_as_the_plan_said() {
    let known = known(&[FIRST, SECOND]);
    let whole = rows(&known);
    let newer = MigrationRow { started: Timestamp::from_secs(9), binary: "0.1.1".into(), ..whole[0].clone() };
    let stray = MigrationRow { version: -1, ..whole[0].clone() };
    let mut wrong = whole[1].clone();
    wrong.checksum += 1;
    let mut conn = Fake::new(true);
    {
        let mut database = conn.shared.lock().unwrap();
        database.rows = vec![stray, newer, whole[0].clone(), wrong];
        database.objects = ["a", "b", "c"].map(Into::into).into();
    }
    let (plan, left) = planned(&mut conn, &known, true);
    assert_eq!((plan.len(), left.len()), (3, 0), "{plan:?}");
    with_runner(&known, |runner| run(repair(&mut conn, runner, &plan)).unwrap());
    let found = conn.database();
    assert_eq!(found.rows.iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((&*found.rows[0].binary, found.rows[1].state), ("0.1.0", MigrationState::Adopted));
    assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
    assert_eq!(ready(&mut conn, &known).version, 2);
    // The plan is not that of what is there any more.
    let error = with_runner(&known, |runner| run(repair(&mut conn, runner, &plan)).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn what_the_schema_does_not_prove_is_not_repaired() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().rows = rows(&known)[1..].to_vec();
    let (plan, left) = planned(&mut conn, &known, false);
    assert_eq!((plan.len(), left), (0, vec![Damage::Gap { version: 1 }]));
    assert!(with_runner(&known, |runner| run(repair(&mut conn, runner, &plan))).is_err());
}

#[test]
fn a_schema_made_by_hand_is_taken_over_if_it_has_the_shape() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().objects = ["a", "b"].map(Into::into).into();
    let adopt = |conn: &mut Fake, version| with_runner(&known, |runner| run(baseline(conn, runner, version)));
    assert!(adopt(&mut conn, 2).unwrap_err().message().contains("- c"));
    assert_eq!(adopt(&mut conn, 3).unwrap_err().kind(), ErrorKind::Invalid);
    adopt(&mut conn, 1).unwrap();
    assert_eq!(adopt(&mut conn, 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(ready(&mut conn, &known), Migrated { version: 2, applied: vec![2], held_back: None });
}

#[test]
fn an_export_has_every_step_and_every_row() {
    let known = known(&[FIRST, SECOND]);
    let conn = Fake::new(true);
    let script = export(&conn, &known, 0, 2, "0.2.0").unwrap();
    let places: Vec<usize> = [
        "BEGIN",
        "CREATE migration",
        "CREATE a",
        "CREATE b",
        "INSERT 1 m1",
        "CREATE c;",
        "INSERT 2 m2",
        "COMMIT",
    ]
    .map(|text| script.find(text).unwrap_or_else(|| panic!("{text} is missing in\n{script}")))
    .to_vec();
    assert!(places.is_sorted(), "{script}");
    assert!(!export(&conn, &known, 1, 2, "0.2.0").unwrap().contains("CREATE migration"));
    assert!(export(&conn, &known, 2, 2, "0.2.0").is_err() && export(&conn, &known, 0, 3, "0.2.0").is_err());
}

#[test]
fn modes_have_words() {
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate, MigrateMode::Off] {
        assert_eq!(mode.as_str().parse::<MigrateMode>().unwrap(), mode);
    }
    assert!("never".parse::<MigrateMode>().unwrap_err().message().contains("auto, wait"));
}
