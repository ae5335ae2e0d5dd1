//! Rounds in which many processes open one empty database at once: `race PLAN`, started by `cargo xtask migrate-race`.
//!
//! A round is well if every process that was not killed ends well and logs nothing to worry about, no version was applied
//! twice, and the schema is in the end the one that a single process makes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

mod round;

use std::process::ExitCode;

use punctual::core::Clock;
use punctual::core::entropy::SeededEntropy;
use punctual::runtime::SystemClock;
use punctual_tests::place::Kind;
use serde::Deserialize;
use serde_json::json;

use self::round::Round;

/// What is asked for.
#[derive(Debug, Deserialize)]
struct Plan {
    store: Store,
    rounds: u32,
    processes: usize,
    late: usize,
    kill: usize,
    seed: u64,
    json: bool,
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

/// What all rounds amount to.
#[derive(Debug, Default)]
struct Sum {
    rounds: u32,
    /// The fewest that a round ended with.
    versions: Option<usize>,
    duplicates: usize,
    failed: usize,
    logged: usize,
    killed: usize,
    /// Rounds that left anything but a whole schema with a whole history.
    broken: usize,
    starts: Vec<u64>,
    /// After how long the first process of each round was done, which is about how long the migrations take.
    firsts: Vec<u64>,
}

impl Sum {
    fn add(&mut self, round: &Round) {
        self.rounds += 1;
        self.versions = Some(self.versions.map_or(round.versions, |least| least.min(round.versions)));
        self.duplicates += round.duplicates;
        self.failed += round.failed;
        self.logged += round.logged;
        self.killed += round.killed;
        self.broken += usize::from(round.is_broken);
        self.starts.extend(&round.starts);
        self.starts.sort_unstable();
        self.firsts.extend(round.starts.first());
        self.firsts.sort_unstable();
    }
}

/// The middle and the greatest of sorted numbers.
fn middle_and_greatest(sorted: &[u64]) -> (u64, u64) {
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    (middle, sorted.last().copied().unwrap_or(0))
}

async fn run(plan: &Plan) -> Result<bool, Box<dyn std::error::Error>> {
    let opener = std::env::current_exe()?.with_file_name("opener");
    let clock = SystemClock;
    let begun = clock.boot();
    let entropy = SeededEntropy::new(plan.seed);
    let mut sum = Sum::default();
    let mut wrong = 0;
    println!(
        "\n{:>7} {:>7} {:>8} {:>8} {:>8} {:>10} {:>6} {:>6} {:>6}  schema",
        "round", "s", "p50 ms", "max ms", "versions", "duplicates", "failed", "logged", "killed"
    );
    for number in 1..=plan.rounds {
        let (usual, _) = middle_and_greatest(&sum.firsts);
        let before = clock.boot();
        let mut round = round::run(plan, &opener, &entropy, usual).await?;
        let seconds = clock.boot().since(before).as_secs_f64();
        sum.add(&round);
        round.starts.sort_unstable();
        let (middle, greatest) = middle_and_greatest(&round.starts);
        let Round { versions, duplicates, failed, logged, killed, is_broken, .. } = &round;
        println!(
            "{:>7} {seconds:>7.1} {middle:>8} {greatest:>8} {versions:>8} {duplicates:>10} {failed:>6} {logged:>6} \
             {killed:>6}  {}",
            format!("{number}/{}", plan.rounds),
            if *is_broken { "BROKEN" } else { "golden" }
        );
        // At once, for a race that is broken off has no end to say it at.
        for what in &round.wrong {
            println!("round {number}: {what}");
        }
        wrong += round.wrong.len();
    }
    let seconds = (clock.boot().since(begun).as_secs_f64() * 10.0).round() / 10.0;
    println!();
    let (middle, greatest) = middle_and_greatest(&sum.starts);
    let Sum { rounds, versions, duplicates, failed, logged, killed, broken, .. } = sum;
    let versions = versions.unwrap_or(0);
    let good = wrong + duplicates + failed + logged + broken == 0 && rounds > 0;
    println!(
        "{rounds} rounds of {} processes on {}: {versions} versions, {duplicates} applied twice, {failed} processes failed, \
         {logged} lines of trouble, {killed} killed, {broken} broken schemas; {seconds} s",
        plan.processes,
        plan.store.name()
    );
    if plan.json {
        let line = json!({
            "store": plan.store.name(),
            "rounds": rounds,
            "processes": plan.processes,
            "late": plan.late,
            "seed": plan.seed,
            "versions": versions,
            "duplicates": duplicates,
            "failed_processes": failed,
            "errors_logged": logged,
            "killed": killed,
            "broken_schemas": broken,
            "start_ms_p50": middle,
            "start_ms_max": greatest,
            "seconds": seconds,
        });
        println!("{line}");
    }
    Ok(good)
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = std::env::args().nth(1).unwrap_or_default();
    let plan: Plan = match serde_json::from_str(&plan) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("usage: race PLAN, as `cargo xtask migrate-race` does: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&plan).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("race: {error}");
            ExitCode::FAILURE
        }
    }
}
