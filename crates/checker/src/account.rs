//! The conservation law: every owed instant of a trigger fired or was skipped, and nothing is stuck (G9).
//!
//! Instants are computed anew from the definition in the final table, and looked up among the records of that very
//! trigger id and generation; a record of another generation accounts for nothing. What is owed:
//!
//! * A trigger whose definition never changed (generation 1) owes its instants from the first one on, which follows
//!   from its creation and the last instant of an earlier trigger of its key. If it was created before the window, it
//!   owes those from the beginning of the window on.
//! * A later generation owes its instants from the time that [`crate::FaultEvent::Rescheduled`] names. Without one, the
//!   time of the change is not known: it owes its instants from the first one that the records or its row show.
//! * Earlier generations, and triggers that were deleted, have no definition any more: they owe what their records say.
//! * Nothing after the end of the window is owed.
//! * Instants are seen through the trigger's calendar as it is in the final tables. A trigger whose calendar is not
//!   among them, whose custom schedule is code that is not here, or that goes by the rules of Quartz, which fire at no
//!   instants of the schedule too, owes what its records say.
//!
//! An instant at or after the row's `next_fire` was not decided about. It is lost all the same, unless the job queues
//! for a slot that was in use shortly before the end: then it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use punctual_core::calendar::Calendar;
use punctual_core::execution::{Execution, ExecutionState, HistoryRecord, Outcome};
use punctual_core::instants::Instants;
use punctual_core::job::WhenBusy;
use punctual_core::key::{JobId, NodeId, TriggerId, TriggerKey};
use punctual_core::misfire::{COUNT_CAP, MisfirePolicy};
use punctual_core::node::NodeState;
use punctual_core::store::WAKE_WAITING;
use punctual_core::time::{BootInstant, Timestamp};
use punctual_core::trigger::{TriggerRecord, TriggerState};

use crate::checker::{Tables, Window};
use crate::cluster::Cluster;
use crate::history::History;
use crate::verdict::{Rule, Verdict};

/// How long before the end a slot may have been used last and still be a reason to wait: those who were not
/// woken when it was freed are found every [`WAKE_WAITING`], give or take a node that dies meanwhile.
const PATIENCE: Duration = WAKE_WAITING.saturating_mul(3);

const STEP: Duration = Duration::from_micros(1);

/// The records of one generation of a trigger.
#[derive(Clone, Debug, Default)]
struct Account<'a> {
    key: Option<&'a TriggerKey>,
    fired: BTreeSet<Timestamp>,
    /// Skipped ranges by their first instant: the last one, and how many there are.
    skips: BTreeMap<Timestamp, (Timestamp, Option<u64>)>,
    /// Two ranges that share instants.
    clashes: Vec<[(Timestamp, Timestamp); 2]>,
}

impl Account<'_> {
    fn skip(&mut self, record: &HistoryRecord) {
        let (first, last) = (record.scheduled, record.until.unwrap_or(record.scheduled));
        let before = self.skips.range(..=last).next_back();
        if let Some((other, (until, _))) = before.filter(|(_, (until, _))| *until >= first) {
            self.clashes.push([(*other, *until), (first, last)]);
        }
        self.skips.insert(first, (last, record.count));
    }

    /// The last instant of the skipped range that holds `at`.
    fn skipped(&self, at: Timestamp) -> Option<Timestamp> {
        let (_, (last, _)) = self.skips.range(..=at).next_back()?;
        Some(*last).filter(|last| *last >= at)
    }

    /// The first record after `at`.
    fn next_record(&self, at: Timestamp) -> Option<Timestamp> {
        let fired = self.fired.range(at.plus(STEP)..).next();
        let skipped = self.skips.range(at.plus(STEP)..).next().map(|(first, _)| first);
        fired.into_iter().chain(skipped).min().copied()
    }
}

/// Judges all triggers and live rows.
pub(crate) fn judge(
    history: &History,
    cluster: &Cluster,
    tables: &Tables,
    window: Window,
    verdict: &mut Verdict,
) {
    let end = window.until;
    let busy = Busy::at_the_end(history, cluster);
    let mut accounts: BTreeMap<(TriggerId, i64), Account<'_>> = BTreeMap::new();
    for row in &tables.live {
        let Some(of) = &row.occurrence else { continue };
        let account = accounts.entry((of.trigger_id, of.generation)).or_default();
        account.key = Some(&of.key);
        account.fired.insert(row.scheduled);
    }
    for record in &tables.history {
        let Some(of) = &record.occurrence else { continue };
        let account = accounts.entry((of.trigger_id, of.generation)).or_default();
        account.key = Some(&of.key);
        if record.outcome == Outcome::Skipped {
            account.skip(record);
        } else {
            account.fired.insert(record.scheduled);
        }
    }
    for account in accounts.values() {
        consistent(account, verdict);
    }
    let current: BTreeMap<TriggerId, i64> =
        tables.triggers.iter().map(|trigger| (trigger.id, trigger.generation)).collect();
    for ((id, generation), account) in &accounts {
        if let Some(current) = current.get(id).filter(|current| *current < generation) {
            let key = account.key.map_or_else(String::new, ToString::to_string);
            let text =
                format!("{key} has records of generation {generation}, but is in generation {current}");
            verdict.broke(Rule::Misaccounted, 1, text, Vec::new);
        }
    }
    let calendars: BTreeMap<&str, &Calendar> =
        tables.calendars.iter().map(|stored| (&*stored.name, &*stored.calendar)).collect();
    let nothing = Account::default();
    for trigger in &tables.triggers {
        let account = accounts.get(&(trigger.id, trigger.generation)).unwrap_or(&nothing);
        let Some(instants) = instants_of(trigger, &calendars) else { continue };
        of_schedule(trigger, &instants, account, verdict);
        let waits = queue_key(trigger, tables).is_some_and(|key| busy.used(key));
        let begin = first_owed(trigger, &instants, account, cluster, tables, window);
        lost((trigger, &instants), account, begin, end, waits, verdict);
    }
    verdict.skipped = accounts.values().map(skipped_count).sum();
    stuck(tables, &busy, end, verdict);
}

