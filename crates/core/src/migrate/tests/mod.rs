//! The algorithm on a database of the tests' own, which can be cut off at any of its calls.

mod files;
mod histories;
mod modes;
mod runs;

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
    /// How often the process waited; what it waits for comes in the third pause.
    pauses: u32,
    /// By how much later each reading of the clock is than the one before.
    slow: Option<Duration>,
    /// How often the clock was read.
    looks: u32,
    /// Written by somebody else between the first read and the lock.
    meanwhile: Option<Database>,
    log: Vec<String>,
}

impl Fake {
    fn new(transactional: bool) -> Self {
        Self::on(Arc::default(), transactional)
    }

    fn on(shared: Arc<Mutex<Database>>, transactional: bool) -> Self {
        let (mine, meanwhile, breaks, slow) = (None, None, None, None);
        let (online, generation, calls, pauses, looks, log) = (false, 0, 0, 0, 0, Vec::new());
        Self {
            shared,
            transactional,
            mine,
            online,
            generation,
            breaks,
            calls,
            pauses,
            slow,
            looks,
            meanwhile,
            log,
        }
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

    async fn pause(&mut self, _span: Duration) -> Result<()> {
        self.pauses += 1;
        if let Some(meanwhile) = self.meanwhile.take_if(|_| self.pauses == 3) {
            *self.shared.lock().unwrap() = meanwhile;
        }
        Ok(())
    }

    async fn now(&mut self) -> Result<Timestamp> {
        self.looks += 1;
        Ok(Timestamp::EPOCH.plus(self.slow.unwrap_or_default() * self.looks))
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
    body(&Runner { known, shapes: &shapes[..known.len()], binary: "0.2.0", who, patience, limit: LIMIT })
}

fn go(conn: &mut Fake, known: &[Migration]) -> Result<MigrationOutcome> {
    with_runner(known, |runner| run(migrate(conn, runner, &mut |_| {})))
}

fn ready(conn: &mut Fake, known: &[Migration]) -> Migrated {
    go(conn, known).unwrap().ready().unwrap()
}

fn rows(known: &[Migration]) -> Vec<MigrationRow> {
    known.iter().map(|one| MigrationRow::of(one, MigrationState::Done, "0.1.0", Timestamp::EPOCH)).collect()
}
