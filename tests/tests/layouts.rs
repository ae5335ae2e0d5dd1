//! Databases as older versions left them, with rows in every table: today's binary brings them up to date, loses nothing,
//! and goes on with the work; and what older binaries write into today's tables is as good.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use punctual::core::event::{Event, Listener, Stamped};
use punctual::core::execution::Outcome;
use punctual::core::inspect::{ExecutionFilter, HistoryFilter, Page};
use punctual::core::migrate::{
    Fingerprint, Holder, LIMIT, MigrateMode, Migration, MigrationConn, Runner, Standing, migrate, validate,
};
use punctual::core::store::Readable;
use punctual::core::trigger::TriggerRecord;
use punctual::core::{Clock, ErrorKind, Result};
use punctual::runtime::SystemClock;
use punctual::{Context, Failure, Job, JobStore, Scheduler, SqliteMigrations, SqliteStore};
use punctual_mysql::{MysqlMigrations, MysqlStore};
use punctual_postgres::{PostgresMigrations, PostgresStore};
use punctual_tests::place::{Kind, Place};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::mpsc;

/// The newest version, which has a layout too.
const NEWEST: u32 = 6;

/// A database with a layout and rows of somebody's.
struct Old {
    kind: Kind,
    place: Place,
    _folder: tempfile::TempDir,
}

/// The migrations of a database as its store knows them.
struct Schema {
    conn: Box<dyn MigrationConn>,
    known: Vec<Migration>,
    shapes: Vec<Fingerprint>,
}

/// What a run of these migrations is made with.
fn runner<'k>(known: &'k [Migration], shapes: &'k [Fingerprint]) -> Runner<'k> {
    let who = Holder { who: "a test".into(), since: None, step: None };
    Runner { known, shapes, binary: "0.1.0", who, patience: punctual_tests::PATIENCE, limit: LIMIT }
}

impl Old {
    /// The tables of version `schema`, with the rows that a binary of version `rows` wrote.
    async fn load(kind: Kind, schema: u32, rows: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let old = Self { kind, place: Place::new(kind, folder.path()), _folder: folder };
        old.script(&format!("{schema:04}.schema.sql")).await;
        old.script(&format!("{rows:04}.rows.sql")).await;
        old
    }

    /// Runs one of the scripts of this kind of database.
    async fn script(&self, name: &str) {
        let kind = format!("{:?}", self.kind).to_lowercase();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/layouts").join(kind).join(name);
        let sql = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let location = self.place.location();
        match self.kind {
            Kind::Sqlite => {
                let file = rusqlite::Connection::open(location).expect("the file opens");
                file.execute_batch(&sql).expect("the script runs");
            }
            Kind::Postgres => {
                let mut server = PgConnection::connect(location).await.expect("the server is there");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.expect("the script runs");
            }
            Kind::Mysql => {
                let mut server =
                    AsyncMysqlConnection::establish(location).await.expect("the server is there");
                server.batch_execute(&sql).await.expect("the script runs");
            }
        }
    }

    async fn open(&self, mode: MigrateMode) -> Result<Arc<dyn JobStore>> {
        let location = self.place.location();
        Ok(match self.kind {
            Kind::Sqlite => Arc::new(SqliteStore::builder(location).migrate(mode).open().await?),
            Kind::Postgres => Arc::new(PostgresStore::builder(location)?.migrate(mode).open().await?),
            Kind::Mysql => Arc::new(MysqlStore::builder(location).migrate(mode).open().await?),
        })
    }

    async fn schema(&self) -> Schema {
        let location = self.place.location();
        match self.kind {
            Kind::Sqlite => Schema {
                conn: Box::new(SqliteStore::builder(location).migrations().expect("the file opens")),
                known: SqliteMigrations::known().expect("migrations"),
                shapes: SqliteMigrations::shapes(),
            },
            Kind::Postgres => {
                let builder = PostgresStore::builder(location).expect("a URL");
                Schema {
                    conn: Box::new(builder.migrations().await.expect("the server is there")),
                    known: PostgresMigrations::known().expect("migrations"),
                    shapes: PostgresMigrations::shapes(),
                }
            }
            Kind::Mysql => {
                let builder = MysqlStore::builder(location);
                Schema {
                    conn: Box::new(builder.migrations().await.expect("the server is there")),
                    known: MysqlMigrations::known().expect("migrations"),
                    shapes: MysqlMigrations::shapes(),
                }
            }
        }
    }

