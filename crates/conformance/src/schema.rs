//! The schema of a case: runs of migrations on it, some of which are watched, cut off or held.
//!
//! A run is looked at from outside, call by call of the engine, so that a store needs no hook for it. A run that others
//! have to wait for, or that waits, has a thread of its own: some databases block it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::migrate::{
    Dialect, Fingerprint, Holder, LIMIT, LockOutcome, LockedEnd, Migrated, Migration, MigrationConn,
    MigrationOutcome, MigrationRow, MigrationState, Runner, StepRow, migrate,
};
use punctual_core::{Error, Result, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bench::Bench;
use crate::target::MigrationTarget;

/// What the history says of who ran the migrations of a case.
pub(crate) const BINARY: &str = "0.1.0-kit";

/// How long a run waits for others that are at work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a schema.
pub(crate) type Conn = Box<dyn MigrationConn>;

/// See the module.
pub(crate) struct Schema {
    pub(crate) target: Arc<dyn MigrationTarget>,
    pub(crate) known: Vec<Migration>,
    pub(crate) shapes: Vec<Fingerprint>,
}

impl Schema {
    /// An empty schema that nobody else uses.
    pub(crate) async fn empty(bench: &Bench, name: &str) -> Self {
        let target = bench.target(name).await;
        let (known, shapes) = (target.known(), target.shapes());
        assert!(!known.is_empty() && known.len() == shapes.len(), "each migration has its shape");
        Self { target, known, shapes }
    }

    /// A schema at the newest version.
    pub(crate) async fn current(bench: &Bench, name: &str) -> (Self, Conn) {
        let schema = Self::empty(bench, name).await;
        let mut conn = schema.conn().await;
        assert_eq!(schema.ready(&mut conn, &schema.known).await.version, schema.newest());
        (schema, conn)
    }

    /// A schema that knows two short migrations only, for cases that are not about the store's own: these take long on
    /// some databases. It is at the second one.
    pub(crate) async fn brief(bench: &Bench, name: &str) -> (Self, Conn) {
        let schema = Self::brief_and_empty(bench, name).await;
        let mut conn = schema.conn().await;
        assert_eq!(schema.ready(&mut conn, &schema.known).await.version, schema.newest());
        (schema, conn)
    }

    /// The same, and empty.
    pub(crate) async fn brief_and_empty(bench: &Bench, name: &str) -> Self {
        let whole = Self::empty(bench, name).await;
        Self { known: whole.short(), shapes: Vec::new(), target: whole.target }
    }

    pub(crate) fn newest(&self) -> i64 {
        versions(&self.known).last().copied().unwrap_or_default()
    }

    pub(crate) async fn conn(&self) -> Conn {
        self.target.connect().await.expect("the database can be reached")
    }

    /// A connection that is watched.
    pub(crate) async fn watched(&self) -> (Conn, Arc<Watch>) {
        let watch = Arc::new(Watch::default());
        let inner = self.conn().await;
        let conn = Watched { dialect: inner.dialect(), inner: Some(inner), watch: Arc::clone(&watch) };
        (Box::new(conn), watch)
    }

    /// What a run of these migrations is made with.
    pub(crate) fn runner<'k>(&'k self, known: &'k [Migration]) -> Runner<'k> {
        let is_ours = known.first() == self.known.first();
        let shapes = if is_ours { self.shapes.as_slice() } else { &[] };
        Runner { known, shapes, binary: BINARY, who: who("the kit"), patience: PATIENCE, limit: LIMIT }
    }

    /// A run.
    pub(crate) async fn run(&self, conn: &mut Conn, known: &[Migration]) -> Result<MigrationOutcome> {
        migrate(&mut **conn, &self.runner(known), &mut |_| {}).await
    }

    /// A run that must go well.
    pub(crate) async fn ready(&self, conn: &mut Conn, known: &[Migration]) -> Migrated {
        let outcome = self.run(conn, known).await.expect("a run");
        outcome.ready().expect("the schema can be worked with")
    }

    /// A run on a thread of its own.
    pub(crate) fn start(
        &self,
        mut conn: Conn,
        known: &[Migration],
        patience: Duration,
    ) -> JoinHandle<Result<MigrationOutcome>> {
        let (known, shapes) = (known.to_vec(), self.shapes.clone());
        on_a_thread(async move {
            let who = who("the kit");
            let runner =
                Runner { known: &known, shapes: &shapes, binary: BINARY, who, patience, limit: LIMIT };
            migrate(&mut *conn, &runner, &mut |_| {}).await
        })
    }

    /// Writes rows of the history in place of those of their versions, under the lock.
    pub(crate) async fn write(&self, rows: &[MigrationRow]) {
        let mut conn = self.locked("a hand").await;
        for row in rows {
            conn.replace(row.version, std::slice::from_ref(row)).await.expect("a write");
        }
        conn.unlock(LockedEnd::Commit).await.expect("the lock is given up");
    }

    /// Deletes the rows of versions, under the lock.
    pub(crate) async fn delete(&self, versions: &[i64]) {
        let mut conn = self.locked("a hand").await;
        for version in versions {
            conn.replace(*version, &[]).await.expect("a write");
        }
        conn.unlock(LockedEnd::Commit).await.expect("the lock is given up");
    }

    /// A connection that has the lock.
    pub(crate) async fn locked(&self, name: &str) -> Conn {
        let mut conn = self.conn().await;
        take(&mut conn, name).await;
        conn
    }

    /// The row that a migration of a later binary leaves.
    pub(crate) fn later(&self, version: i64, min_writer: i64) -> MigrationRow {
        MigrationRow {
            version,
            name: "later".into(),
            checksum: 7,
            state: MigrationState::Done,
            started: Timestamp::from_secs(1),
            finished: Some(Timestamp::from_secs(2)),
            binary: "99.0.0".into(),
            min_reader: 1,
            min_writer,
        }
    }

    /// The migrations of the store and one more, which has no step.
    pub(crate) fn and_one_more(&self) -> Vec<Migration> {
        let version = self.newest() + 1;
        let one = Migration {
            version,
            name: "one_more".into(),
            checksum: 11,
            min_reader: 1,
            min_writer: 1,
            contracts: None,
            online: false,
            steps: Vec::new(),
        };
        self.known.iter().cloned().chain([one]).collect()
    }

    /// Two short migrations, made of the first steps of the store's own.
    fn short(&self) -> Vec<Migration> {
        let steps = &self.known[0].steps;
        let (first, rest) = steps.split_at(steps.len().min(2));
        let second = &rest[..rest.len().min(1)];
        let of = |version: i64, name: &str, steps: &[_]| Migration {
            version,
            name: name.into(),
            checksum: 100 + version,
            min_reader: 1,
            min_writer: 1,
            contracts: None,
            online: false,
            steps: steps.to_vec(),
        };
        vec![of(1, "short", first), of(2, "shorter", second)]
    }
}

/// Takes the lock, and begins a run.
pub(crate) async fn take(conn: &mut Conn, name: &str) {
    let locked = conn.lock(&who(name), PATIENCE, false).await.expect("the lock can be asked for");
    assert_eq!(locked, LockOutcome::Taken);
}

fn who(name: &str) -> Holder {
    Holder { who: name.into(), since: None, step: None }
}

/// The numbers of migrations.
pub(crate) fn versions(known: &[Migration]) -> Vec<i64> {
    known.iter().map(|migration| migration.version).collect()
}

/// Polls a future on a thread that it may block.
pub(crate) fn on_a_thread<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || Handle::current().block_on(future))
}

