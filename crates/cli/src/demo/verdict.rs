//! The end of the demo: everything that the run left behind goes to the checker, and its findings to the reader.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use punctual_checker::{Checker, InputError, Options, Tables, Verdict, Window};
use punctual_core::execution::{Attempt, AttemptOutcome};
use punctual_core::inspect::{ExecutionFilter, HistoryFilter, MAX_PAGE, Page};
use punctual_core::store::Readable;
use punctual_core::{JobStore, Profile};
use serde::Serialize;

use super::failed::Failed;
use super::faults::{self, Done};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The journals of all processes.
    pub(crate) journals: Vec<PathBuf>,
    /// The bodies' own log.
    pub(crate) bodies: PathBuf,
    /// The log of faults.
    pub(crate) faults: PathBuf,
    /// The final tables.
    pub(crate) tables: Tables,
    /// The stretch of time that is judged.
    pub(crate) window: Window,
    /// The figures of failure detection that the nodes ran with.
    pub(crate) profile: Profile,
    /// The latest that a dead node's work may be offered again.
    pub(crate) bound: Duration,
    /// The name of the store.
    pub(crate) store: &'static str,
}

/// The verdict, and the run that it is about.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Whether every promise was kept.
    pub(crate) kept: bool,
    /// The process that held the demo.
    pub(crate) pid: u32,
    /// The store that they ran on.
    pub(crate) store: &'static str,
    /// Node processes that ran at once.
    pub(crate) nodes: u32,
    /// How often what was done to them.
    #[serde(flatten)]
    pub(crate) done: Done,
    /// The length of the judged time.
    pub(crate) seconds: f64,
    /// The name of the profile.
    pub(crate) profile: &'static str,
    /// The bound on take-overs.
    pub(crate) takeover_bound_seconds: f64,
    /// Attempts that failed or took too long, by the store's own record.
    pub(crate) failed: usize,
    /// Those of them that another attempt of the same execution followed.
    pub(crate) retried: usize,
    /// The findings.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

/// Reads all tables; the nodes should have stopped.
pub(crate) async fn tables(store: &dyn JobStore) -> Result<Tables, Failed> {
    let inspect = store.inspect();
    let full = |length: usize| length >= usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
    let mut tables = Tables::default();
    let mut page = Page::first(MAX_PAGE);
    loop {
        let rows = inspect.jobs(page.clone()).await.map_err(Failed::at("reading the jobs"))?;
        let more = full(rows.len());
        tables.jobs.extend(rows);
        page.after = tables.jobs.last().map(|job| job.key.clone());
        if !more {
            break;
        }
    }
    let mut page = Page::first(MAX_PAGE);
    loop {
        let rows = inspect.triggers(page.clone()).await.map_err(Failed::at("reading the triggers"))?;
        let more = full(rows.len());
        tables.triggers.extend(rows);
        page.after = tables.triggers.last().map(|trigger| trigger.key.clone());
        if !more {
            break;
        }
    }
    tables.calendars = inspect.calendars().await.map_err(Failed::at("reading the calendars"))?;
    let mut filter = HistoryFilter::default();
    loop {
        let rows = inspect.history(filter.clone()).await.map_err(Failed::at("reading the history"))?;
        let more = full(rows.len());
        tables.history.extend(rows);
        filter.before = tables.history.last().map(|record| record.id);
        if !more {
            break;
        }
    }
    let mut filter = ExecutionFilter::default();
    loop {
        let rows = inspect.executions(filter.clone()).await.map_err(Failed::at("reading the executions"))?;
        let more = full(rows.len());
        for row in rows {
            match row {
                Readable::Row(row) => tables.live.push(row),
                // The demo writes nothing that cannot be read back.
                Readable::Poison(poison) => {
                    return Err(Failed::new(format!("a row is broken: {}", poison.reason)));
                }
            }
        }
        filter.after = tables.live.last().map(|row| row.id);
        if !more {
            break;
        }
    }
    tables.nodes = inspect.nodes().await.map_err(Failed::at("reading the nodes"))?;
    Ok(tables)
}

/// Judges a run.
pub(crate) fn judge(evidence: Evidence, nodes: u32) -> Result<Report, Failed> {
    let Evidence { journals, bodies, faults, tables, window, profile, bound, store } = evidence;
    let options = Options { wind_down: profile.wind_down, takeover_bound: Some(bound), ..Options::default() };
    let (failed, retried) = failures(&tables);
    let mut checker = Checker::new(window).with_options(options);
    for path in &journals {
        read(path, |reader, name| checker.journal(reader, name))?;
    }
    read(&bodies, |reader, name| checker.bodies(reader, name))?;
    read(&faults, |reader, name| checker.faults(reader, name))?;
    checker.tables(tables);
    let verdict = checker.verdict();
    Ok(Report {
        kept: verdict.is_clean(),
        pid: std::process::id(),
        store,
        nodes,
        done: faults::count(&faults)?,
        seconds: window.until.since(window.from).as_secs_f64(),
        profile: "fast",
        takeover_bound_seconds: bound.as_secs_f64(),
        failed,
        retried,
        verdict,
    })
}

