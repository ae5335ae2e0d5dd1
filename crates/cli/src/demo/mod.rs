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
mod probe;
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

use punctual::SqliteStore;
use punctual::runtime::{Settings, SystemClock};
use punctual_checker::Window;
use punctual_core::{Clock, JobStore, Profile};

pub(crate) use self::args::DemoArgs;
use self::args::Plan;
use self::cluster::{Cluster, Launch};
use self::failed::Failed;
use self::faults::FaultLog;
use self::probe::Probe;
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
    let outcome = hold(&args, plan, &dir.path).await;
    match outcome {
        Ok(report) => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let coloured = io::stdout().is_terminal() && !args.json && !plain;
            let text = verdict::text(&report, coloured);
            let kept = report.kept;
            let printed = if args.json {
                let json = serde_json::to_string(&report).unwrap_or_default();
                write!(io::stderr(), "{text}").and_then(|()| writeln!(io::stdout(), "{json}"))
            } else {
                write!(io::stdout(), "\n{text}")
            };
            dir.close(!kept);
            // Who cannot hear the verdict must not take it for a good one.
            ExitCode::from(u8::from(!kept || printed.is_err()))
        }
        Err(why) => {
            dir.close(!why.wanted);
            refuse(&why)
        }
    }
}

fn refuse(why: &Failed) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: demo: {why}");
    // As shells have it for what Ctrl-C ended.
    if why.wanted { ExitCode::from(130) } else { ExitCode::FAILURE }
}

async fn hold(args: &DemoArgs, plan: Plan, dir: &Path) -> Result<Report, Failed> {
    let exe = std::env::current_exe().map_err(Failed::at("finding this program"))?;
    let launch = Launch {
        file: dir.join("demo.toml"),
        db: args.db.clone().unwrap_or_else(|| dir.join("demo.db")),
        bodies: dir.join("bodies.jsonl"),
        capacity: CAPACITY,
        dir: dir.to_owned(),
        exe,
    };
    let log = dir.join("faults.jsonl");
    if let Some(old) = [&launch.db, &log].into_iter().find(|path| path.exists()) {
        let why = "is there already; the demo judges a whole history, so give it an empty --dir and a --db of its own";
        return Err(Failed::new(format!("{} {why}", old.display())));
    }
    let faults = FaultLog::create(log)?;
    fs::write(&launch.bodies, "").map_err(Failed::at(launch.bodies.display()))?;
    let schedule = schedule::text(&launch.exe)?;
    fs::write(&launch.file, schedule).map_err(Failed::at(launch.file.display()))?;

    let store = SqliteStore::open(&launch.db).await.map_err(|error| Failed::new(error.chain()))?;
    let probe = Probe::open(&launch.db)?;
    let from = store.now().await.map_err(|error| Failed::new(error.chain()))?;
    let bodies = launch.bodies.clone();
    let (profile, poll) = (Profile::FAST, Settings::default().poll);

    let watch = Watch::new(bodies.clone());
    let cluster = Cluster::new(launch, args.nodes, faults);
    let mut session = Session::new(cluster, watch, View::new(args.json), store, probe, args.seed)?;
    session.whole = args.span;
    session.viewer_restart = args.viewer_restart();
    session.freeze =
        (args.freeze_for, if args.freeze_inside { Inside::Transaction } else { Inside::Nothing });
    session.view.say(&format!(
        "{} nodes, {} jobs, profile fast, {:?}; everything is in {}",
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
        tables: verdict::tables(&session.store).await?,
        window: Window { from, until },
        profile,
        bound: profile.takeover_bound(poll),
    };
    drop(session);
    verdict::judge(evidence, args.nodes)
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

    /// Removes it, unless somebody will want to look into it.
    fn close(self, keep: bool) {
        if !self.temporary {
            return;
        }
        if keep {
            let _ = writeln!(io::stderr(), "what the run left behind is kept in {}", self.path.display());
        } else if let Err(why) = fs::remove_dir_all(&self.path) {
            let _ = writeln!(io::stderr(), "{} could not be removed: {why}", self.path.display());
        }
    }
}
