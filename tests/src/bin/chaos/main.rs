//! Hurts a cluster of real processes on a real database in every way that it can, and has the checker judge what is left:
//! `chaos PLAN`, started by `cargo xtask chaos`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

mod commands;
mod ending;
mod ground;
mod judge;
mod restore;
mod run;
mod schedule;
mod seats;
mod view;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use punctual::core::Clock;
use punctual::core::entropy::SeededEntropy;
use punctual::runtime::SystemClock;
use punctual::{Profile, Scheduler};
use punctual_checker::{FaultEvent, Window};
use punctual_tests::chaos::{die_with_parent, work};
use punctual_tests::place::{Kind, Trouble};
use serde::Deserialize;

use self::ground::Ground;
use self::run::{Counts, Run};
use self::seats::Seat;
use self::view::View;

/// What is asked for.
#[derive(Debug, Deserialize)]
struct Plan {
    store: Store,
    minutes: f64,
    seed: u64,
    #[serde(default)]
    mutant: Option<String>,
    json: bool,
    /// Where the evidence goes. What is there is deleted.
    folder: PathBuf,
    /// The socket of whoever can restart the server.
    #[serde(default)]
    keeper: Option<PathBuf>,
    /// How many workers there are; all of them unless given.
    #[serde(default)]
    workers: Option<usize>,
    /// The command `punctual`, if the store is to be put back to a backup in the middle of the run.
    #[serde(default)]
    restore: Option<PathBuf>,
    /// Whether a disk may be made and mounted: nobody else sees the mounts of this process.
    #[serde(default)]
    may_mount: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Store {
    Postgres,
    Mysql,
    Sqlite,
}

impl Store {
    const fn kind(self) -> Kind {
        match self {
            Self::Postgres => Kind::Postgres,
            Self::Mysql => Kind::Mysql,
            Self::Sqlite => Kind::Sqlite,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// The profiles of the workers.
const PROFILES: [&str; 5] = ["fast", "fast", "fast", "fast", "default"];

/// The file of what bodies write, which every run has.
const BODIES: &str = "bodies.jsonl";

/// How long the workers have to join before the first fault.
const UP: Duration = Duration::from_secs(20);

/// Makes the folder of a run, in the place of that of an earlier one. Anything else that is there stays.
fn make_room(folder: &Path) -> Result<(), Trouble> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        if !folder.join(BODIES).exists() {
            let why = "holds something that no run has left there; name another folder";
            return Err(format!("{} {why}", folder.display()).into());
        }
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

async fn hold(plan: &Plan) -> Result<bool, Trouble> {
    let folder = &plan.folder;
    make_room(folder)?;
    fs::write(folder.join(BODIES), "")?;
    let ground = Ground::make(plan.store.kind(), folder, plan.keeper.clone(), plan.may_mount)?;
    let (store, _) = ground.place.open().await?;
    let from = store.now().await?;
    let scheduler = Scheduler::builder_shared(store.clone()).build().await?;
    let span = Duration::from_secs_f64((plan.minutes * 60.0).clamp(1.0, 1e6));
    work::define(&scheduler, span).await?;
    // A name of its own, so that a build meanwhile changes nothing.
    let (built, program) = (std::env::current_exe()?.with_file_name("worker"), folder.join("worker"));
    if fs::hard_link(&built, &program).is_err() {
        fs::copy(&built, &program)?;
    }
    let mut seats = Vec::new();
    let profiles =
        &PROFILES[..plan.workers.map_or(PROFILES.len(), |workers| workers.clamp(2, PROFILES.len()))];
    for (number, profile) in profiles.iter().copied().enumerate() {
        let (location, proxy) = ground.wire().await?;
        seats.push(Seat::new(number + 1, profile, location, proxy, folder));
    }
    let mut faults = Vec::new();
    for seat in &mut seats {
        let pid = seat.start(folder, &program, plan.mutant.as_ref())?;
        faults.push(FaultEvent::Start { pid, boot_us: SystemClock.boot() });
    }
    let entropy = SeededEntropy::new(plan.seed);
    // Before the backup, after it, and after it was put back.
    let parts = if plan.restore.is_some() { 3 } else { 1 };
    let draw = |_| schedule::draw(plan.store.kind(), span / parts, ground.can_fill_disk(), &entropy);
    let drawn: Vec<_> = (0..parts).map(draw).collect();
    println!(
        "{} workers on {}, {} faults in {:.0} s, seed {}; everything is in {}",
        seats.len(),
        plan.store.name(),
        drawn.iter().map(Vec::len).sum::<usize>(),
        span.as_secs_f64(),
        plan.seed,
        folder.display()
    );
    let mut run = Run {
        ground: &ground,
        store: store.clone(),
        scheduler,
        seats,
        faults,
        counts: Counts::default(),
        view: View::new(folder.join(BODIES)),
        folder: folder.clone(),
        program,
        mutant: plan.mutant.clone(),
        punctual: plan.restore.clone(),
        wires: Vec::new(),
        losing: Vec::new(),
        standbys: Vec::new(),
        pauses: Vec::new(),
        outages: Vec::new(),
        disk: None,
        stalls: ground.watch(),
    };
    let slowest = profiles.iter().filter_map(|name| Profile::named(name));
    let bound = slowest.map(|profile| profile.takeover_bound(Duration::from_secs(1))).max();
    let mut kept = None;
    for drawn in drawn {
        run.settle(UP).await?;
        run.play(drawn, span / parts).await?;
        run.view.say("all is healed");
        run.heal(bound.unwrap_or_default()).await?;
        if plan.restore.is_some() && run.counts.restores == 0 {
            match kept {
                None => kept = Some(run.keep().await?),
                Some(kept) => run.put_back(kept).await?,
            }
        }
    }
    let until = store.now().await?;
    run.drain(until).await?;
    run.view.say("the workers are asked to stop");
    run.stop(until).await?;
    let Run { faults, mut counts, .. } = run;
    let verdict = judge::judge(&ground, &*store, folder, &faults, Window { from, until }).await?;
    counts.wrong.extend(judge::panics(folder)?);
    if verdict.false_deaths > 0 {
        counts
            .wrong
            .push(format!("{} nodes were declared dead that nothing had been done to", verdict.false_deaths));
    }
    counts.wrong.extend(judge::missed(plan, &counts));
    let good = verdict.is_clean() && counts.wrong.is_empty();
    if !good {
        keep_the_file(&ground, folder);
    }
    println!("\n{}", judge::table(&counts, &verdict));
    for violation in &verdict.violations {
        println!("{:?} {:?}: {}", violation.guarantee, violation.rule, violation.text);
        violation.events.iter().for_each(|event| println!("    {event}"));
    }
    counts.wrong.iter().for_each(|what| println!("{what}"));
    let mutant = plan.mutant.as_ref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
    let restore = if plan.restore.is_some() { " --restore" } else { "" };
    println!(
        "evidence: {}\nagain: cargo xtask chaos --store {} --minutes {} --seed {}{restore}{mutant}",
        folder.display(),
        plan.store.name(),
        plan.minutes,
        plan.seed
    );
    fs::remove_file(folder.join("worker"))?;
    let figures = judge::figures(plan, &counts, &verdict, good);
    fs::write(folder.join("figures.json"), format!("{figures}\n"))?;
    if plan.json {
        println!("{figures}");
    }
    Ok(good)
}

/// Copies a file from a disk that is gone with this process to where the evidence is.
fn keep_the_file(ground: &Ground, folder: &Path) {
    if ground.kind == Kind::Sqlite {
        for ending in ["", "-wal"] {
            let from = format!("{}{ending}", ground.place.location());
            let _not_there = fs::copy(from, folder.join(format!("kept.db{ending}")));
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = std::env::args().nth(1).unwrap_or_default();
    let plan: Plan = match serde_json::from_str(&plan) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("usage: chaos PLAN, as `cargo xtask chaos` does: {error}");
            return ExitCode::from(2);
        }
    };
    // Nobody is to be hurt any more when the one who asked for it is gone.
    if let Err(error) = die_with_parent() {
        eprintln!("chaos: {error}");
        return ExitCode::FAILURE;
    }
    match hold(&plan).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_run_has_left_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        make_room(&folder).unwrap();
        fs::write(folder.join("mine"), "").unwrap();
        assert!(make_room(&folder).unwrap_err().to_string().contains("name another folder"));
        fs::write(folder.join(BODIES), "").unwrap();
        make_room(&folder).unwrap();
        assert!(!folder.join("mine").exists());
    }
}
