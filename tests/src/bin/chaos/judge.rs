//! What a run amounts to: the checker's verdict on all that it left behind, and whether it did what it set out to do.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use punctual::{JobStore, Profile};
use punctual_checker::{Checker, FaultEvent, Guarantee, Options, Verdict, Window};
use punctual_tests::place::{Kind, Trouble};
use punctual_tests::schema::Schema;
use punctual_tests::tables::tables;
use serde_json::{Value, json};

use crate::Plan;
use crate::ground::Ground;
use crate::run::Counts;

/// How much longer than `δ` a body may go on after its process was woken: a small machine is slow to do so.
const WAKE_SLACK: Duration = Duration::from_secs(2);

/// Has the checker judge what is in `folder` and in the store.
///
/// # Errors
/// If something cannot be read.
pub(crate) async fn judge(
    ground: &Ground,
    store: &dyn JobStore,
    folder: &Path,
    faults: &[FaultEvent],
    window: Window,
) -> Result<Verdict, Trouble> {
    let bound = Profile::FAST.takeover_bound(Duration::from_secs(1));
    let options = Options {
        wind_down: Profile::FAST.wind_down,
        wake_slack: WAKE_SLACK,
        takeover_bound: Some(bound),
        ..Options::default()
    };
    let mut checker = Checker::new(window).with_options(options);
    let lines: Result<Vec<String>, _> = faults.iter().map(serde_json::to_string).collect();
    let own = folder.join("faults.jsonl");
    fs::write(&own, lines?.join("\n") + "\n")?;
    checker.faults(BufReader::new(File::open(&own)?), "the driver's faults")?;
    checker.bodies(BufReader::new(File::open(folder.join("bodies.jsonl"))?), "bodies")?;
    for (path, name) in files(folder)? {
        if name.ends_with(".journal.jsonl") {
            checker.journal(BufReader::new(File::open(&path)?), &name)?;
        } else if name.ends_with(".faults.jsonl") {
            checker.faults(BufReader::new(File::open(&path)?), &name)?;
        }
    }
    checker.tables(tables(store).await?);
    checker.effects(ground.effects().await?);
    checker.migrations(Schema::at(ground.place.location()).await?.versions().await?);
    Ok(checker.verdict())
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, String)>, Trouble> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
    }
    files.sort();
    Ok(files)
}

/// What workers printed that nobody should.
pub(crate) fn panics(folder: &Path) -> Result<Vec<String>, Trouble> {
    let mut panics = Vec::new();
    for (path, name) in files(folder)?.into_iter().filter(|(_, name)| name.ends_with(".log")) {
        let text = fs::read_to_string(path)?;
        panics.extend(
            text.lines().filter(|line| line.contains("panicked at")).map(|line| format!("{name}: {line}")),
        );
    }
    Ok(panics)
}

/// How much is asked of a run of ten minutes or longer, and what of that it did not reach.
pub(crate) fn missed(plan: &Plan, counts: &Counts) -> Vec<String> {
    if plan.minutes < 10.0 {
        return Vec::new();
    }
    let mut wanted = vec![("kills", counts.kills, 50), ("freezes", counts.freezes, 30)];
    if plan.store.kind() == Kind::Sqlite {
        wanted.push(("kills within a commit", counts.kills_in_commit, 15));
        wanted.push(("freezes within a write transaction", counts.freezes_in_transaction, 5));
    } else {
        wanted.push(("restarts of the server", counts.restarts, 5));
        wanted.push(("unknown commits", counts.unknown_commits, 30));
    }
    let missed = wanted.into_iter().filter(|(_, had, wanted)| had < wanted);
    missed.map(|(what, had, wanted)| format!("{had} {what}, and {wanted} were to be")).collect()
}

/// The figures as one object.
pub(crate) fn figures(plan: &Plan, counts: &Counts, verdict: &Verdict, good: bool) -> Value {
    json!({
        "store": plan.store.name(),
        "seed": plan.seed,
        "minutes": plan.minutes,
        "mutant": plan.mutant,
        "good": good,
        "executions": verdict.fired,
        "attempts": verdict.attempts,
        "kills": counts.kills,
        "kills_in_commit": counts.kills_in_commit,
        "freezes": counts.freezes,
        "freezes_in_transaction": counts.freezes_in_transaction,
        "restarts": counts.restarts,
        "unknown_commits": counts.unknown_commits,
        "stops": counts.stops,
        "restores": counts.restores,
        "rolled_back": counts.rolled_back,
        "clock_jumps": verdict.clock_jumps,
        "faults": counts.faults,
        "duplicates": verdict.duplicates,
        "lost": verdict.lost,
        "stuck": verdict.stuck,
        "overlaps": verdict.overlaps,
        "overlaps_declared": verdict.overlaps_declared,
        "overlap_declared_seconds_max": verdict.overlap_declared_seconds_max,
        "effects": verdict.effects,
        "effects_doubled": verdict.effects_doubled,
        "takeovers": verdict.takeovers,
        "takeover_seconds_max": verdict.takeover_seconds_max,
        "takeovers_late": verdict.takeovers_late,
        "false_deaths": verdict.false_deaths,
        "fenced_completions": verdict.fenced_completions,
        "skipped": verdict.skipped,
        "lines": verdict.lines,
        "guarantees": verdict.guarantees,
        "violations_total": verdict.violations_total,
        "broken": verdict.broken,
        "wrong": counts.wrong,
    })
}

/// The figures as a table.
pub(crate) fn table(counts: &Counts, verdict: &Verdict) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("executions", verdict.fired.to_string()),
        ("bodies that began", verdict.attempts.to_string()),
        ("kills", format!("{}, of which {} within a commit", counts.kills, counts.kills_in_commit)),
        (
            "freezes",
            format!("{}, of which {} within a transaction", counts.freezes, counts.freezes_in_transaction),
        ),
        ("restarts of the server", counts.restarts.to_string()),
        ("unknown commits", counts.unknown_commits.to_string()),
        ("graceful stops", counts.stops.to_string()),
        ("nodes that noticed a restore", counts.rolled_back.to_string()),
        (
            "take-overs",
            format!("{}, the slowest after {:.1} s", verdict.takeovers, verdict.takeover_seconds_max),
        ),
        ("false deaths", verdict.false_deaths.to_string()),
        ("late results refused", verdict.fenced_completions.to_string()),
        ("effects", format!("{}, doubled {}", verdict.effects, verdict.effects_doubled)),
        (
            "overlaps after a declared death",
            format!(
                "{}, the longest {:.2} s",
                verdict.overlaps_declared, verdict.overlap_declared_seconds_max
            ),
        ),
    ];
    let faults: Vec<String> = counts.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    rows.push(("faults caused", faults.join(", ")));
    let kept = Guarantee::ALL.iter().filter(|of| verdict.guarantees.get(of) == Some(&0));
    let kept: Vec<String> = kept.map(|guarantee| format!("{guarantee:?}")).collect();
    rows.push(("kept", kept.join(" ")));
    let broken: Vec<String> =
        verdict.broken.iter().map(|(rule, count)| format!("{rule:?} {count}")).collect();
    rows.push(("broken", if broken.is_empty() { "nothing".to_owned() } else { broken.join(", ") }));
    rows.iter().map(|(name, value)| format!("{name:<32} {value}\n")).collect()
}
