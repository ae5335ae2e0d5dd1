//! The harness of the peers: a folder of somebody's with programs that start servers and measure what others offer.
//!
//! It is known by what it says about itself: `run.sh PARAMS prepare` and `stop`, the programs `quartz.py`, `peers.py` and
//! `limits.py`, a folder for all that it makes in `BENCH_TMP`, and its results there, one JSON object a line.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

use super::results;
use crate::shell::{self, Result};

/// Where the harness has its servers, on the loopback address.
const PORTS: [(&str, u16); 2] = [("Postgres", 55432), ("MariaDB", 53306)];
/// Those servers, as a benchmark of ours takes them. It makes databases of its own there.
pub(super) const POSTGRES: &str = "postgres://postgres@127.0.0.1:55432/postgres";
pub(super) const MARIADB: &str = "mysql://b:b@127.0.0.1:53306/mysql";

/// How many of the last lines that a program said are shown when it fails.
const LAST: usize = 12;

/// What went wrong with one of those that are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) who: String,
    pub(super) command: String,
    /// The last that was said.
    pub(super) said: Vec<String>,
}

/// The harness, and the folder for what it makes.
#[derive(Debug)]
pub(super) struct Harness {
    folder: PathBuf,
    work: PathBuf,
}

/// The servers of the harness. They are stopped when this is dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub(super) struct Servers(Child);

impl Harness {
    /// # Errors
    /// If the folder holds no such harness, or the other one cannot be made.
    pub(super) fn at(folder: &Path, work: &Path) -> Result<Self> {
        let missing = |name: &&&str| !folder.join(name).is_file();
        if let Some(name) =
            ["run.sh", "params.env", "quartz.py", "peers.py", "limits.py"].iter().find(missing)
        {
            return Err(format!("{} is no harness of peers: it has no {name}", folder.display()).into());
        }
        fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
        Ok(Self { folder: fs::canonicalize(folder)?, work: fs::canonicalize(work)? })
    }

    /// Starts the servers and makes the programs, which takes long the first time.
    ///
    /// A part of it that fails is in the second answer; who does not need it can be measured still.
    ///
    /// # Errors
    /// If somebody else's servers are where these would be, or they do not answer afterwards.
    pub(super) fn start(&self) -> Result<(Servers, Option<Trouble>)> {
        if let Some((name, port)) = PORTS.iter().find(|(_, port)| answers(*port)) {
            return Err(format!(
                "something listens on port {port} already, where the harness has its {name}: stop it first"
            )
            .into());
        }
        self.forget_the_dead()?;
        let servers = self.stopped_at_the_end()?;
        let mut prepare = self.script();
        prepare.arg("prepare");
        let trouble = self.watched("the harness", &mut prepare, true).err().map(|mut trouble| {
            // It takes a folder that is there for a whole one.
            trouble.said.push(format!(
                "if something was left half made, delete {} and begin again",
                self.work.display()
            ));
            trouble
        });
        match PORTS.iter().find(|(_, port)| !answers(*port)) {
            None => Ok((servers, trouble)),
            Some((name, _)) => {
                let said = trouble.map(|trouble| trouble.said.join("\n")).unwrap_or_default();
                Err(format!("the harness's {name} does not answer after `run.sh params.env prepare`\n{said}")
                    .into())
            }
        }
    }

