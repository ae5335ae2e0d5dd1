//! Many processes that open one database, as the instances of a service do when it is deployed.
//!
//! Each is the program `opener`, says what it does line by line, and waits to be let go, so that all can be there before
//! the first one begins.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use punctual::core::Clock;
use punctual::runtime::SystemClock;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The longest that nobody may say a word. Longer than a process waits for another one that migrates.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What an opener says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// It is there, and waits to be let go.
    Ready,
    /// It stands where it was told to halt, and waits to be told to go on.
    Halted {
        /// The call.
        at: String,
    },
    /// It has migrated, because it was told to halt in between.
    Migrated {
        /// The versions that it applied.
        applied: Vec<i64>,
    },
    /// The store is open and has answered a read.
    Open {
        /// How long that took from when it was let go.
        milliseconds: u64,
    },
    /// It was refused.
    Refused {
        /// The kind of the error.
        kind: String,
        /// Its message.
        message: String,
    },
}

impl Word {
    /// The line that says it.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a word is JSON")
    }
}

/// What is heard of an opener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A word.
    Said(Word),
    /// A line of a log, or of a panic.
    Logged(String),
    /// It has ended, so.
    Ended(ExitStatus),
}

/// Whether a line of a log is one that somebody should look at. What is no line of a log is one, too.
pub fn is_trouble(line: &str) -> bool {
    !line.trim_start().starts_with("INFO ")
}

/// The version of a line of a log that tells of a migration.
pub fn applied(line: &str) -> Option<i64> {
    let (_, version) = line.split_once(": migrated ")?.1.split_once("version=")?;
    version.split(' ').next()?.parse().ok()
}

/// Openers of one database; those that are still there are killed with this value.
pub struct Crowd {
    program: PathBuf,
    location: String,
    openers: Vec<Opener>,
    heard: UnboundedReceiver<(usize, Option<String>)>,
    mouth: UnboundedSender<(usize, Option<String>)>,
}

struct Opener {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("openers", &self.openers.len()).finish_non_exhaustive()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for opener in &mut self.openers {
            let _ = opener.child.kill();
            let _ = opener.child.wait();
        }
    }
}

impl Crowd {
    /// Nobody yet. `program` is the one of openers.
    pub fn new(program: impl AsRef<Path>, location: &str) -> Self {
        let (mouth, heard) = unbounded_channel();
        let (program, location) = (program.as_ref().to_owned(), location.to_owned());
        Self { program, location, openers: Vec::new(), heard, mouth }
    }

    /// Starts a process and answers its number, from 0. `arguments` follow the location.
    ///
    /// # Errors
    /// Those of the system.
    pub fn start(&mut self, arguments: &[&str]) -> io::Result<usize> {
        let who = self.openers.len();
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.program);
        command.arg(&self.location).args(arguments).env_remove("PUNCTUAL_MIGRATE");
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command has ends of the pipe too, which would never let it run dry.
        drop(command);
        let stdin = child.stdin.take();
        let mouth = self.mouth.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _nobody_listens = mouth.send((who, Some(line)));
            }
            let _nobody_listens = mouth.send((who, None));
        });
        self.openers.push(Opener { child, stdin });
        Ok(who)
    }

    /// Starts some processes, and answers their numbers when all are ready.
    ///
    /// # Errors
    /// Those of the system; `TimedOut` if they are not; `Other` if one says anything else.
    pub async fn start_many(&mut self, count: usize, arguments: &[&str]) -> io::Result<Vec<usize>> {
        let many: Vec<usize> = (0..count).map(|_| self.start(arguments)).collect::<io::Result<_>>()?;
        for _ in &many {
            let (who, heard) = self.hear().await?;
            if heard != Heard::Said(Word::Ready) {
                return Err(io::Error::other(format!("process {who} should be ready, and: {heard:?}")));
            }
        }
        Ok(many)
    }

    /// Lets a process go, or go on from where it halts. One that is gone needs no word.
    pub fn go(&mut self, who: usize) {
        if let Some(stdin) = &mut self.openers[who].stdin {
            let _gone_already = stdin.write_all(b"go\n");
        }
    }

    /// The next that is heard of any process.
    ///
    /// # Errors
    /// `TimedOut` if that is nothing for [`PATIENCE`]; those of the system.
    ///
    /// # Cancel safety
    /// What was not answered is heard by the next call.
    pub async fn hear(&mut self) -> io::Result<(usize, Heard)> {
        let (who, line) = tokio::select! {
            heard = self.heard.recv() => heard.expect("the crowd itself has a mouth"),
            () = SystemClock.sleep(PATIENCE) => {
                let why = format!("no process said a word for {} s", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        };
        Ok(match line {
            None => (who, Heard::Ended(self.openers[who].child.wait()?)),
            Some(line) => match serde_json::from_str(&line) {
                Ok(word) => (who, Heard::Said(word)),
                Err(_) => (who, Heard::Logged(line)),
            },
        })
    }

    /// What one process says next but for its log. Others must be silent meanwhile.
    ///
    /// # Errors
    /// As [`Crowd::hear`]; `Other` if another one is heard, or this one ends.
    pub async fn word(&mut self, whose: usize) -> io::Result<Word> {
        loop {
            match self.hear().await? {
                (who, Heard::Said(word)) if who == whose => return Ok(word),
                (_, Heard::Logged(line)) if !is_trouble(&line) => {}
                heard => {
                    let why = format!("process {whose} should say a word, and: {heard:?}");
                    return Err(io::Error::other(why));
                }
            }
        }
    }

    /// Waits until a process has ended.
    ///
    /// # Errors
    /// As [`Crowd::word`].
    pub async fn end(&mut self, whose: usize) -> io::Result<ExitStatus> {
        match self.hear().await? {
            (who, Heard::Ended(status)) if who == whose => Ok(status),
            heard => Err(io::Error::other(format!("process {whose} should end, and: {heard:?}"))),
        }
    }

    /// Ends a process as `kill -9` does.
    ///
    /// # Errors
    /// Those of the system.
    pub fn kill(&mut self, who: usize) -> io::Result<()> {
        self.openers[who].child.kill()
    }

    /// Stops a process as a debugger or a paused container does.
    ///
    /// # Errors
    /// Those of the system.
    pub fn freeze(&self, who: usize) -> io::Result<()> {
        self.signal(who, Signal::STOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn thaw(&self, who: usize) -> io::Result<()> {
        self.signal(who, Signal::CONT)
    }

    fn signal(&self, who: usize, signal: Signal) -> io::Result<()> {
        // It was not waited for, so the number is still its own.
        let pid = i32::try_from(self.pid(who)).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.expect("a pid is a positive number"), signal)?)
    }

    /// The number by which the system knows a process.
    pub fn pid(&self, who: usize) -> u32 {
        self.openers[who].child.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_what_was_applied_and_what_is_trouble() {
        let told = " INFO punctual_mysql::migrate: migrated database=\"d\" version=2 name=queues";
        assert_eq!((applied(told), is_trouble(told)), (Some(2), false));
        let warned = " WARN sqlx::query: slow statement version=2";
        assert_eq!((applied(warned), is_trouble(warned)), (None, true));
        assert!(is_trouble("thread 'main' panicked at tests/src/x.rs:1:1:"));
    }
}
