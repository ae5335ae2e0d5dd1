//! `punctual demo`: a cluster of real processes on one database, hurt in real ways, and judged by what it left behind.
//!
//! The demo itself only watches and hurts: nodes are `punctual run` on a schedule file like anybody's, jobs are
//! processes, faults are signals. What became of every firing is computed afterwards by `punctual-checker` from the
//! nodes' journals, the bodies' own log, the log of faults and the final tables.

mod args;
pub(crate) mod body;
mod cluster;
mod drain;
mod failed;
mod faults;
mod ground;
mod outage;
mod schedule;
mod session;
mod tail;
mod verdict;
mod view;
mod watch;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use punctual::runtime::{Settings, SystemClock};
use punctual_checker::Window;
use punctual_core::{Clock, Profile};

pub(crate) use self::args::DemoArgs;
use self::args::{Plan, Step};
use self::cluster::{Cluster, Launch};
use self::failed::Failed;
use self::faults::FaultLog;
use self::ground::Ground;
use self::session::{Inside, Session};
use self::verdict::{Evidence, Report};
use self::view::View;
use self::watch::Watch;

/// How many executions a node runs at once: enough for a burst after a fault, few enough for a small machine.
const CAPACITY: u32 = 24;

/// Holds the demo.
pub(crate) async fn run(args: DemoArgs) -> ExitCode {
    let prepared = args.plan().and_then(|plan| Ok((plan, Dir::make(args.dir.as_deref())?)));
    let (plan, dir) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return refuse(&why),
    };
    let ground = match ground(&args, &plan, &dir.path).await {
        Ok(ground) => ground,
        Err(why) => {
            dir.close(Leave::Nothing);
            return refuse(&why);
        }
    };
    let outcome = hold(&args, plan, &dir.path, &ground).await;
    let leave = match &outcome {
        Ok(report) if report.kept => Leave::Nothing,
        Err(why) if why.wanted => Leave::Nothing,
        _ => Leave::Everything,
    };
    let code = tell(&args, outcome);
    clear(ground, if dir.temporary { leave } else { Leave::Everything }).await;
    dir.close(leave);
    code
}

/// Says what came of it.
fn tell(args: &DemoArgs, outcome: Result<Report, Failed>) -> ExitCode {
    match outcome {
        Ok(report) => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let coloured = io::stdout().is_terminal() && !args.json && !plain;
            let text = verdict::text(&report, coloured);
            let printed = if args.json {
                let json = serde_json::to_string(&report).unwrap_or_default();
                write!(io::stderr(), "{text}").and_then(|()| writeln!(io::stdout(), "{json}"))
            } else {
                write!(io::stdout(), "\n{text}")
            };
            // Who cannot hear the verdict must not take it for a good one.
            ExitCode::from(u8::from(!report.kept || printed.is_err()))
        }
        Err(why) => refuse(&why),
    }
}

async fn ground(args: &DemoArgs, plan: &Plan, dir: &Path) -> Result<Ground, Failed> {
    let ground = Ground::make(args.db.as_deref(), dir, inside(args)).await?;
    if plan.iter().any(|(_, step)| *step == Step::RestartDb) && !ground.is_server() {
        return Err(Failed::new(
            "--restart-db-after needs a server, which --db postgres://… or mysql://… names",
        ));
    }
    Ok(ground)
}

const fn inside(args: &DemoArgs) -> Inside {
    if args.freeze_inside { Inside::Transaction } else { Inside::Nothing }
}

/// Takes away what the run had for itself on a server, or says where it is.
async fn clear(ground: Ground, leave: Leave) {
    let Some(leftover) = ground.leftover() else { return };
    let why = match leave {
        Leave::Everything => String::new(),
        Leave::Nothing => match ground.clear().await {
            Ok(()) => return,
            Err(why) => format!(" ({why})"),
        },
    };
    let _ = writeln!(io::stderr(), "what the run left behind is kept in {leftover}{why}");
}

