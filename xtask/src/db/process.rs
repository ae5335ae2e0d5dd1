//! One server process: started as a user that may run it, watched until it is ready, ended.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Server, binaries};
use crate::shell::Result;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many of its last lines are shown if it does not.
const SHOWN: usize = 30;
/// How often a server that was ended is started before that has failed, and the time in between.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

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

/// How a server is started and ended.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) server: Server,
    pub(super) command: Command,
    /// What it says when it is ready.
    pub(super) ready: &'static str,
    /// How it is told to end in good order, whoever is connected.
    pub(super) stop: Signal,
    /// How it is told to end at once.
    pub(super) end: Signal,
    /// The folder of its data, if it has some of its own.
    pub(super) data: Option<PathBuf>,
}

/// How a server is ended before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// In good order: it breaks connections off and closes its files.
    Orderly,
    /// As in a hurry: it breaks off what it does, and has to recover, but lets go of what it holds.
    AtOnce,
    /// As a crash would: it is killed, and has to recover.
    Hard,
}

impl How {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Orderly => "orderly",
            Self::AtOnce => "at-once",
            Self::Hard => "hard",
        }
    }
}

/// A server that was started.
#[derive(Debug)]
pub(super) struct Process {
    recipe: Recipe,
    child: Child,
    said: Receiver<String>,
}

impl Process {
    /// Starts a server, and answers when it is ready. Call it from a thread that lives as long as the server shall.
    pub(super) fn start(mut recipe: Recipe) -> Result<Self> {
        let (child, said) = spawn(&mut recipe)?;
        let process = Self { recipe, child, said };
        process.wait_until_ready()?;
        Ok(process)
    }

    /// Which server it is.
    pub(super) fn server(&self) -> Server {
        self.recipe.server
    }

    /// Ends the server and starts it again after `away`, with the same data on the same port; answers when it is ready.
    pub(super) fn restart(&mut self, how: How, away: Duration) -> Result<()> {
        self.restart_after(how, || {
            pause(away);
            Ok(())
        })
    }

    /// Takes a backup: the server's data, copied while it is stopped in good order. It takes the place of an earlier one.
    pub(super) fn keep(&mut self) -> Result<()> {
        let (data, kept) = self.folders()?;
        self.restart_after(How::Orderly, || copy(&data, &kept))
    }

    /// Puts the backup in the place of the data, as an administrator would: with the server stopped meanwhile.
    pub(super) fn put_back(&mut self) -> Result<()> {
        let (data, kept) = self.folders()?;
        if !kept.exists() {
            return Err(format!("nothing of {} was kept", self.recipe.server.name()).into());
        }
        self.restart_after(How::Orderly, || copy(&kept, &data))
    }

    /// The folder of the data, and that of the backup.
    fn folders(&self) -> Result<(PathBuf, PathBuf)> {
        let none = || format!("{} has no data of its own", self.recipe.server.name());
        let data = self.recipe.data.clone().ok_or_else(none)?;
        let kept = data.with_extension("kept");
        Ok((data, kept))
    }

    /// Ends the server, does what is to be done while it is away, and starts it again.
    fn restart_after(&mut self, how: How, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        self.signal(match how {
            How::Orderly => self.recipe.stop,
            How::AtOnce => self.recipe.end,
            How::Hard => Signal::KILL,
        });
        self.child.wait()?;
        meanwhile()?;
        let mut tries = 0;
        loop {
            (self.child, self.said) = spawn(&mut self.recipe)?;
            tries += 1;
            match self.wait_until_ready() {
                // The children of a server that was killed may hold its memory for a moment, or a client its port.
                Err(_) if tries < TRIES => {
                    self.signal(self.recipe.end);
                    self.child.wait()?;
                    pause(BETWEEN_TRIES);
                }
                ready => return ready,
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, signal);
        }
    }

    /// Waits until the server says that it is ready.
    fn wait_until_ready(&self) -> Result<()> {
        let mut said: Vec<String> = Vec::new();
        let why = loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(self.recipe.ready) => return Ok(()),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => break "is not ready after a long time",
                Err(RecvTimeoutError::Disconnected) => break "ended before it was ready",
            }
        };
        let last = said.len().saturating_sub(SHOWN);
        let name = self.recipe.server.name();
        Err(format!("{name} {why}; its last words:\n{}", said[last..].join("\n")).into())
    }
}

/// Copies a folder with owners and rights to the place of another one.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let done = Command::new("cp").arg("-a").arg(from).arg(to).output()?;
    if !done.status.success() {
        return Err(format!("cp: {}", String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a server is to be away, or what it left behind is to end")]
fn pause(span: Duration) {
    thread::sleep(span);
}

fn spawn(recipe: &mut Recipe) -> Result<(Child, Receiver<String>)> {
    let name = recipe.server.name();
    recipe.command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = recipe.command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
    let (mouth, said) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            // It must be read to its end, whether or not anybody listens: a full pipe would stop the server.
            for line in BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok) {
                let _nobody_listens = mouth.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
    Ok((child, said))
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.recipe.end);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_another_process_after_a_restart() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 'ready to serve' >&2; exec cat"]).stdin(Stdio::piped());
        let recipe = Recipe {
            server: Server::Postgres,
            command,
            ready: "ready",
            stop: Signal::TERM,
            end: Signal::KILL,
            data: None,
        };
        let mut process = Process::start(recipe).unwrap();
        for how in [How::Orderly, How::AtOnce, How::Hard] {
            let before = process.child.id();
            process.restart(how, Duration::ZERO).unwrap();
            assert_ne!(process.child.id(), before);
            assert!(process.child.try_wait().unwrap().is_none(), "it runs");
        }
    }

    #[test]
    fn what_was_kept_is_put_back() {
        let folder = std::env::temp_dir().join(format!("punctual-kept-{}", std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 'ready to serve' >&2; exec cat"]).stdin(Stdio::piped());
        let mut process = Process::start(Recipe {
            server: Server::Postgres,
            command,
            ready: "ready",
            stop: Signal::TERM,
            end: Signal::KILL,
            data: Some(data.clone()),
        })
        .unwrap();
        assert!(process.put_back().is_err(), "nothing was kept");
        fs::write(data.join("row"), "old").unwrap();
        process.keep().unwrap();
        fs::write(data.join("row"), "new").unwrap();
        fs::write(data.join("more"), "").unwrap();
        process.put_back().unwrap();
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "old");
        assert!(!data.join("more").exists());
        drop(process);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_server_that_ends_early_is_quoted() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 'no room' >&2; exit 1"]);
        let recipe = Recipe {
            server: Server::Mysql,
            command,
            ready: "ready",
            stop: Signal::TERM,
            end: Signal::KILL,
            data: None,
        };
        let why = Process::start(recipe).unwrap_err().to_string();
        assert!(why.contains("mysql ended before it was ready") && why.contains("no room"), "{why}");
    }
}
