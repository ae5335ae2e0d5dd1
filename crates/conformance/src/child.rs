//! The second process of a case: the test program, started again to die in the middle of a step.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use punctual_core::memory::ManualClock;
use punctual_core::store::hook::Side;
use punctual_core::{Error, Result, Timestamp};
use tokio::runtime::Runtime;

use crate::bench::Bench;
use crate::harness::{Harness, Space};
use crate::probe::{Point, Probe};
use crate::scene;

/// The variable that makes a test program a child; its parts are separated by `|`.
const VARIABLE: &str = "PUNCTUAL_CONFORMANCE_CHILD";

/// The exit status of a child that has died where it was told to.
pub(crate) const DIED: i32 = 86;
/// That of one whose step ended before it came there.
const SURVIVED: u8 = 87;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Where it was told to.
    Died,
    /// Its step ended before.
    Survived,
}

/// Starts this program again, to do a scene's step in a space and die at a point. Blocks until it has ended.
pub(crate) fn run(
    space: &Space,
    scene: &str,
    t0: Timestamp,
    point: Point,
    environment: Vec<(&'static str, String)>,
) -> Result<End, String> {
    let side = if point.side == Side::Before { "before" } else { "after" };
    let now = space.manual_clock_wall().as_micros();
    let folder = space.folder().to_string_lossy();
    let told =
        format!("{}|{folder}|{now}|{scene}|{}|{}|{side}", space.name(), t0.as_micros(), point.statement);
    let program = env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    let mut command = Command::new(program);
    command
        .envs(environment)
        .env(VARIABLE, told)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let output =
        command.output().map_err(|error| format!("this program cannot be started again: {error}"))?;
    match output.status.code() {
        Some(DIED) => Ok(End::Died),
        Some(code) if code == i32::from(SURVIVED) => Ok(End::Survived),
        _ => Err(format!("the second process ended otherwise: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// What this process is told to do, if it is a child.
pub(crate) fn told() -> Option<String> {
    env::var(VARIABLE).ok()
}

/// Does what a child is told to; ends the process where it is told to.
pub(crate) fn play(runtime: &Runtime, harness: Arc<dyn Harness>, told: &str) -> Result<ExitCode> {
    let defect = || Error::internal("child", format!("`{told}` cannot be understood"));
    let parts: Vec<&str> = told.split('|').collect();
    let [name, folder, now, scene, t0, statement, side] = parts.as_slice() else { return Err(defect()) };
    let micros = |text: &str| text.parse().map(Timestamp::from_micros).map_err(|_| defect());
    let space = Space::new(name, Path::new(folder), ManualClock::at(micros(now)?));
    let side = if *side == "before" { Side::Before } else { Side::After };
    let point = Point { statement: statement.parse().map_err(|_| defect())?, side };
    let t0 = micros(t0)?;
    let scene = scene::named(scene).ok_or_else(defect)?;
    runtime.block_on(async {
        let bench = Bench::at(harness, space, scene.name, t0).await;
        let step = (scene.step)(&bench).await;
        let probe = Arc::new(Probe::default());
        let store = bench.hooked(&probe).await;
        probe.die_at(point);
        // What became of it is for the parent to see.
        let _ = step.run(&*store).await;
        // Nothing is closed in an orderly way here either.
        std::process::exit(i32::from(SURVIVED))
    })
}
