//! `punctual check`: what should not be in a database, and its repair.

mod show;

use std::process::ExitCode;

use clap::Args;
use punctual::runtime::SystemClock;
use punctual_core::check::{
    Check, Finding, Mended, PAUSE, RepairRecord, Rule, confirmed, look, needs_second_look, unreadable,
};
use punctual_core::{Clock, Inspect, JobStore};

use crate::args::Db;
use crate::db::{self, Access};
use crate::look::print;
use crate::trouble::{Exit, Trouble};

const AFTER_HELP: &str = "\
Exit codes of this command:
  0  nothing was found, or everything that was found is mended
  1  an error without a code of its own
  2  wrong usage
  4  the database cannot be used
  6  something is left that should not be there";

/// Look for what should not be in a database; with --repair, mend it.
///
/// Nothing is changed without --repair, and no lock is taken, so it may be run beside nodes at any time. What a cluster at
/// work passes through is only counted if it is still the same 15 seconds later. docs/check.md explains each rule.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) db: Db,
    /// Do what the plan says, for each row that is still as it was found; each repair is recorded.
    #[arg(long, conflicts_with = "log")]
    pub(crate) repair: bool,
    /// List the repairs that were recorded, newest first, instead of looking.
    #[arg(long)]
    pub(crate) log: bool,
    /// How many findings of each rule, or how many repairs, at most.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) number: u32,
    /// Print one JSON object, on the last line of standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The exit code of a look that left something.
const LEFT: u8 = 6;

/// A finding, and what became of it.
#[derive(Clone, Debug)]
struct Shown {
    finding: Finding,
    fate: Fate,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing was asked for, or there is no repair.
    Left,
    /// It is mended.
    Mended,
    /// It was not so any more when it was to be mended.
    Changed,
}

/// Runs the command; its exit codes are its own.
pub(crate) async fn run(args: CheckArgs) -> ExitCode {
    match tried(args).await {
        Ok(code) => code,
        Err(trouble) => trouble.report(),
    }
}

async fn tried(args: CheckArgs) -> Result<ExitCode, Trouble> {
    let store = db::open(&args.db, Access::AsItIs).await?;
    let check = store.checks().ok_or_else(|| {
        Trouble::new(Exit::Store, format!("the store {} cannot be checked", store.features().name))
    })?;
    if args.log {
        let repairs: Vec<RepairRecord> = check.repairs(None, args.number).await?;
        print(&if args.json { show::repairs_json(&repairs) } else { show::repairs(&repairs) });
        return Ok(ExitCode::SUCCESS);
    }
    let found = looked(&*store, check, &args).await?;
    let mut shown: Vec<Shown> =
        found.into_iter().map(|finding| Shown { finding, fate: Fate::Left }).collect();
    if !args.json {
        print(&show::findings(&shown));
    }
    if args.repair {
        mend(check, &mut shown).await?;
    }
    print(&if args.json { show::findings_json(&shown, args.repair) } else { show::sum(&shown, args.repair) });
    let is_left = shown.iter().any(|shown| shown.fate == Fate::Left);
    Ok(if is_left { ExitCode::from(LEFT) } else { ExitCode::SUCCESS })
}

/// What counts: of two looks, if one does not tell.
async fn looked(store: &dyn JobStore, check: &dyn Check, args: &CheckArgs) -> Result<Vec<Finding>, Trouble> {
    let mut found = whole(check, store.inspect(), args.number).await?;
    if needs_second_look(&found) {
        if !args.json {
            eprintln!(
                "{} of them may pass by themselves; looking again in {} s",
                found.iter().filter(|finding| finding.rule.passes()).count(),
                PAUSE.as_secs()
            );
        }
        SystemClock.sleep(PAUSE).await;
        let second = whole(check, store.inspect(), args.number).await?;
        found = confirmed(&found, second);
    }
    Ok(found)
}

async fn whole(check: &dyn Check, inspect: &dyn Inspect, limit: u32) -> Result<Vec<Finding>, Trouble> {
    let mut found = look(check, limit).await?;
    let held: Vec<_> = found.iter().filter(|finding| finding.rule == Rule::Held).map(place).collect();
    // A row that was set aside is named once, with the reason for which that was done.
    let rows = unreadable(inspect, limit).await?;
    let more: Vec<Finding> = rows.into_iter().filter(|finding| !held.contains(&place(finding))).collect();
    found.extend(more);
    found.sort();
    Ok(found)
}

fn place(finding: &Finding) -> String {
    finding.place.to_string()
}

async fn mend(check: &dyn Check, shown: &mut [Shown]) -> Result<(), Trouble> {
    let by = format!("punctual check, process {}", std::process::id());
    for Shown { finding, fate } in shown.iter_mut().filter(|shown| shown.finding.rule.has_repair()) {
        *fate = match check.repair(finding, &by).await? {
            Mended::Done => Fate::Mended,
            Mended::Changed => Fate::Changed,
        };
    }
    Ok(())
}
