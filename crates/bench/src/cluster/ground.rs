//! The database of a benchmark: its settings, its counters, and what is left in it.
//!
//! Counters are the server's own, so reading them costs two statements a window. A file has none; there the kernel and
//! the file itself are asked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use punctual_core::{Clock, ExecutionId, Timestamp};
use punctual_runtime::SystemClock;
use punctual_tests::place::{Kind, Place};
use sqlx::{AssertSqlSafe, Row};

use super::Result;
use super::kernel;
use super::store::{Opened, Session};
use super::tally::mixed;

/// A database that nobody else uses; it is gone with this value.
pub(crate) struct Ground {
    place: Place,
    kind: Kind,
    session: Session,
    /// The index of a file's log. It stays open until the session is closed: to close it would take the session's locks
    /// on it away, for locks of a process end with whichever descriptor of the file is closed.
    index: Option<File>,
    server: Option<u32>,
    /// From when on history is that of the run that is measured.
    since: Timestamp,
    // Holds a file.
    _folder: tempfile::TempDir,
}

/// What has been counted until some moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: u64,
    /// Statements of clients, where the server counts them.
    pub(crate) statements: Option<u64>,
    /// Bytes written: of the server's log, or by the nodes to a file, what is moved from its log into it included.
    pub(crate) bytes: u64,
    /// Seconds of processor of the server's processes; none if they are not on this machine, or there are none.
    pub(crate) server_cpu: Option<f64>,
}

/// What has run by the database's own records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) count: u64,
    /// The sum of [`mixed`] over them.
    pub(crate) sum: u64,
    /// Those of them that ended within the window.
    pub(crate) within: u64,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text, column_name = "Variable_name")]
    name: String,
    #[diesel(sql_type = Text, column_name = "Value")]
    value: String,
}

#[derive(QueryableByName)]
struct Ended {
    #[diesel(sql_type = Binary)]
    id: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    ended_us: i64,
}

