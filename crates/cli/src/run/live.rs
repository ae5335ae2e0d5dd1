//! The live lines of `punctual run`: what fires, how late, how it ended. Written by a thread of its own, so that a
//! terminal that is slow or stopped holds up no job.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use punctual_core::event::{Event, Listener, Stamped, Work};
use punctual_core::execution::{AttemptOutcome, Outcome, SkipReason};
use punctual_core::{BootInstant, Clock, ExecutionId, Timestamp};
use punctual_runtime::SystemClock;

use crate::look::text;

/// How many lines may wait for the terminal before lines are left out.
const WAITING: usize = 16_384;

/// How long the end of a run waits for the last lines to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Aligned columns.
    Plain,
    /// Aligned columns with colours.
    Coloured,
    /// Each event as JSON.
    Json,
}

#[derive(Debug)]
enum Line {
    Event(Box<Stamped>),
    End,
}

/// Hands events to the writing thread.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    lines: SyncSender<Line>,
    left_out: Arc<AtomicU64>,
}

/// The writing thread, to wait for at the end.
#[derive(Debug)]
pub(crate) struct Writing {
    live: Live,
    done: Receiver<()>,
}

/// How wide the names of jobs are; it grows when a file with longer ones is read.
pub(crate) type Width = Arc<RwLock<usize>>;

/// Starts the writing thread.
pub(crate) fn start(style: Style, node: String, width: Width) -> (Live, Writing) {
    let (lines, receiver) = mpsc::sync_channel(WAITING);
    let (finished, done) = mpsc::channel();
    let left_out = Arc::new(AtomicU64::new(0));
    let live = Live { lines, left_out: Arc::clone(&left_out) };
    let mut view = View { style, node, width, begun: BTreeMap::new(), ended: BTreeMap::new() };
    std::thread::spawn(move || {
        write(&receiver, &mut view, &left_out);
        let _ = finished.send(());
    });
    (live.clone(), Writing { live, done })
}

impl Listener for Live {
    fn hear(&self, event: &Stamped) {
        if self.lines.try_send(Line::Event(Box::new(event.clone()))).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writing {
    /// Waits until everything is written, or until the terminal has proved to be stuck.
    pub(crate) fn finish(self) {
        if self.live.lines.try_send(Line::End).is_ok() {
            let _ = self.done.recv_timeout(PATIENCE);
        }
    }
}

fn write(lines: &Receiver<Line>, view: &mut View, left_out: &AtomicU64) {
    let mut out = BufWriter::new(std::io::stdout());
    if let Some(head) = view.head() {
        let _ = writeln!(out, "{head}");
    }
    let mut next = None;
    loop {
        let line = match next.take() {
            Some(line) => line,
            None => {
                let _ = out.flush();
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => return,
                }
            }
        };
        match line {
            Line::Event(event) => {
                if let Some(text) = view.line(&event) {
                    // Nobody may be reading any more; the jobs run on.
                    let _ = writeln!(out, "{text}");
                }
            }
            Line::End => {
                let _ = out.flush();
                return;
            }
        }
        let lost = left_out.swap(0, Ordering::Relaxed);
        if lost > 0 {
            eprintln!("warning: {lost} lines were left out, because what reads them is too slow");
        }
        next = lines.try_recv().ok();
    }
}

/// What is known of the attempts under way, and how to show it.
struct View {
    style: Style,
    node: String,
    width: Width,
    begun: BTreeMap<(ExecutionId, u32), BootInstant>,
    ended: BTreeMap<(ExecutionId, u32), Ended>,
}

struct Ended {
    outcome: AttemptOutcome,
    error: Option<String>,
    took: Option<Duration>,
}

/// One line for people.
#[derive(Default)]
struct Row {
    what: &'static str,
    colour: &'static str,
    who: String,
    late: Option<String>,
    took: Option<Duration>,
    detail: String,
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const MAGENTA: &str = "35";
const DIM: &str = "2";
const PLAIN: &str = "0";

impl View {
    fn head(&self) -> Option<String> {
        let cells = ["time (UTC)", "node", "job", "what", "late", "took", ""];
        (self.style != Style::Json).then(|| self.columns(DIM, cells))
    }

    fn columns(&self, colour: &str, [time, node, who, what, late, took, detail]: [&str; 7]) -> String {
        let width = *self.width.read().unwrap_or_else(PoisonError::into_inner);
        let name = self.node.chars().count().max(4);
        let what = format!("{what:<9}");
        let what =
            if self.style == Style::Coloured { format!("\u{1b}[{colour}m{what}\u{1b}[0m") } else { what };
        let line =
            format!("{time:<12}  {node:<name$}  {who:<width$}  {what}  {late:>9}  {took:>8}  {detail}");
        line.trim_end().to_owned()
    }

    fn line(&mut self, stamped: &Stamped) -> Option<String> {
        if self.style == Style::Json {
            return serde_json::to_string(stamped).ok();
        }
        let row = self.row(stamped)?;
        let time = text::clock(moment(stamped.boot_us));
        let took = row.took.map(text::span).unwrap_or_default();
        let late = row.late.unwrap_or_default();
        Some(self.columns(row.colour, [&time, &self.node, &row.who, row.what, &late, &took, &row.detail]))
    }