/// The instants of a trigger, if they can be known from the tables.
fn instants_of<'a>(
    trigger: &'a TriggerRecord,
    calendars: &BTreeMap<&str, &'a Calendar>,
) -> Option<Instants<'a>> {
    let spec = &trigger.spec;
    let calendar = spec.calendar.as_deref().and_then(|name| calendars.get(name).copied());
    let known = !matches!(spec.misfire, MisfirePolicy::Quartz { .. });
    Instants::seen(spec, calendar).ok().filter(|_| known)
}

fn skipped_count(account: &Account<'_>) -> u64 {
    account.skips.values().map(|(_, count)| count.unwrap_or(COUNT_CAP)).sum()
}

/// What needs no schedule: nothing is skipped twice, or skipped and fired.
fn consistent(account: &Account<'_>, verdict: &mut Verdict) {
    let key = account.key.map_or_else(String::new, ToString::to_string);
    for [(first, last), (other, until)] in &account.clashes {
        let text = format!("{key}: {first} to {last} was skipped, and {other} to {until} too");
        verdict.broke(Rule::Misaccounted, 1, text, Vec::new);
    }
    for (first, (last, _)) in &account.skips {
        if let Some(at) = account.fired.range(first..=last).next() {
            let text = format!("{key}: {at} fired, though {first} to {last} was skipped");
            verdict.broke(Rule::Misaccounted, 1, text, Vec::new);
        }
    }
}

/// What the schedule says about the records: each is one of its instants, and ranges are counted rightly.
fn of_schedule(
    trigger: &TriggerRecord,
    instants: &Instants<'_>,
    account: &Account<'_>,
    verdict: &mut Verdict,
) {
    let key = &trigger.key;
    for at in account.fired.iter().filter(|at| instants.next_after(at.minus(STEP)) != Some(**at)) {
        let text = format!("{key} fired {at}, which is none of its instants");
        verdict.broke(Rule::Misaccounted, 1, text, Vec::new);
    }
    for (first, (last, count)) in &account.skips {
        let counted = instants.count_within(first.minus(STEP), *last, COUNT_CAP);
        if let (Some(count), Some(counted)) = (count, counted)
            && *count != counted
        {
            let text =
                format!("{key}: {count} instants skipped from {first} to {last}, the schedule has {counted}");
            verdict.broke(Rule::Misaccounted, 1, text, Vec::new);
        }
    }
}

/// The first instant that a trigger owes, as the head of this module says.
fn first_owed(
    trigger: &TriggerRecord,
    instants: &Instants<'_>,
    account: &Account<'_>,
    cluster: &Cluster,
    tables: &Tables,
    window: Window,
) -> Option<Timestamp> {
    // What an earlier trigger of the key, or an earlier generation, had decided about by then.
    let earlier = |by: Timestamp| {
        let of_key = tables.history.iter().filter(|record| {
            record.occurrence.as_ref().is_some_and(|of| {
                of.key == trigger.key && (of.trigger_id != trigger.id || of.generation < trigger.generation)
            })
        });
        of_key.map(|record| record.until.unwrap_or(record.scheduled)).filter(|last| *last <= by).max()
    };
    let told = cluster.rescheduled.get(&(trigger.id, trigger.generation));
    let first = if let Some(at) = told {
        instants.first(*at, earlier(*at))
    } else if trigger.generation <= 1 {
        instants.first(trigger.created, earlier(trigger.created))
    } else {
        account.next_record(Timestamp::MIN).or(trigger.next_fire)
    };
    let before_window = trigger.created < window.from;
    first.and_then(|first| {
        if before_window { instants.next_after(first.max(window.from).minus(STEP)) } else { Some(first) }
    })
}

