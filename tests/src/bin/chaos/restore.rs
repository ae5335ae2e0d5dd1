//! A store that is put back to an earlier state under its cluster: a backup, a restore, and what an operator does then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use punctual::core::{BootInstant, Clock};
use punctual::runtime::SystemClock;
use punctual_checker::FaultEvent;
use punctual_tests::place::{Kind, Trouble as Refusal};
use rusqlite::Connection;

use crate::ground::Ground;
use crate::run::{Run, TURN, answers};
use crate::seats::Seen;

/// How long nodes have to notice that their store was put back, and to end.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What a worker says that ends because of it.
const WORDS: &str = "the store was rolled back";

/// The mutant of an operator who forgets to raise the epoch.
pub(crate) const NOT_RAISED: &str = "epoch-not-raised";

impl Run<'_> {
    /// Takes a backup; answers when it was begun.
    pub(crate) async fn keep(&mut self) -> Result<BootInstant, Refusal> {
        let begun = SystemClock.boot();
        self.whole(Ground::keep, "backup").await?;
        self.view.say("a backup is taken");
        Ok(begun)
    }

    /// Puts the backup in the place of what has happened since `kept`, sees that every node ends by itself, raises the
    /// epoch as an operator does, and lets new nodes come.
    pub(crate) async fn put_back(&mut self, kept_us: BootInstant) -> Result<(), Refusal> {
        let boot_us = SystemClock.boot();
        self.whole(Ground::put_back, "restore").await?;
        self.view.say("the backup is put back: nodes are to notice");
        self.all_end().await?;
        if self.mutant.as_deref() == Some(NOT_RAISED) {
            self.view.say("nobody raises the epoch");
        } else {
            let said = raise(self.punctual.clone(), self.ground.place.location().to_owned()).await?;
            self.view.say(&format!("`punctual epoch raise`: {said}"));
        }
        let until_us = SystemClock.boot();
        self.faults.push(FaultEvent::Restored { kept_us, boot_us, until_us });
        self.adopt_pauses().await?;
        self.counts.restores += 1;
        self.seats.iter_mut().for_each(|seat| seat.back = Some(until_us));
        Ok(())
    }

    /// Does something to the whole store, and waits until it answers again.
    async fn whole(
        &mut self,
        act: fn(Kind, &str, &Path, Option<&PathBuf>) -> Result<(), Refusal>,
        what: &str,
    ) -> Result<(), Refusal> {
        let boot_us = SystemClock.boot();
        let (kind, location) = (self.ground.kind, self.ground.place.location().to_owned());
        let (folder, keeper) = (self.folder.clone(), self.ground.keeper().cloned());
        let acted = tokio::task::spawn_blocking(move || act(kind, &location, &folder, keeper.as_ref()));
        acted.await??;
        answers(&*Arc::clone(&self.store)).await?;
        let (what, until_us) = (what.to_owned(), SystemClock.boot());
        self.faults.push(FaultEvent::Outage { what, boot_us, until_us });
        Ok(())
    }

    /// Waits until all workers have ended by themselves, and said why.
    async fn all_end(&mut self) -> Result<(), Refusal> {
        let begun = SystemClock.boot();
        while self.seats.iter().any(|seat| seat.process.is_some()) {
            SystemClock.sleep(TURN).await;
            let is_over = SystemClock.boot().since(begun) > ENDS_WITHIN;
            for seat in &mut self.seats {
                let name = seat.log_name();
                match seat.look(&mut self.faults)? {
                    Some(Seen::Ended(_)) if fs::read_to_string(self.folder.join(&name))?.contains(WORDS) => {
                        self.counts.rolled_back += 1;
                    }
                    Some(Seen::Ended(status)) => {
                        self.counts.wrong.push(format!("{name}: it ended without saying why: {status}"));
                    }
                    _ if is_over && seat.process.is_some() => {
                        let within = ENDS_WITHIN.as_secs();
                        self.counts.wrong.push(format!(
                            "{}: it did not end within {within} s after its store was put back",
                            seat.log_name()
                        ));
                        seat.kill(&mut self.faults);
                        seat.wait()?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What an operator does.
async fn raise(program: Option<PathBuf>, location: String) -> Result<String, Refusal> {
    let program = program.ok_or("the command `punctual` is missing")?;
    // A URL has a password, which is nothing for a command line.
    let raise = move || {
        Command::new(program).args(["epoch", "raise", "--json"]).env("PUNCTUAL_DB", location).output()
    };
    let output = tokio::task::spawn_blocking(raise).await??;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("epoch raise: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

impl Ground {
    /// Takes a backup: of a file a copy of one snapshot, of a server its data while it is stopped.
    fn keep(kind: Kind, location: &str, folder: &Path, keeper: Option<&PathBuf>) -> Result<(), Refusal> {
        if kind != Kind::Sqlite {
            return Self::tell(keeper.ok_or("nobody keeps the server")?, &format!("keep {}", name(kind)));
        }
        let connection = open(location)?;
        connection.execute("VACUUM INTO ?1", [backup(folder)?])?;
        Ok(())
    }

    /// Puts the backup back: into a file in one transaction beside those who have it open, to a server while it is
    /// stopped.
    fn put_back(kind: Kind, location: &str, folder: &Path, keeper: Option<&PathBuf>) -> Result<(), Refusal> {
        if kind != Kind::Sqlite {
            return Self::tell(keeper.ok_or("nobody keeps the server")?, &format!("put-back {}", name(kind)));
        }
        let connection = open(location)?;
        connection.execute_batch("PRAGMA foreign_keys = OFF")?;
        connection.execute("ATTACH ?1 AS kept", [backup(folder)?])?;
        let names = "SELECT name FROM kept.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut names = connection.prepare(names)?;
        let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let tables = names.iter().map(|name| {
            format!(
                "DELETE FROM main.\"{name}\"; INSERT INTO main.\"{name}\" SELECT * FROM kept.\"{name}\"; "
            )
        });
        let tables: String = tables.collect();
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {tables} COMMIT"))?;
        Ok(())
    }
}

fn name(kind: Kind) -> &'static str {
    if kind == Kind::Postgres { "postgres" } else { "mysql" }
}

fn open(location: &str) -> Result<Connection, Refusal> {
    let connection = Connection::open(location)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    Ok(connection)
}

fn backup(folder: &Path) -> Result<String, Refusal> {
    let path = folder.join("backup.db").into_os_string();
    path.into_string().map_err(|path| format!("{} is no text", path.display()).into())
}