    /// Runs one of the programs that measure, and reads what it adds to the results.
    ///
    /// It is interrupted after `limit` seconds: some of them wait for ever for a process that has ended.
    pub(super) fn measure(
        &self,
        who: &str,
        arguments: &[&str],
        settings: &[(&str, String)],
        limit: u64,
    ) -> Result<Vec<Value>, Trouble> {
        let results = self.work.join("results.jsonl");
        let before =
            fs::metadata(&results).map_or(0, |file| usize::try_from(file.len()).unwrap_or(usize::MAX));
        let mut command = Command::new("timeout");
        // In the foreground, so that an interrupt from the terminal reaches it too.
        command.args(["--foreground", "--signal=INT", "--kill-after=60", &limit.to_string()]);
        command.arg(self.work.join("py").join("bin").join("python")).args(arguments);
        // Its own programs would get more of the processor than ours otherwise.
        command.env("BENCH_TMP", &self.work).env("BOOST", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(settings.iter().map(|(name, value)| (name, value))).current_dir(&self.folder);
        self.watched(who, &mut command, false)?;
        let all = fs::read(&results).unwrap_or_default();
        Ok(results::lines(&String::from_utf8_lossy(all.get(before..).unwrap_or_default())))
    }

    /// The last lines that a program of a peer's has written where the harness puts them.
    pub(super) fn log(&self, name: &str) -> Vec<String> {
        let bytes = fs::read(self.work.join("log").join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(LAST)).map(|line| (*line).to_owned()).collect()
    }

    fn script(&self) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.folder.join("run.sh")).arg(self.folder.join("params.env"));
        command.env("BENCH_TMP", &self.work).current_dir(&self.work);
        command
    }

    fn watched(&self, who: &str, command: &mut Command, shown: bool) -> Result<(), Trouble> {
        watched(who, command, |line| {
            if shown {
                println!("{line}");
            }
        })
    }

    /// A MariaDB that was killed leaves the file by which the harness knows that it runs.
    fn forget_the_dead(&self) -> Result<()> {
        let file = self.work.join("maria.pid");
        let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        if pid.is_none_or(|pid| test_kill_process(pid).is_err()) {
            fs::remove_file(&file)?;
        }
        Ok(())
    }

    /// Starts a process that waits until its input ends, which it does with this process at the latest, and then stops
    /// the servers. It has a group of its own, so that an interrupt from the terminal does not reach it.
    fn stopped_at_the_end(&self) -> Result<Servers> {
        // The harness does not wait for MariaDB, whose file is there until it has ended.
        const STOP: &str = "cat >/dev/null; bash \"$0\" \"$1\" stop; \
                            for _ in $(seq 300); do [ -e \"$BENCH_TMP/maria.pid\" ] || exit 0; sleep 0.1; done; exit 1";
        let mut command = Command::new("bash");
        command.args(["-c", STOP]).arg(self.folder.join("run.sh")).arg(self.folder.join("params.env"));
        command.env("BENCH_TMP", &self.work).current_dir(&self.work).process_group(0).stdin(Stdio::piped());
        Ok(Servers(command.spawn()?))
    }
}

impl Servers {
    /// Stops them.
    ///
    /// # Errors
    /// If one of them is still there.
    pub(super) fn stop(mut self) -> Result<()> {
        let stopped = self.end()?;
        if stopped && !PORTS.iter().any(|(_, port)| answers(*port)) {
            return Ok(());
        }
        Err("the harness's servers are still there: run its `run.sh params.env stop`".into())
    }

    fn end(&mut self) -> Result<bool> {
        drop(self.0.stdin.take());
        Ok(self.0.wait()?.success())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _there_is_nobody_to_tell = self.end();
    }
}

/// Runs a command whose lines are handed over, and keeps the last of them in case it fails.
pub(super) fn watched(who: &str, command: &mut Command, mut each: impl FnMut(&str)) -> Result<(), Trouble> {
    let mut said = VecDeque::new();
    let ended = shell::stream(command, |line| {
        each(line);
        if said.len() == LAST {
            said.pop_front();
        }
        said.push_back(line.to_owned());
    });
    let why = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => match status.code() {
            // What `timeout` ends with.
            Some(124 | 137) => "its time was over".to_owned(),
            _ => status.to_string(),
        },
        Err(error) => error.to_string(),
    };
    said.push_back(why);
    Err(Trouble { who: who.to_owned(), command: words(command), said: said.into() })
}

/// A command as it was called.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fails_is_named_with_its_command_and_its_last_lines() {
        let mut command = Command::new("bash");
        command.args(["-c", "seq 30; echo no such package >&2; exit 3"]);
        let trouble = watched("river", &mut command, |_| {}).unwrap_err();
        assert_eq!(trouble.who, "river");
        assert!(trouble.command.starts_with("bash -c seq 30"));
        assert_eq!(trouble.said.len(), LAST + 1);
        assert_eq!(trouble.said[LAST - 1..], ["no such package", "exit status: 3"]);
        let trouble = watched("pg-boss", &mut Command::new("there-is-no-such-program"), |_| {}).unwrap_err();
        assert!(trouble.said[0].contains("cannot be started"), "{:?}", trouble.said);
        assert_eq!(watched("river", &mut Command::new("true"), |_| {}), Ok(()));
    }

    #[test]
    fn a_folder_that_is_no_harness_is_refused() {
        let folder = shell::root();
        let said = Harness::at(&folder, &folder.join("nowhere")).unwrap_err().to_string();
        assert!(said.ends_with("it has no run.sh"), "{said}");
        assert!(!folder.join("nowhere").exists(), "nothing is made for it");
    }
}
