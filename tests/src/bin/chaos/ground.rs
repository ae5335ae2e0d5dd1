//! What the workers of a run meet on, and what is done to it: restarts, ended sessions, held locks, a full disk.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use punctual::core::{BootInstant, Clock, ExecutionId, Fence};
use punctual::runtime::SystemClock;
use punctual_checker::{Effect, Effects};
use punctual_tests::chaos::work::{EFFECTS, Paying};
use punctual_tests::place::{Kind, Place, Trouble};
use punctual_tests::proxy::Proxy;
use punctual_tests::wire::Speech;
use rusqlite::{Connection, OpenFlags};
use sqlx::{Connection as _, PgConnection, Row};

use crate::schedule::How;

/// A database of a run's own.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    /// The folder of a small disk, which can be filled.
    disk: Option<PathBuf>,
    keeper: Option<PathBuf>,
}

/// How long the write lock of a file must be out of reach to be told of. Commits of others take milliseconds.
const STALL: Duration = Duration::from_millis(1_500);

/// The time between two tries of the write lock.
const TRY: Duration = Duration::from_millis(250);

/// How large a small disk is.
const DISK_MIB: u64 = 160;

impl Ground {
    /// A new one, with the table of effects. A file lies in `folder`, on a disk of its own if that may be made.
    pub(crate) fn make(
        kind: Kind,
        folder: &Path,
        keeper: Option<PathBuf>,
        may_mount: bool,
    ) -> Result<Self, Trouble> {
        let disk = if kind == Kind::Sqlite && may_mount { Some(small_disk(folder)?) } else { None };
        let place = Place::new(kind, disk.as_deref().unwrap_or(folder));
        place.run(EFFECTS)?;
        Ok(Self { kind, place, disk, keeper })
    }

    pub(crate) const fn can_fill_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// A wire to the server, and the location that leads through it; none for a file.
    pub(crate) async fn wire(&self) -> Result<(String, Option<Proxy>), Trouble> {
        let location = self.place.location();
        let speech = match self.kind {
            Kind::Sqlite => return Ok((location.to_owned(), None)),
            Kind::Postgres => Speech::Postgres,
            Kind::Mysql => Speech::Mysql,
        };
        let (before, address, after) = address(location).ok_or("the URL has no host and port")?;
        let server: SocketAddr = address.to_socket_addrs()?.next().ok_or("the server has no address")?;
        let proxy = Proxy::to(server, speech).await?;
        Ok((format!("{before}{}{after}", proxy.address()), Some(proxy)))
    }

    /// Restarts the server, and returns when it is ready.
    pub(crate) fn restart(keeper: &Path, kind: Kind, how: How) -> Result<(), Trouble> {
        let name = if kind == Kind::Postgres { "postgres" } else { "mysql" };
        Self::tell(keeper, &format!("restart {name} {} 0", how.word()))
    }

    /// Tells whoever keeps the server to do something, and returns when it is done.
    pub(crate) fn tell(keeper: &Path, word: &str) -> Result<(), Trouble> {
        let mut stream = UnixStream::connect(keeper)?;
        stream.write_all(word.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer == "done" { Ok(()) } else { Err(answer.into()) }
    }

    /// The socket of whoever can restart the server.
    pub(crate) const fn keeper(&self) -> Option<&PathBuf> {
        self.keeper.as_ref()
    }

    /// Ends some sessions of others, which ones a number says.
    pub(crate) fn end_sessions(&self, whose: u64) -> Result<(), Trouble> {
        let number = whose % 10_007 + 1;
        match self.kind {
            Kind::Sqlite => Ok(()),
            Kind::Postgres => self.place.run(&format!(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid() \
                 ORDER BY (pid::bigint * {number}) % 10007 LIMIT 3) some"
            )),
            Kind::Mysql => self.place.run(&format!(
                "SET @other = (SELECT CONCAT('KILL ', id) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND id <> CONNECTION_ID() ORDER BY (id * {number}) % 10007 LIMIT 1); \
                 PREPARE other FROM @other; EXECUTE other"
            )),
        }
    }