/// How many attempts failed, and how many of these another one of the same execution followed.
fn failures(tables: &Tables) -> (usize, usize) {
    let failed = |attempt: &&Attempt| {
        matches!(
            attempt.outcome,
            AttemptOutcome::Failed | AttemptOutcome::Panicked | AttemptOutcome::TimedOut
        )
    };
    let ended = tables.history.iter().map(|record| &record.attempts);
    ended.chain(tables.live.iter().map(|row| &row.attempts)).fold((0, 0), |(all, retried), attempts| {
        let earlier = attempts.len().saturating_sub(1);
        (
            all + attempts.iter().filter(failed).count(),
            retried + attempts.iter().take(earlier).filter(failed).count(),
        )
    })
}

fn read(
    path: &Path,
    take: impl FnOnce(BufReader<File>, &str) -> Result<(), InputError>,
) -> Result<(), Failed> {
    let file = match File::open(path) {
        Ok(file) => file,
        // A process that was killed at once wrote no journal; what is missing then, the checker says.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(Failed::at(path.display())(why)),
    };
    take(BufReader::new(file), &path.display().to_string()).map_err(Failed::at("the evidence"))
}

/// One line of the verdict: what was promised, what was found, and whether that will do.
struct Line {
    what: &'static str,
    found: String,
    note: String,
    /// `None` for a figure that nothing was promised about.
    good: Option<bool>,
}

