//! Running other programs: shown before they run, from the root of the workspace, with their output where it belongs.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Whether what a command looked at is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
}

impl Verdict {
    pub(crate) const fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }

    pub(crate) fn is_good(self) -> bool {
        self == Self::Good
    }
}

/// The root of the workspace that this program was built from.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run` and `cargo test`; the other is for a program that was copied elsewhere and called by hand.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// This program, to be run again. Somebody who builds meanwhile replaces its file; the link still leads to what runs.
pub(crate) fn this() -> Result<Command> {
    let file = env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    Ok(Command::new(if file.exists() { file } else { "/proc/self/exe".into() }))
}

/// Shows a command as a person would type it.
pub(crate) fn show(command: &Command) {
    let mut line = String::from("$");
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_else(|| OsStr::new("")).to_string_lossy();
        line.push_str(&format!(" {}={}", name.to_string_lossy(), quoted(&value)));
    }
    let program = Path::new(command.get_program());
    line.push_str(&format!(" {}", program.file_stem().unwrap_or(program.as_os_str()).to_string_lossy()));
    for argument in command.get_args() {
        line.push_str(&format!(" {}", quoted(&argument.to_string_lossy())));
    }
    println!("{line}");
}

fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_=./:,@+<>%".contains(c));
    if plain { text.to_owned() } else { format!("'{text}'") }
}

/// Shows and runs a command whose output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<Verdict> {
    show(command);
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    Ok(Verdict::of(status.success()))
}

/// Runs a command for its output.
///
/// # Errors
/// If it cannot be started or fails; the message has what it said.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {}", name(command), said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Shows and runs a command, and hands over each line that it says, on whichever stream, in the order in which they
/// came.
pub(crate) fn stream(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    show(command);
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().map_err(|error| cannot_start(command, &error))?;
    // The command keeps its own ends of the pipe, which would never let it run dry.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    Ok(child.wait()?)
}

fn name(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().take(2).map(OsStr::to_string_lossy).collect();
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy();
    format!("{program} {}", arguments.join(" "))
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("{} cannot be started: {error}", name(command))
}

/// What cargo knows of the workspace and of everything that it depends on here.
///
/// # Errors
/// If `Cargo.lock` does not fit the manifests.
pub(crate) fn metadata() -> Result<Value> {
    let version = capture(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", host];
    Ok(serde_json::from_str(&capture(&mut cargo(&arguments))?)?)
}

/// The names of the packages of the workspace.
pub(crate) fn members() -> Result<Vec<String>> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let known: Value = serde_json::from_str(&capture(&mut cargo(&arguments))?)?;
    let packages = known["packages"].as_array().into_iter().flatten();
    Ok(packages.filter_map(|package| package["name"].as_str().map(str::to_owned)).collect())
}

/// The folder that builds go to.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let known: Value = serde_json::from_str(&capture(&mut cargo(&arguments))?)?;
    let path = known["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
    Ok(PathBuf::from(path))
}

/// Measures how long a command takes, for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "it times a build and decides nothing")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds, to a tenth.
    pub(crate) fn seconds(self) -> f64 {
        (self.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }
}
