//! One server process: started as a user that may run it, watched until it is ready, ended.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::binaries;
use crate::shell::Result;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many of its last lines are shown if it does not.
const SHOWN: usize = 30;

/// A user of the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Who shall run a server: nobody else if we are not root, and otherwise the first of `names` that is there, for
    /// servers refuse to run as root.
    pub(super) fn for_server(names: &[&str]) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let known = fs::read_to_string("/etc/passwd")?;
        let found = names.iter().chain(&["nobody"]).find_map(|name| Self::named(&known, name));
        found
            .map(Some)
            .ok_or_else(|| format!("there is no user {} to run a server as", names.join(" or ")).into())
    }

    fn named(known: &str, name: &str) -> Option<Self> {
        let mut fields =
            known.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
        Some(Self { uid: fields.nth(2)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }

    /// Makes a folder that belongs to this user, or to us.
    pub(super) fn make_folder(user: Option<Self>, folder: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        Self::give(user, folder)
    }

    /// Writes a file that this user, or we, alone may read.
    pub(super) fn write(user: Option<Self>, file: &Path, text: &str) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut open = fs::OpenOptions::new();
        open.write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())?;
        Self::give(user, file)
    }

    fn give(user: Option<Self>, path: &Path) -> Result<()> {
        if let Some(Self { uid, gid }) = user {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Lets this user run a command, away from the terminal and in a group of its own.
    pub(super) fn lets_run(user: Option<Self>, command: &mut Command) {
        if let Some(Self { uid, gid }) = user {
            command.gid(gid).uid(uid);
        }
        // Messages are looked at, so they must be in one language.
        command.env("LC_ALL", "C").stdin(Stdio::null()).process_group(0).current_dir("/");
    }
}

/// A command that the kernel ends with this process, where `setpriv` can arrange that.
pub(super) fn mortal(program: &Path) -> Command {
    match binaries::program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args([
                OsStr::new("--pdeathsig"),
                OsStr::new("QUIT"),
                OsStr::new("--"),
                program.as_os_str(),
            ]);
            command
        }
        None => Command::new(program),
    }
}

/// A server that was started.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    /// How it is told to end at once.
    end: Signal,
    said: Receiver<String>,
}

impl Process {
    /// Starts a server. Call it from a thread that lives as long as the server shall.
    pub(super) fn start(name: &'static str, mut command: Command, end: Signal) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (mouth, said) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                // It must be read to its end, whether or not anybody listens: a full pipe would stop the server.
                for line in BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok) {
                    let _nobody_listens = mouth.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
        }
        Ok(Self { name, child, end, said })
    }

    /// Waits until the server says `words`.
    pub(super) fn wait_for(&self, words: &str) -> Result<()> {
        let mut said: Vec<String> = Vec::new();
        let why = loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return Ok(()),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => break "is not ready after a long time",
                Err(RecvTimeoutError::Disconnected) => break "ended before it was ready",
            }
        };
        let last = said.len().saturating_sub(SHOWN);
        Err(format!("{} {why}; its last words:\n{}", self.name, said[last..].join("\n")).into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, self.end);
        }
        let _ = self.child.wait();
    }
}