    fn row(&mut self, stamped: &Stamped) -> Option<Row> {
        let row = match &stamped.event {
            Event::Joined { pid, .. } => Row {
                what: "joined",
                colour: GREEN,
                detail: format!("process {pid}, node {}", stamped.node),
                ..Row::default()
            },
            Event::Began { work, at } => {
                self.begun.insert((work.id, work.attempt), stamped.boot_us);
                let late = Some(text::lateness(work.scheduled, *at));
                let detail =
                    if work.attempt > 1 { format!("attempt {}", work.attempt) } else { String::new() };
                Row { what: "fired", colour: PLAIN, who: who(work), late, detail, ..Row::default() }
            }
            Event::Ended { work, outcome, error } => {
                let begun = self.begun.remove(&(work.id, work.attempt));
                let took = begun.map(|begun| stamped.boot_us.since(begun));
                let ended = Ended { outcome: *outcome, error: error.clone(), took };
                self.ended.insert((work.id, work.attempt), ended);
                return None;
            }
            Event::Settled { work, outcome } => {
                let ended = self.ended.remove(&(work.id, work.attempt));
                settled(work, *outcome, ended)
            }
            Event::Fenced { work } => {
                self.begun.remove(&(work.id, work.attempt));
                let ended = self.ended.remove(&(work.id, work.attempt));
                Row {
                    what: "fenced",
                    colour: MAGENTA,
                    who: who(work),
                    took: ended.and_then(|ended| ended.took),
                    detail: "its result was refused: the work had passed to another node".to_owned(),
                    ..Row::default()
                }
            }
            Event::Skipped { trigger, first, last, count, reason } => {
                let why = match reason {
                    SkipReason::Misfire => "too late",
                    SkipReason::Overlap => "still running",
                };
                let detail = match count {
                    Some(1) => format!("{why}: {}", text::instant(*first)),
                    Some(count) => format!(
                        "{why}: {count} instants, {} to {}",
                        text::instant(*first),
                        text::instant(*last)
                    ),
                    None => format!("{why}: {} to {}", text::instant(*first), text::instant(*last)),
                };
                Row { what: "skipped", colour: YELLOW, who: trigger.to_string(), detail, ..Row::default() }
            }
            Event::TookOver { dead, name } => Row {
                what: "takeover",
                colour: MAGENTA,
                detail: format!("of {name} ({dead})"),
                ..Row::default()
            },
            Event::Recovered { from, id, fence: _, outcome } => {
                let what = if outcome.is_none() { "runs again" } else { "is recorded as lost" };
                let detail = format!("execution {id} of {from} {what}");
                Row { what: "recovered", colour: MAGENTA, detail, ..Row::default() }
            }
            Event::LeaseLost => notice("lease", RED, "lost: nothing is started until a check-in succeeds"),
            Event::LeaseRegained => notice("lease", GREEN, "held again"),
            Event::Rejoined { old } => notice("rejoined", MAGENTA, &format!("was declared dead as {old}")),
            Event::SetAside { reason } => notice("set aside", RED, reason),
            Event::Found { rule, place, detail, mended } => {
                let fate = if *mended { "mended" } else { "left" };
                notice("found", RED, &format!("{rule}: {place}: {detail}; {fate}"))
            }
            Event::Trouble { error } => notice("trouble", RED, error),
            Event::Left => notice("left", GREEN, ""),
            _ => return None,
        };
        Some(row)
    }
}

fn notice(what: &'static str, colour: &'static str, detail: &str) -> Row {
    Row { what, colour, detail: text::one_line(detail), ..Row::default() }
}

fn settled(work: &Work, outcome: Option<Outcome>, ended: Option<Ended>) -> Row {
    let (error, took) = ended.as_ref().map_or((None, None), |ended| (ended.error.clone(), ended.took));
    let (what, colour) = match (outcome, ended.map(|ended| ended.outcome)) {
        (Some(Outcome::Succeeded), _) => ("ok", GREEN),
        (Some(Outcome::Failed), _) => ("failed", RED),
        (Some(Outcome::Cancelled), _) => ("cancelled", YELLOW),
        (Some(Outcome::Lost), _) => ("lost", RED),
        (Some(Outcome::Skipped), _) => ("skipped", YELLOW),
        (None, None | Some(AttemptOutcome::Released)) => ("released", YELLOW),
        (None, Some(_)) => ("retry", YELLOW),
    };
    let detail = error.map(|error| text::one_line(&error)).unwrap_or_default();
    Row { what, colour, who: who(work), took, detail, ..Row::default() }
}

fn who(work: &Work) -> String {
    let trigger = work.trigger.as_ref().map(ToString::to_string);
    trigger.or_else(|| work.job.as_ref().map(ToString::to_string)).unwrap_or_else(|| work.id.to_string())
}

/// The wall time of a reading of the boot-time clock, as far as the wall clock can be trusted now.
fn moment(boot: BootInstant) -> Timestamp {
    SystemClock.wall().minus(SystemClock.boot().since(boot))
}