    /// Asserts that the schema is current and has exactly the shape that it should have.
    async fn assert_golden(&self) {
        let Schema { mut conn, known, shapes } = self.schema().await;
        let (version, standing, drift) =
            validate(&mut *conn, &runner(&known, &shapes), true).await.expect("a read");
        assert_eq!((version, standing), (i64::from(NEWEST), Standing::Current));
        assert_eq!(drift.expect("the shape is known").to_string(), "");
    }
}

/// Everything that a store shows, line by line. A row that cannot be read fails the test.
async fn shown(store: &dyn JobStore) -> BTreeSet<String> {
    let inspect = store.inspect();
    let mut lines = Vec::new();
    for job in inspect.jobs(Page::first(u32::MAX)).await.expect("a read") {
        lines.push(format!("{job:?}"));
    }
    for trigger in inspect.triggers(Page::first(u32::MAX)).await.expect("a read") {
        // Older versions have no pauses.
        lines.push(format!("{:?}", TriggerRecord { paused: None, ..trigger }));
    }
    for calendar in inspect.calendars().await.expect("a read") {
        lines.push(format!("{calendar:?}"));
    }
    for row in inspect.executions(ExecutionFilter::default()).await.expect("a read") {
        assert!(matches!(row, Readable::Row(_)), "{row:?}");
        lines.push(format!("{row:?}"));
    }
    for record in inspect.history(HistoryFilter::default()).await.expect("a read") {
        lines.push(format!("{record:?}"));
    }
    for node in inspect.nodes().await.expect("a read") {
        lines.push(format!("{node:?}"));
    }
    let key = "deleted".parse().expect("a key");
    let mark = inspect.trigger(&key).await.expect("a read").mark;
    lines.push(format!("{:?}", mark.expect("a deleted trigger leaves a mark")));
    let set = inspect.set("billing").await.expect("a read").set;
    lines.push(format!("{:?}", set.expect("the set is remembered")));
    lines.into_iter().collect()
}

#[derive(Clone, Serialize, Deserialize)]
struct Task {
    name: String,
}

impl Job for Task {
    const KIND: &'static str = "task";
}

async fn task(_: Task, _: Context) -> std::result::Result<(), Failure> {
    Ok(())
}

/// Tells of each execution that was settled.
#[derive(Debug)]
struct Ear(mpsc::UnboundedSender<()>);

impl Listener for Ear {
    fn hear(&self, event: &Stamped) {
        if matches!(event.event, Event::Settled { .. }) {
            let _ = self.0.send(());
        }
    }
}

/// Triggers of every kind that fire at once, because their next instant is long ago.
const FIRE: [&str; 8] = [
    "billing/invoices",
    "default/daily",
    "default/every",
    "default/months",
    "default/once",
    "default/printer",
    "default/working-days",
    "reports/cron",
];

/// The triggers in the history whose work ended well on `node`, or of work without a trigger its id.
async fn done(store: &dyn JobStore, node: punctual::core::NodeId) -> BTreeSet<String> {
    let history = store.inspect().history(HistoryFilter::default()).await.expect("a read");
    let good = history.into_iter().filter(|record| record.outcome == Outcome::Succeeded);
    let here = good.filter(|record| record.node == Some(node));
    here.map(|record| record.job.map_or_else(|| record.id.to_string(), |job| job.key.to_string())).collect()
}