    /// Holds a lock that every check-in needs. Returns when it is free again.
    pub(crate) async fn hold_lock(kind: Kind, location: String, span: Duration) -> Result<(), Trouble> {
        match kind {
            Kind::Sqlite => {
                let connection = Connection::open(location)?;
                connection.busy_timeout(Duration::from_secs(30))?;
                connection.execute_batch("BEGIN IMMEDIATE")?;
                SystemClock.sleep(span).await;
                connection.execute_batch("ROLLBACK")?;
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&location).await?;
                let lock = "BEGIN; LOCK TABLE punctual.beat IN SHARE MODE";
                sqlx::raw_sql(lock).execute(&mut connection).await?;
                SystemClock.sleep(span).await;
                sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
                connection.close().await?;
            }
            Kind::Mysql => {
                let mut connection = AsyncMysqlConnection::establish(&location).await?;
                connection.batch_execute("LOCK TABLES punctual_beat READ").await?;
                SystemClock.sleep(span).await;
                connection.batch_execute("UNLOCK TABLES").await?;
            }
        }
        Ok(())
    }

    /// Tries the write lock of a file again and again, and tells of each stretch in which it could not be had for long.
    /// Servers take locks from those who stand still; nobody does that on a file.
    pub(crate) fn watch(&self) -> Receiver<(BootInstant, BootInstant)> {
        let (mouth, stalls) = mpsc::channel();
        if self.kind == Kind::Sqlite {
            let location = self.place.location().to_owned();
            tokio::spawn(async move {
                let mut good = SystemClock.boot();
                loop {
                    SystemClock.sleep(TRY).await;
                    let location = location.clone();
                    let tried = tokio::task::spawn_blocking(move || can_lock(&location)).await;
                    let Ok(free) = tried else { return };
                    let now = SystemClock.boot();
                    if free && now.since(good) > STALL && mouth.send((good, now)).is_err() {
                        return;
                    }
                    good = if free { now } else { good };
                }
            });
        }
        stalls
    }

    /// Fills the disk up. Answers what is to be deleted to have room again.
    pub(crate) fn fill_disk(&self) -> Option<PathBuf> {
        let ballast = self.disk.as_ref()?.join("ballast");
        let mut file = fs::File::create(&ballast).ok()?;
        let (large, small) = (vec![1; 1 << 20], [1; 512]);
        while file.write_all(&large).is_ok() {}
        while file.write_all(&small).is_ok() {}
        Some(ballast)
    }

    /// What bodies wrote in their own transactions.
    pub(crate) async fn effects(&self) -> Result<Effects, Trouble> {
        const READ: &str = "SELECT execution, fence FROM chaos_effect";
        let rows: Vec<(String, i64)> = match self.kind {
            Kind::Sqlite => {
                let connection = Connection::open(self.place.location())?;
                let mut statement = connection.prepare(READ)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<Result<_, _>>()?
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(self.place.location()).await?;
                let rows = sqlx::query(READ).fetch_all(&mut connection).await?;
                rows.iter()
                    .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                    .collect::<Result<_, sqlx::Error>>()?
            }
            Kind::Mysql => {
                let mut connection = AsyncMysqlConnection::establish(self.place.location()).await?;
                let rows: Vec<MysqlEffect> = diesel::sql_query(READ).load(&mut connection).await?;
                rows.into_iter().map(|row| (row.execution, row.fence)).collect()
            }
        };
        let row = |(execution, fence): (String, i64)| {
            let execution: ExecutionId = execution.parse()?;
            Ok::<_, Trouble>(Effect { execution, fence: Fence::from_stored(fence) })
        };
        let rows = rows.into_iter().map(row).collect::<Result<_, _>>()?;
        Ok(Effects { kinds: vec![punctual::core::Kind::new(<Paying as punctual::Job>::KIND)?], rows })
    }
}

/// Whether the write lock of a file can be had now. On a full disk it may not be, whoever has it.
fn can_lock(location: &str) -> bool {
    let tried =
        Connection::open_with_flags(location, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
            connection.busy_timeout(TRY)?;
            connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
        });
    tried.is_ok()
}

#[derive(diesel::QueryableByName)]
struct MysqlEffect {
    #[diesel(sql_type = diesel::sql_types::Text)]
    execution: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    fence: i64,
}

/// What stands before the host and port of a URL, these, and what stands behind them.
fn address(url: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = url.split_at(url.rfind('@')? + 1);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (address, after) = rest.split_at(end);
    Some((before, address, after))
}

/// Makes a disk in a file and mounts it, where nobody but this process and its children sees it.
fn small_disk(folder: &Path) -> Result<PathBuf, Trouble> {
    let (image, disk) = (folder.join("disk.image"), folder.join("disk"));
    fs::create_dir(&disk)?;
    fs::File::create(&image)?.set_len(DISK_MIB << 20)?;
    for (program, arguments) in [
        ("mkfs.ext4", vec!["-q".as_ref(), image.as_os_str()]),
        ("mount", vec!["-o".as_ref(), "loop".as_ref(), image.as_os_str(), disk.as_os_str()]),
    ] {
        let done = Command::new(program).args(arguments).output()?;
        if !done.status.success() {
            return Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_url_is_found() {
        let parts = address("postgres://u:p@127.0.0.1:7/d?x=a").unwrap();
        assert_eq!(parts, ("postgres://u:p@", "127.0.0.1:7", "/d?x=a"));
        assert_eq!(address("/tmp/cluster.db"), None);
    }
}