/// What happens to a run that is watched.
enum Deed {
    /// Its connection is lost before the call with this number among those that write.
    Cut(u32),
    /// Its connection is lost on a side of a statement: the one with this number, from 0.
    CutStatement(u32, Side),
    /// It waits before it asks for the lock.
    Hold { reached: oneshot::Sender<()>, release: oneshot::Receiver<()> },
}

/// A side of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

#[derive(Default)]
struct Seen {
    calls: Vec<&'static str>,
    statements: Vec<String>,
    writes: u32,
    deed: Option<Deed>,
}

/// What a watched connection was asked to do.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Seen>);

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls of the engine so far.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.seen().calls.clone()
    }

    /// The statements of steps so far that were run to their end.
    pub(crate) fn statements(&self) -> Vec<String> {
        self.seen().statements.clone()
    }

    /// Loses the connection before a call that writes.
    pub(crate) fn cut_before(&self, write: u32) {
        self.seen().deed = Some(Deed::Cut(write));
    }

    /// Loses the connection at the statement of a step.
    pub(crate) fn cut_statement(&self, at: u32, side: Side) {
        self.seen().deed = Some(Deed::CutStatement(at, side));
    }

    /// Stops the run where it has decided to ask for the lock. Answers how to wait for that, and how to let it go on.
    pub(crate) fn hold_before_the_lock(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (reached, reaches) = oneshot::channel();
        let (go, release) = oneshot::channel();
        self.seen().deed = Some(Deed::Hold { reached, release });
        (reaches, go)
    }

    /// Notes a call. Answers what it has to wait for first, or that the connection is lost.
    fn call(&self, name: &'static str, writes: bool) -> std::result::Result<Option<Waiting>, Lost> {
        let mut seen = self.seen();
        seen.calls.push(name);
        let (write, statement) = (seen.writes, u32::try_from(seen.statements.len()).unwrap_or(u32::MAX));
        seen.writes += u32::from(writes);
        match &seen.deed {
            Some(Deed::Cut(at)) if writes && *at == write => Err(Lost),
            Some(Deed::CutStatement(at, Side::Before)) if name == "run" && *at == statement => Err(Lost),
            Some(Deed::Hold { .. }) if name == "lock" => match seen.deed.take() {
                Some(Deed::Hold { reached, release }) => Ok(Some(Waiting { reached, release })),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Notes that a statement has ended. Answers whether the connection is lost with its answer.
    fn ran(&self, sql: &str) -> std::result::Result<(), Lost> {
        let mut seen = self.seen();
        let at = u32::try_from(seen.statements.len()).unwrap_or(u32::MAX);
        seen.statements.push(sql.to_owned());
        let lost = matches!(seen.deed, Some(Deed::CutStatement(cut, Side::After)) if cut == at);
        if lost { Err(Lost) } else { Ok(()) }
    }
}

struct Lost;

struct Waiting {
    reached: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
}

/// A connection that is watched.
struct Watched {
    dialect: Dialect,
    /// Nothing once it is lost.
    inner: Option<Conn>,
    watch: Arc<Watch>,
}

impl Watched {
    async fn call(&mut self, name: &'static str, writes: bool) -> Result<&mut Conn> {
        match self.watch.call(name, writes) {
            Ok(None) => {}
            Ok(Some(Waiting { reached, release })) => {
                // Dropping an end is as good as an answer.
                let _ = reached.send(());
                let _ = release.await;
            }
            Err(Lost) => self.inner = None,
        }
        self.inner.as_mut().ok_or_else(lost)
    }
}

fn lost() -> Error {
    Error::unavailable("migrate", "the connection was cut")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MigrationConn for Watched {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        self.call("history", false).await?.history().await
    }

    async fn lock(&mut self, who: &Holder, patience: Duration, online: bool) -> Result<LockOutcome> {
        self.call("lock", true).await?.lock(who, patience, online).await
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        self.call("owns_lock", false).await?.owns_lock().await
    }

    async fn pause(&mut self, span: Duration) -> Result<()> {
        self.call("pause", false).await?.pause(span).await
    }

    async fn now(&mut self) -> Result<Timestamp> {
        self.call("now", false).await?.now().await
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        self.call("run", true).await?.run(sql).await?;
        if self.watch.ran(sql).is_err() {
            self.inner = None;
            return Err(lost());
        }
        Ok(())
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        self.call("probe", false).await?.probe(sql).await
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        self.call("record", true).await?.record(row).await
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        self.call("journal", false).await?.journal(version).await
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        self.call("record_step", true).await?.record_step(row).await
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        self.call("forget_step", true).await?.forget_step(version, step).await
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        self.call("replace", true).await?.replace(version, rows).await
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        self.call("note", true).await?.note(what).await
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        self.call("fingerprint", false).await?.fingerprint().await
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        self.call("live_binaries", false).await?.live_binaries().await
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        self.call("unlock", true).await?.unlock(end).await
    }

    fn text(&self, sql: &str) -> String {
        self.inner.as_ref().map_or_else(|| sql.to_owned(), |inner| inner.text(sql))
    }

    fn bootstrap(&self) -> Vec<String> {
        self.inner.as_ref().map(|inner| inner.bootstrap()).unwrap_or_default()
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        self.inner.as_ref().map(|inner| inner.export_row(row)).unwrap_or_default()
    }
}