impl Ground {
    /// A new one with the store's tables; a file lies in `folder`, or else where temporary files lie.
    pub(crate) async fn new(kind: Kind, folder: Option<&Path>) -> Result<Self> {
        let variable = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some("PUNCTUAL_POSTGRES_URL"),
            Kind::Mysql => Some("PUNCTUAL_MYSQL_URL"),
        };
        if let Some(name) = variable {
            let missing = |_| format!("{name} is not set; `cargo xtask bench` starts a server and sets it");
            // Whether it answers is to be known before a place is made on it.
            drop(Session::open(&std::env::var(name).map_err(missing)?).await?);
        }
        let folder = folder.map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
        let place = Place::new(kind, folder.path());
        drop(Opened::at(place.location(), None).await?);
        let session = Session::open(place.location()).await?;
        let mut ground = Self {
            place,
            kind,
            session,
            index: None,
            server: None,
            since: Timestamp::EPOCH,
            _folder: folder,
        };
        ground.server = ground.find_server().await?;
        Ok(ground)
    }

    pub(crate) fn location(&self) -> &str {
        self.place.location()
    }

    pub(crate) async fn open(&self) -> Result<Opened> {
        Opened::at(self.location(), None).await
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Leaves out of all later accounts what is in the history by now.
    pub(crate) async fn begin_anew(&mut self) -> Result<()> {
        self.since = self.open().await?.store().now().await?;
        Ok(())
    }

    /// How many records there are of before that.
    pub(crate) async fn old(&mut self) -> Result<u64> {
        let (table, since) = (self.table("history"), self.since.as_micros());
        let sql = format!("SELECT COUNT(*) AS number FROM {table} WHERE ended_us < {since}");
        Ok(u64::try_from(self.number(&sql).await?).unwrap_or(0))
    }

    /// A connection as a user has one.
    pub(crate) async fn session(&self) -> Result<Session> {
        Session::open(self.location()).await
    }

    /// Runs statements of the benchmark's own.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        match &mut self.session {
            Session::Postgres(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?;
            }
            Session::Mysql(connection) => connection.batch_execute(sql).await?,
            Session::Sqlite(connection) => connection.execute_batch(sql)?,
        }
        Ok(())
    }

    /// What a careful operator does after a large load, and what the harness of the peers does.
    pub(crate) async fn tidy_up(&mut self) -> Result<()> {
        self.run(match self.kind {
            Kind::Postgres => "VACUUM ANALYZE",
            Kind::Mysql => "ANALYZE TABLE punctual_trigger, punctual_job, punctual_execution",
            Kind::Sqlite => "PRAGMA wal_checkpoint(TRUNCATE)",
        })
        .await?;
        if self.kind == Kind::Postgres {
            // Only a superuser may; without it there are more full-page images in the window.
            let _ = self.run("CHECKPOINT").await;
        }
        self.catch_up().await;
        Ok(())
    }

    /// Waits until the counters are those of now: sessions of a Postgres tell theirs once a second.
    pub(crate) async fn catch_up(&self) {
        if self.kind == Kind::Postgres {
            SystemClock.sleep(Duration::from_millis(1_200)).await;
        }
    }

    /// The settings on which durability rests, and the version, as the database has them.
    pub(crate) async fn settings(&mut self) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        match &mut self.session {
            Session::Postgres(connection) => {
                for name in ["server_version", "fsync", "synchronous_commit", "full_page_writes"] {
                    let row = sqlx::raw_sql(AssertSqlSafe(format!("SHOW {name}")));
                    found.insert(name.to_owned(), row.fetch_one(&mut *connection).await?.try_get(0)?);
                }
            }
            Session::Mysql(connection) => {
                let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', \
                           'innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', 'innodb_doublewrite')";
                let rows: Vec<Named> = diesel::sql_query(sql).load(connection).await?;
                found.extend(rows.into_iter().map(|row| (row.name, row.value)));
            }
            Session::Sqlite(connection) => {
                found.insert("version".to_owned(), rusqlite::version().to_owned());
                let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
                found.insert("journal_mode".to_owned(), mode);
                // A setting of each connection: the store sets it and refuses to open if it reads another one back.
                let full: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
                let word = ["OFF", "NORMAL", "FULL", "EXTRA"];
                let word = usize::try_from(full).ok().and_then(|full| word.get(full));
                found.insert(
                    "synchronous".to_owned(),
                    word.map_or_else(|| full.to_string(), |word| (*word).to_owned()),
                );
            }
        }
        Ok(found)
    }

    /// The counters now; `pids` are the nodes.
    pub(crate) async fn counters(&mut self, pids: &[u32]) -> Result<Counters> {
        let whole = |number: i64| u64::try_from(number).unwrap_or(0);
        let (commits, statements, bytes) = match self.kind {
            Kind::Postgres => {
                let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
                (whole(self.number(commits).await?), None, whole(self.log_position().await?))
            }
            Kind::Mysql => {
                let rows = self.status("'Com_commit', 'Innodb_os_log_written', 'Questions'").await?;
                let of = |name: &str| rows.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
                (of("com_commit"), Some(of("questions")), of("innodb_os_log_written"))
            }
            Kind::Sqlite => (
                u64::from(self.changes().await?),
                None,
                pids.iter().copied().filter_map(kernel::written).sum(),
            ),
        };
        let server_cpu = match self.kind {
            Kind::Postgres => self.server.and_then(kernel::cpu_of_family),
            Kind::Mysql => self.server.and_then(kernel::cpu),
            Kind::Sqlite => None,
        };
        Ok(Counters { commits, statements, bytes, server_cpu })
    }

    /// Where the log of a Postgres ends, in bytes.
    async fn log_position(&mut self) -> Result<i64> {
        self.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").await
    }

    /// How many bytes of a Postgres's log are images of full pages, by the extension `pg_walinspect`; none on other
    /// databases, where the extension is not to be had, and where that part of the log is gone already.
    pub(crate) async fn images(&mut self, from: u64, to: u64) -> Option<u64> {
        if self.kind != Kind::Postgres {
            return None;
        }
        self.run("CREATE EXTENSION IF NOT EXISTS pg_walinspect").await.ok()?;
        let sql = format!(
            "SELECT coalesce(sum(fpi_size), 0)::bigint \
             FROM pg_get_wal_stats('0/0'::pg_lsn + {from}::numeric, '0/0'::pg_lsn + {to}::numeric)"
        );
        u64::try_from(self.number(&sql).await.ok()?).ok()
    }

    /// What the history says has run, and what of it ended in a window of the store's clock.
    pub(crate) async fn recorded(&mut self, from: Timestamp, to: Timestamp) -> Result<Recorded> {
        let mut found = Recorded::default();
        let mut take = |id: &[u8], ended: i64| {
            let Ok(bytes) = id.try_into() else { return };
            found.count += 1;
            found.sum = found.sum.wrapping_add(mixed(ExecutionId::from_bytes(bytes)));
            found.within += u64::from((from.as_micros()..to.as_micros()).contains(&ended));
        };
        // Outcome 5: instants that were skipped.
        let (table, since) = (self.table("history"), self.since.as_micros());
        let sql = format!("SELECT id, ended_us FROM {table} WHERE outcome <> 5 AND ended_us >= {since}");
        match &mut self.session {
            Session::Postgres(connection) => {
                for row in sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await? {
                    take(&row.try_get::<Vec<u8>, _>(0)?, row.try_get(1)?);
                }
            }
            Session::Mysql(connection) => {
                let rows: Vec<Ended> = diesel::sql_query(sql).load(connection).await?;
                rows.iter().for_each(|row| take(&row.id, row.ended_us));
            }
            Session::Sqlite(connection) => {
                let mut statement = connection.prepare(&sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    take(row.get_ref(0)?.as_blob()?, row.get(1)?);
                }
            }
        }
        Ok(found)
    }

    /// How many instants have more than one record.
    pub(crate) async fn twice(&mut self) -> Result<u64> {
        let (table, since) = (self.table("history"), self.since.as_micros());
        let sql = format!(
            "SELECT COUNT(*) AS number FROM (SELECT 1 AS one FROM {table} WHERE trigger_id IS NOT NULL AND outcome <> 5 \
             AND ended_us >= {since} GROUP BY trigger_id, generation, scheduled_us HAVING COUNT(*) > 1) AS doubled"
        );
        Ok(u64::try_from(self.number(&sql).await?).unwrap_or(0))
    }

    /// How many live rows there are, at most one counted.
    pub(crate) async fn has_work(&mut self) -> Result<bool> {
        let table = self.table("execution");
        let sql = format!("SELECT COUNT(*) AS number FROM (SELECT 1 AS one FROM {table} LIMIT 1) AS any_row");
        Ok(self.number(&sql).await? > 0)
    }

    pub(crate) fn table(&self, name: &str) -> String {
        match self.kind {
            Kind::Postgres => format!("punctual.{name}"),
            Kind::Mysql => format!("punctual_{name}"),
            Kind::Sqlite => name.to_owned(),
        }
    }

    /// The one number that a statement answers, in a column named `number` where that matters.
    async fn number(&mut self, sql: &str) -> Result<i64> {
        Ok(match &mut self.session {
            Session::Postgres(connection) => {
                sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await?.try_get(0)?
            }
            Session::Mysql(connection) => {
                diesel::sql_query(sql).get_result::<Number>(connection).await?.number
            }
            Session::Sqlite(connection) => connection.query_row(sql, [], |row| row.get(0))?,
        })
    }

    /// Values of a MySQL's status, by their names in small letters.
    async fn status(&mut self, names: &str) -> Result<BTreeMap<String, String>> {
        let Session::Mysql(connection) = &mut self.session else { return Ok(BTreeMap::new()) };
        let sql = format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({names})");
        let rows: Vec<Named> = diesel::sql_query(sql).load(connection).await?;
        Ok(rows.into_iter().map(|row| (row.name.to_lowercase(), row.value)).collect())
    }

    /// The server's process, if it is on this machine.
    async fn find_server(&mut self) -> Result<Option<u32>> {
        let (pid, programs): (_, &[&str]) = match self.kind {
            Kind::Postgres => {
                let backend = u32::try_from(self.number("SELECT pg_backend_pid()::bigint").await?)?;
                let here = kernel::program(backend).is_some_and(|program| program.starts_with("postgres"));
                (Some(backend).filter(|_| here).and_then(kernel::parent), &["postgres"])
            }
            Kind::Mysql => {
                let Session::Mysql(connection) = &mut self.session else { return Ok(None) };
                let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name = 'pid_file'";
                let rows: Vec<Named> = diesel::sql_query(sql).load(connection).await?;
                let text = rows.into_iter().find_map(|row| std::fs::read_to_string(row.value).ok());
                (text.and_then(|text| text.trim().parse().ok()), &["mariadbd", "mysqld"])
            }
            Kind::Sqlite => return Ok(None),
        };
        let is_it = |pid: &u32| kernel::program(*pid).is_some_and(|name| programs.contains(&name.as_str()));
        Ok(pid.filter(is_it))
    }

    /// How many transactions have been committed to a file: a number at the beginning of the index of its log.
    async fn changes(&mut self) -> Result<u32> {
        if self.index.is_none() {
            // From the first read of the session on there is an index for as long as the session is open.
            self.number("SELECT COUNT(*) FROM meta").await?;
            self.index = Some(File::open(format!("{}-shm", self.location()))?);
        }
        let mut header = [0; 12];
        let mut index = self.index.as_ref().ok_or("the log has no index")?;
        index.seek(SeekFrom::Start(0))?;
        index.read_exact(&mut header)?;
        let [.., a, b, c, d] = header;
        Ok(u32::from_ne_bytes([a, b, c, d]))
    }
}