fn refuse(why: &Failed) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: demo: {why}");
    // As shells have it for what Ctrl-C ended.
    if why.wanted { ExitCode::from(130) } else { ExitCode::FAILURE }
}

async fn hold(args: &DemoArgs, plan: Plan, dir: &Path, ground: &Ground) -> Result<Report, Failed> {
    let exe = std::env::current_exe().map_err(Failed::at("finding this program"))?;
    let launch = Launch {
        file: dir.join("demo.toml"),
        db: ground.text().to_owned(),
        bodies: dir.join("bodies.jsonl"),
        capacity: CAPACITY,
        dir: dir.to_owned(),
        exe,
    };
    let log = dir.join("faults.jsonl");
    if log.exists() {
        let why = "is there already; the demo judges a whole history, so give it an empty --dir";
        return Err(Failed::new(format!("{} {why}", log.display())));
    }
    let faults = FaultLog::create(log)?;
    fs::write(&launch.bodies, "").map_err(Failed::at(launch.bodies.display()))?;
    let schedule = schedule::text(&launch.exe)?;
    fs::write(&launch.file, schedule).map_err(Failed::at(launch.file.display()))?;

    let store = ground.open().await?;
    let from = store.now().await.map_err(|error| Failed::new(error.chain()))?;
    let bodies = launch.bodies.clone();
    let (profile, poll) = (Profile::FAST, Settings::default().poll);

    let watch = Watch::new(bodies.clone());
    let cluster = Cluster::new(launch, args.nodes, faults);
    let mut session = Session::new(cluster, watch, View::new(args.json), store, ground, args.seed)?;
    session.whole = args.span;
    session.viewer_restart = args.viewer_restart();
    session.freeze = (args.freeze_for, inside(args));
    session.restart = (args.restart_db_with.clone().unwrap_or_default(), dir.to_owned());
    session.view.say(&format!(
        "{} nodes, {} jobs, profile fast, {:?}, on {ground}; everything is in {}",
        args.nodes,
        schedule::jobs(),
        args.span,
        dir.display()
    ));
    session.up().await?;
    session.play(plan).await?;

    let until = session.store.now().await.map_err(|error| Failed::new(error.chain()))?;
    drain::drain(&mut session, until).await?;
    drain::stop(&mut session, until).await?;
    let evidence = Evidence {
        journals: session.cluster.all().map(|process| process.journal.clone()).collect(),
        bodies,
        faults: session.cluster.faults().to_owned(),
        tables: verdict::tables(&*session.store).await?,
        window: Window { from, until },
        profile,
        bound: profile.takeover_bound(poll),
        store: session.store.features().name,
    };
    drop(session);
    verdict::judge(evidence, args.nodes)
}

/// What stays of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// All of it, because it was not good.
    Everything,
    /// None of it.
    Nothing,
}

/// The directory of a run.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    /// Whether the demo made it for this run alone.
    temporary: bool,
}

impl Dir {
    fn make(asked: Option<&Path>) -> Result<Self, Failed> {
        if let Some(path) = asked {
            fs::create_dir_all(path).map_err(Failed::at(path.display()))?;
            let path = fs::canonicalize(path).map_err(Failed::at(path.display()))?;
            return Ok(Self { path, temporary: false });
        }
        let unique = format!("punctual-demo-{}-{}", std::process::id(), SystemClock.boot().as_micros());
        let path = std::env::temp_dir().join(unique);
        fs::create_dir(&path).map_err(Failed::at(path.display()))?;
        Ok(Self { path, temporary: true })
    }

    /// Removes it, unless it was asked for, or somebody will want to look into it.
    fn close(self, leave: Leave) {
        if !self.temporary {
            return;
        }
        if leave == Leave::Everything {
            let _ = writeln!(io::stderr(), "what the run left behind is kept in {}", self.path.display());
        } else if let Err(why) = fs::remove_dir_all(&self.path) {
            let _ = writeln!(io::stderr(), "{} could not be removed: {why}", self.path.display());
        }
    }
}