fn lost(
    (trigger, instants): (&TriggerRecord, &Instants<'_>),
    account: &Account<'_>,
    begin: Option<Timestamp>,
    end: Timestamp,
    waits: bool,
    verdict: &mut Verdict,
) {
    let undecided = trigger.next_fire.filter(|_| trigger.state == TriggerState::Active);
    let mut next = begin;
    while let Some(at) = next.filter(|at| *at <= end) {
        if account.fired.contains(&at) {
            next = instants.next_after(at);
            continue;
        }
        if let Some(last) = account.skipped(at) {
            next = instants.next_after(last);
            continue;
        }
        let mut until = account.next_record(at).map_or(end, |record| end.min(record.minus(STEP)));
        // What was decided about and what was not are two findings.
        let pending = undecided.is_some_and(|from| at >= from);
        if let Some(from) = undecided.filter(|from| !pending && *from <= until) {
            until = from.minus(STEP);
        }
        let more = instants.count_within(at, until, COUNT_CAP).unwrap_or(COUNT_CAP);
        if pending && waits {
            verdict.waiting += more + 1;
        } else {
            let why = if pending { "still due in the table" } else { "neither fired nor skipped" };
            let text = format!(
                "{} generation {}: {at} and {more} more up to {until} {why}",
                trigger.key, trigger.generation
            );
            verdict.broke(Rule::Lost, more + 1, text, || around(trigger, account, at));
        }
        next = instants.next_after(until.max(at));
    }
}

/// The records before and after a lost instant, and the row.
fn around(trigger: &TriggerRecord, account: &Account<'_>, at: Timestamp) -> Vec<String> {
    let fired = |at: &Timestamp| format!("record: fired {at}");
    let before = account.fired.range(..at).next_back().map(fired);
    let after = account.fired.range(at..).next().map(fired);
    let row = format!("row: {:?}, last {:?}, next {:?}", trigger.state, trigger.last, trigger.next_fire);
    before.into_iter().chain(after).chain([row]).collect()
}

/// The key that a trigger's job queues for, if it does.
fn queue_key<'a>(trigger: &TriggerRecord, tables: &'a Tables) -> Option<&'a str> {
    let job: JobId = trigger.job_id;
    let of_job = tables.jobs.iter().find(|stored| stored.id == job)?.spec.concurrency.as_ref();
    of_job.filter(|concurrency| concurrency.when_busy == WhenBusy::Queue).map(|concurrency| &*concurrency.key)
}

/// Which slots were in use shortly before the end.
struct Busy<'a>(BTreeSet<&'a str>);

impl<'a> Busy<'a> {
    fn at_the_end(history: &'a History, cluster: &Cluster) -> Self {
        let end = cluster.stop.map_or(history.horizon, |(boot, _)| boot);
        let used = |boot: BootInstant| boot.plus(PATIENCE) >= end;
        let trails = history.trails.values().filter(|trail| trail.facts.iter().any(|fact| used(fact.boot)));
        Self(trails.filter_map(|trail| trail.slot.as_deref()).collect())
    }

    fn used(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}

/// When a ready row was to start. A row that waits for a slot has a later `wake`; before its first attempt nothing but a
/// slot can have delayed it.
fn ready_since(row: &Execution) -> Timestamp {
    if row.slot.is_some() && row.attempts.is_empty() { row.wake.min(row.scheduled) } else { row.wake }
}

/// Live rows that nobody will move: their node is not up, or they are ready, due for long, and nobody took them.
fn stuck(tables: &Tables, busy: &Busy<'_>, end: Timestamp, verdict: &mut Verdict) {
    let up: BTreeSet<NodeId> =
        tables.nodes.iter().filter(|node| node.state == NodeState::Up).map(|node| node.info.id).collect();
    let mut holders: BTreeMap<&str, String> = BTreeMap::new();
    for row in &tables.live {
        let owned = matches!(row.state, ExecutionState::Claimed | ExecutionState::Running);
        let shown = format!(
            "row: {} {:?}, owner {:?}, fence {}, wake {}",
            row.id, row.state, row.owner, row.fence, row.wake
        );
        let problem = match row.owner {
            Some(owner) if !up.contains(&owner) => Some(format!("names node {owner}, which is not up")),
            Some(_) if !owned => Some("is not claimed, but names an owner".to_owned()),
            None if owned => Some("is claimed by nobody".to_owned()),
            None if row.state == ExecutionState::Ready && ready_since(row).plus(PATIENCE) < end => {
                let queued = row.slot.as_ref().is_some_and(|slot| busy.used(&slot.key));
                (!queued).then(|| format!("has been ready since {}", ready_since(row)))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            verdict
                .broke(Rule::Stuck, 1, format!("the live row {} {problem}", row.id), || vec![shown.clone()]);
        }
        let Some(slot) = row.slot.as_ref().filter(|slot| owned && slot.limit == 1) else { continue };
        if let Some(other) = holders.insert(&slot.key, shown.clone()) {
            let text = format!("two owned live rows hold {:?}", slot.key);
            verdict.broke(Rule::SharedSlot, 1, text, || vec![other, shown]);
        }
    }
}