/// A node of today goes on where those of the old binary stopped: triggers fire, and no work is lost.
async fn goes_on(store: Arc<dyn JobStore>) {
    let live = |rows: Vec<Readable<punctual::core::execution::Execution>>| -> Vec<_> {
        rows.into_iter()
            .map(|row| match row {
                Readable::Row(row) => row.id,
                Readable::Poison(poison) => panic!("{poison:?}"),
            })
            .collect()
    };
    let before = live(store.inspect().executions(ExecutionFilter::default()).await.expect("a read"));
    let (ear, mut heard) = mpsc::unbounded_channel();
    let builder = Scheduler::builder_shared(Arc::clone(&store)).job(task).listener(Ear(ear));
    let scheduler = builder.build().await.expect("a scheduler");
    let node = scheduler.node_id();
    let all_fired = async {
        let wanted: BTreeSet<String> = FIRE.map(str::to_owned).into();
        while !wanted.is_subset(&done(&*store, node).await) {
            tokio::select! {
                heard = heard.recv() => heard.expect("the node lives"),
                () = SystemClock.sleep(punctual_tests::PATIENCE) => {
                    let done = done(&*store, node).await;
                    panic!("not fired: {:?}", wanted.difference(&done).collect::<Vec<_>>());
                }
            }
        }
    };
    scheduler.run_until(all_fired).await.expect("a good end");
    let after = live(store.inspect().executions(ExecutionFilter::default()).await.expect("a read"));
    for id in before {
        let ended = store.inspect().record(id).await.expect("a read").is_some();
        assert!(ended || after.contains(&id), "execution {id} is neither live nor in the history");
    }
}

/// What the newest layout shows on the simplest database: all others must show the same.
async fn reference() -> BTreeSet<String> {
    let newest = Old::load(Kind::Sqlite, NEWEST, NEWEST).await;
    shown(&*newest.open(MigrateMode::Validate).await.expect("it is current")).await
}

async fn from_an_old_layout(kind: Kind) {
    let reference = reference().await;
    assert!(reference.len() > 50, "the layout has rows in every table");
    for version in 1..=NEWEST {
        let old = Old::load(kind, version, version).await;
        let store = old.open(MigrateMode::Auto).await.expect("it is brought up to date");
        old.assert_golden().await;
        let repairs = store.checks().expect("it can be checked").repairs(None, 10).await.expect("a read");
        assert_eq!(repairs.len(), usize::from(version >= 3), "version {version}");
        let triggers = store.inspect().triggers(Page::first(u32::MAX)).await.expect("a read");
        let groups = store.inspect().paused_groups().await.expect("a read");
        let paused = triggers.iter().filter(|trigger| trigger.paused.is_some()).count();
        let pauses = usize::from(version >= 4);
        assert_eq!((paused, groups.len()), (pauses, pauses), "version {version}");
        let found = shown(&*store).await;
        assert_eq!(found.difference(&reference).collect::<Vec<_>>(), [""; 0], "version {version}");
        assert_eq!(reference.difference(&found).collect::<Vec<_>>(), [""; 0], "version {version}");
        goes_on(store).await;
        old.assert_golden().await;
    }
}

/// The versions after 1 say that its writers may go on: what they write is worked with.
async fn with_rows_of_an_older_writer(kind: Kind) {
    let old = Old::load(kind, NEWEST, 1).await;
    let Schema { mut conn, known, shapes } = old.schema().await;
    let runner = runner(&known[..1], &shapes[..1]);
    let (_, standing, _) = validate(&mut *conn, &runner, false).await.expect("a read");
    assert_eq!(standing, Standing::NewerCompatible { version: i64::from(NEWEST) });
    let outcome = migrate(&mut *conn, &runner, &mut |_| {}).await.expect("a run");
    assert_eq!(outcome.ready().expect("it may be worked with").applied, [0_i64; 0]);
    let store = old.open(MigrateMode::Auto).await.expect("it is current");
    assert_eq!(shown(&*store).await, reference().await);
    goes_on(store).await;
}

/// A binary that is not to migrate refuses a schema that is behind, unless it is told not to look.
async fn behind(kind: Kind) {
    let old = Old::load(kind, 1, 1).await;
    let error = old.open(MigrateMode::Validate).await.expect_err("version 2 is missing");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("migration 2 (queues) is missing"), "{error}");
    let store = old.open(MigrateMode::Off).await.expect("it does not look");
    store.now().await.expect("it works as far as it can");
    let mut schema = old.schema().await;
    assert_eq!(schema.conn.history().await.expect("a read").len(), 1, "nothing was changed");
}

punctual_tests::on_each_database! {
    from_an_old_layout;
    with_rows_of_an_older_writer;
    behind;
}