/// The verdict for people.
pub(crate) fn text(report: &Report, coloured: bool) -> String {
    let Report { nodes, done, seconds, verdict, takeover_bound_seconds: bound, .. } = report;
    let promise = |what, count: u64, note: &str| Line {
        what,
        found: count.to_string(),
        note: note.to_owned(),
        good: Some(count == 0),
    };
    let figure = |what, found: String, note: String| Line { what, found, note, good: None };
    let taken = format!("{:.1} s", verdict.takeover_seconds_max);
    let other = verdict.violations_total
        - (verdict.duplicates
            + verdict.lost
            + verdict.overlaps
            + verdict.early
            + verdict.takeovers_late
            + verdict.stale_completions)
            .min(verdict.violations_total);
    let lines = [
        figure(
            "fired",
            verdict.fired.to_string(),
            format!("{:.1} a second, on {nodes} nodes", verdict.firings_per_second),
        ),
        figure(
            "skipped",
            verdict.skipped.to_string(),
            "each with its record: late, or its job still ran".to_owned(),
        ),
        figure("attempts", verdict.attempts.to_string(), "bodies that ran, by their own log".to_owned()),
        figure(
            "failed attempts",
            report.failed.to_string(),
            format!("as some jobs do on purpose; {} of them were tried again", report.retried),
        ),
        promise("duplicates", verdict.duplicates, "fired twice, or started twice under one claim"),
        promise("lost", verdict.lost, "owed by the schedule, without a record"),
        promise("overlaps", verdict.overlaps, "bodies of one exclusive job that ran at once"),
        promise("early", verdict.early, "began before their instant"),
        promise("stale results", verdict.stale_completions, "taken from a node whose work had passed on"),
        figure("late results refused", verdict.fenced_completions.to_string(), String::new()),
        figure(
            "declared overlaps",
            verdict.overlaps_declared.to_string(),
            format!("after a false death, at most {:.1} s", verdict.overlap_declared_seconds_max),
        ),
        figure(
            "faults",
            format!("{}", done.kills + done.freezes),
            format!("{} killed, {} frozen, {} started again", done.kills, done.freezes, done.restarts),
        ),
        figure(
            "database restarts",
            done.database_restarts.to_string(),
            match done.database_down_ms {
                0 => String::new(),
                down => format!("the store answered nobody for {:.1} s", down as f64 / 1000.0),
            },
        ),
        Line {
            what: "take-overs",
            found: verdict.takeovers.to_string(),
            note: format!("the slowest after {taken}, promised within {bound:.0} s"),
            good: Some(verdict.takeovers_late == 0),
        },
        promise("other findings", other, "by the checker"),
    ];
    let paint = |code: &str, text: &str| {
        if coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let width = lines.iter().map(|line| line.what.len()).max().unwrap_or(0);
    let mut out = String::new();
    let _ = writeln!(out, "Verdict on {seconds:.0} s of history");
    for Line { what, found, note, good } in lines {
        let mark = match good {
            Some(true) => paint("32", "✓"),
            Some(false) => paint("31;1", "✗"),
            None => " ".to_owned(),
        };
        let note = if note.is_empty() { note } else { format!("  {}", paint("2", &note)) };
        let _ = writeln!(out, "  {mark} {what:<width$}  {found:>6}{note}");
    }
    for violation in &verdict.violations {
        let title = format!("{:?} broken: {}", violation.guarantee, violation.text);
        let _ = writeln!(out, "\n{}", paint("31;1", &title));
        for event in &violation.events {
            let _ = writeln!(out, "    {event}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use punctual_checker::{BodyEvent, BodyStart, FaultEvent};
    use punctual_core::{BootInstant, ExecutionId, Fence, Timestamp};

    use super::*;
    use crate::demo::faults::FaultLog;

    /// The verdict on a run of which only the bodies' log and one kill are left.
    fn report(bodies: &[BodyEvent]) -> Report {
        let dir = tempfile::tempdir().unwrap();
        let log: Vec<String> =
            bodies.iter().map(|body| serde_json::to_string(body).unwrap() + "\n").collect();
        std::fs::write(dir.path().join("bodies.jsonl"), log.concat()).unwrap();
        let mut faults = FaultLog::create(dir.path().join("faults.jsonl")).unwrap();
        let boot_us = BootInstant::from_micros(1);
        faults.note(&FaultEvent::Start { pid: 1, boot_us }).unwrap();
        faults.note(&FaultEvent::Kill { pid: 1, node: None, boot_us }).unwrap();
        let evidence = Evidence {
            journals: vec![dir.path().join("missing.jsonl")],
            bodies: dir.path().join("bodies.jsonl"),
            faults: faults.path().to_owned(),
            tables: Tables::default(),
            window: Window { from: Timestamp::EPOCH, until: Timestamp::from_secs(10) },
            profile: Profile::FAST,
            bound: Duration::from_secs(10),
            store: "memory",
        };
        judge(evidence, 3).unwrap()
    }

    fn start(slot: Option<&str>, id: u8, pid: u32, boot: u64) -> BodyStart {
        BodyStart {
            token: None,
            execution: ExecutionId::from_bytes([id; 16]),
            attempt: 1,
            fence: Fence::from_stored(i64::from(id)),
            trigger: None,
            generation: None,
            scheduled: Timestamp::EPOCH,
            slot: slot.map(Into::into),
            pid,
            boot_us: BootInstant::from_micros(boot),
        }
    }

    #[test]
    fn forged_bodies_are_objected_to() {
        let twice =
            report(&[BodyEvent::Begin(start(None, 1, 7, 10)), BodyEvent::Begin(start(None, 1, 8, 20))]);
        assert!(!twice.kept);
        assert_eq!(twice.verdict.duplicates, 1);
        let at_once = [
            BodyEvent::Begin(start(Some("x"), 1, 7, 10)),
            BodyEvent::Begin(start(Some("x"), 2, 8, 20)),
            BodyEvent::End(start(Some("x"), 1, 7, 30)),
            BodyEvent::End(start(Some("x"), 2, 8, 40)),
        ];
        assert_eq!(report(&at_once).verdict.overlaps, 1);
    }

    #[test]
    fn the_json_has_what_scripts_look_for() {
        let report = report(&[BodyEvent::Begin(start(None, 1, 7, 10))]);
        let json = serde_json::to_value(&report).unwrap();
        for name in [
            "fired",
            "duplicates",
            "lost",
            "overlaps",
            "overlaps_declared",
            "takeovers",
            "takeover_seconds_max",
            "takeover_bound_seconds",
            "fenced_completions",
            "firings_per_second",
            "exclusive_running_at_kill",
            "nodes",
            "kills",
            "freezes",
            "restarts",
            "database_restarts",
            "database_down_ms",
            "store",
            "pid",
            "seconds",
            "profile",
            "skipped",
            "attempts",
            "failed",
            "retried",
        ] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json.get("kills").and_then(serde_json::Value::as_u64), Some(1));
    }

    #[test]
    fn a_broken_promise_is_marked_and_told() {
        let twice =
            report(&[BodyEvent::Begin(start(None, 1, 7, 10)), BodyEvent::Begin(start(None, 1, 8, 20))]);
        let told = text(&twice, false);
        assert!(told.contains("✗ duplicates") && told.contains("began twice"), "{told}");
        assert!(told.contains("✓ overlaps") && !told.contains('\x1b'), "{told}");
    }
}
