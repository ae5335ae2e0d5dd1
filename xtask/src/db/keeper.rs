//! The keeper: a process that owns servers, so that nothing stays behind however the command that wanted them ended.
//!
//! It ends the servers and deletes their data when its standard input closes, which the kernel sees to when the command
//! dies, or, for `up`, when it is told so through its socket. It says one JSON object and nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::kept::{self, DONE, Kept, Word};
use super::process::Process;
use super::servers::{self, Plan};
use super::{Urls, urls_of, urls_to_json};
use crate::shell::{self, Result, Verdict};

/// Folders of keepers begin so; the keeper's process id follows.
const FOLDER: &str = "punctual-db-";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to start, as JSON.
    plan: String,
    /// Stay until told to end through the socket.
    #[arg(long)]
    stay: bool,
}

/// A keeper that lives as long as this does.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    lifeline: Option<ChildStdin>,
    socket: PathBuf,
}

impl Keeper {
    /// Starts servers that end with this process.
    pub(super) fn while_we_live(plan: &Plan) -> Result<(Self, Urls)> {
        let (keeper, said) = Self::start(plan, false)?;
        Ok((keeper, urls_of(&said["urls"])))
    }

    /// Starts servers that stay until they are told to end.
    pub(super) fn until_told(plan: &Plan) -> Result<Kept> {
        let (mut keeper, said) = Self::start(plan, true)?;
        let kept =
            Kept { socket: said["socket"].as_str().unwrap_or_default().into(), urls: urls_of(&said["urls"]) };
        kept::write(&kept)?;
        // From here on it is nobody's child: dropping must not wait for it.
        drop(keeper.lifeline.take());
        std::mem::forget(keeper);
        Ok(kept)
    }

    /// Where it takes words.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn start(plan: &Plan, stay: bool) -> Result<(Self, Value)> {
        println!("starting throw-away servers");
        let mut command = shell::this()?;
        command.args(["db", "keep"]).args(stay.then_some("--stay")).arg(plan.to_json().to_string());
        // Out of our group, so that Ctrl-C reaches us and not it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn();
        let mut child =
            child.map_err(|error| format!("the keeper of the servers does not start: {error}"))?;
        let (lifeline, stdout) = (child.stdin.take(), child.stdout.take());
        let mut keeper = Self { child, lifeline, socket: PathBuf::new() };
        let mut line = String::new();
        BufReader::new(stdout.ok_or("the keeper has no output")?).read_line(&mut line)?;
        let said: Value =
            serde_json::from_str(&line).map_err(|_| "the keeper of the servers ended without a word")?;
        match said["error"].as_str() {
            Some(error) => Err(error.to_owned().into()),
            None => {
                keeper.socket = said["socket"].as_str().unwrap_or_default().into();
                Ok((keeper, said))
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.child.wait();
    }
}

/// What the keeper does.
pub(super) fn keep(options: &Options) -> Result<Verdict> {
    let plan = Plan::from_json(&serde_json::from_str(&options.plan)?);
    sweep();
    let folder = Folder::make()?;
    let socket = folder.0.join("keeper");
    let listener = UnixListener::bind(&socket)?;
    let started = servers::start(&plan, &folder.0);
    let word = match &started {
        Ok((_, urls)) => json!({"urls": urls_to_json(urls), "socket": socket}),
        Err(error) => json!({"error": error.to_string()}),
    };
    // If nobody listens any more, the lifeline says so too.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{word}").and_then(|()| stdout.flush());
    let Ok((processes, _)) = started else { return Ok(Verdict::Bad) };
    let processes = Arc::new(Mutex::new(processes));
    let caller = if options.stay {
        Some(obey(&listener, &processes)?)
    } else {
        // It is told things as well, but ends with its life line.
        let servers = Arc::clone(&processes);
        thread::spawn(move || while obey(&listener, &servers).is_ok() {});
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        None
    };
    // Somebody may be restarting one of them, and then lets it go.
    processes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    drop(folder);
    // Its end is the caller's answer.
    drop(caller);
    Ok(Verdict::Good)
}

/// Does what callers say, until one says that this is the end; those who say nothing only look whether we are there.
fn obey(listener: &UnixListener, processes: &Mutex<Vec<Process>>) -> Result<UnixStream> {
    loop {
        let (mut caller, _) = listener.accept()?;
        let mut word = String::new();
        let read = caller.read_to_string(&mut word);
        match read.ok().and_then(|_| Word::of(&word)) {
            Some(Word::End) => return Ok(caller),
            Some(word @ (Word::Restart(server, ..) | Word::Keep(server) | Word::PutBack(server))) => {
                let mut processes = processes.lock().unwrap_or_else(PoisonError::into_inner);
                let process = processes.iter_mut().find(|process| process.server() == server);
                let done = process.map(|process| match word {
                    Word::Keep(_) => process.keep(),
                    Word::PutBack(_) => process.put_back(),
                    Word::Restart(_, how, away) => process.restart(how, Duration::from_secs(away)),
                    Word::End => Ok(()),
                });
                let answer = match done {
                    Some(Ok(())) => DONE.to_owned(),
                    Some(Err(error)) => error.to_string(),
                    None => format!("{} is not up", server.name()),
                };
                drop(processes);
                // A caller that is gone needs no answer.
                let _ = caller.write_all(answer.as_bytes());
            }
            None => {}
        }
    }
}

/// The folder of all data of this keeper.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        fs::create_dir(&path)?;
        // Servers run as other users, and each has a folder of its own in here.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Deletes what keepers that were killed have left.
fn sweep() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| is_left_over(path)) {
        let _not_ours = fs::remove_dir_all(path);
    }
}

fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid =
        name.strip_prefix(FOLDER).and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}
