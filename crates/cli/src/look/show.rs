//! `punctual show`: everything about one job, trigger or execution.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use punctual::{ExecutionId, JobKey, MisfirePolicy, TriggerKey};
use punctual_core::calendar::{Calendar, WhenExcluded};
use punctual_core::execution::{Attempt, Execution, HistoryRecord};
use punctual_core::inspect::{ExecutionFilter, HistoryFilter};
use punctual_core::instants::Instants;
use punctual_core::job::{Backoff, JobRecord};
use punctual_core::pause::PausedGroup;
use punctual_core::store::Readable;
use punctual_core::trigger::{TriggerRecord, TriggerSpec};
use punctual_core::{Inspect, Timestamp};
use serde_json::json;

use super::history::{bad_key, names, outcome, table};
use super::list::{document, next, paused};
use super::{columns, not_found, print, print_json, text, what, when};
use crate::args::ShowArgs;
use crate::db::{self, Access};
use crate::trouble::{Exit, Trouble};

/// How many instants and records are shown.
const SHOWN: usize = 5;

pub(crate) async fn show(args: ShowArgs) -> Result<(), Trouble> {
    let store = db::open(&args.db, Access::AsItIs).await?;
    let inspect = store.inspect();
    let now = store.now().await?;
    if let Ok(id) = args.key.parse::<ExecutionId>() {
        return execution(inspect, id, args.json, now).await;
    }
    let key: JobKey = args.key.parse().map_err(bad_key)?;
    if let Some(job) = inspect.job(&key).await? {
        let triggers = inspect.triggers_of(job.id).await?;
        return one(inspect, &job, &triggers, args.json, now).await;
    }
    let key: TriggerKey = args.key.parse().map_err(bad_key)?;
    let Some(trigger) = inspect.trigger(&key).await?.trigger else {
        return Err(not_found(inspect, "job or trigger", &args.key).await);
    };
    match inspect.job_by_id(trigger.job_id).await? {
        Some(job) => one(inspect, &job, &[trigger], args.json, now).await,
        None => Err(Trouble::new(Exit::Error, format!("the job of trigger {key} is gone"))),
    }
}

async fn one(
    inspect: &dyn Inspect,
    job: &JobRecord,
    triggers: &[TriggerRecord],
    json: bool,
    now: Timestamp,
) -> Result<(), Trouble> {
    let filter = ExecutionFilter { job: Some(job.id), limit: 100, ..ExecutionFilter::default() };
    let live: Vec<Execution> = inspect.executions(filter).await?.into_iter().filter_map(row).collect();
    let limit = u32::try_from(SHOWN).unwrap_or(1);
    let past = inspect
        .history(HistoryFilter { job: Some(job.key.clone()), limit, ..HistoryFilter::default() })
        .await?;
    let calendars = calendars(inspect, triggers).await?;
    let seen_through = |trigger: &TriggerRecord| {
        trigger.spec.calendar.as_ref().and_then(|name| calendars.get(name)).map(|calendar| &**calendar)
    };
    if json {
        let triggers: Vec<_> = triggers
            .iter()
            .map(|trigger| {
                let mut row = document(trigger);
                let upcoming = upcoming(trigger, seen_through(trigger));
                row["upcoming"] = json!(upcoming.into_iter().map(text::instant).collect::<Vec<_>>());
                row
            })
            .collect();
        print_json(&json!({
            "key": job.key,
            "kind": job.kind,
            "description": job.description,
            "runs": what(job),
            "payload": serde_json::from_slice::<serde_json::Value>(&job.payload.data).ok(),
            "rules": job.spec,
            "priority": job.priority,
            "set": job.set,
            "rev": job.rev,
            "created": text::instant(job.created),
            "triggers": triggers,
            "live": live.iter().map(live_document).collect::<Vec<_>>(),
            "history": past,
        }));
        return Ok(());
    }
    let groups = inspect.paused_groups().await?;
    let mut facts = vec![("job", job.key.to_string())];
    facts.extend(job.description.as_ref().map(|text| ("description", text.to_string())));
    facts.push(("runs", what(job)));
    facts.extend(rules(job));
    facts.extend(job.set.as_ref().map(|set| ("defined by", format!("the set `{set}`"))));
    print(&list(&facts));
    for trigger in triggers {
        print("");
        let group = groups.iter().find(|paused| *paused.group == *trigger.key.group());
        print(&list(&about(trigger, seen_through(trigger), group, now)));
    }
    let names = names(inspect).await?;
    if !live.is_empty() {
        print("\nlive");
        let rows = live.iter().map(|row| {
            vec![
                row.id.to_string(),
                text::instant(row.scheduled),
                format!("{:?}", row.state).to_lowercase(),
                row.attempt.to_string(),
                row.owner.and_then(|id| names.get(&id).cloned()).unwrap_or_default(),
                row.cancel.as_ref().or(row.error.as_ref()).map(|why| text::cut(why, 60)).unwrap_or_default(),
            ]
        });
        print(&columns(&["EXECUTION", "SCHEDULED", "STATE", "TRY", "NODE", ""], &[3], rows));
    }
    if !past.is_empty() {
        print("\nlast");
        print(&table(&past, &names, now));
    }
    Ok(())
}

fn row(row: Readable<Execution>) -> Option<Execution> {
    match row {
        Readable::Row(row) => Some(row),
        Readable::Poison(_) => None,
    }
}

/// The next instants as its calendar lets them through; only the one that is stored if they cannot be computed here.
fn upcoming(trigger: &TriggerRecord, calendar: Option<&Calendar>) -> Vec<Timestamp> {
    let instants = Instants::of(&trigger.spec).and_then(|instants| match calendar {
        Some(calendar) => instants.through(calendar, trigger.spec.when_excluded),
        None => Ok(instants),
    });
    let Ok(instants) = instants else { return trigger.next_fire.into_iter().collect() };
    let instants = instants.with_progress(trigger.progress);
    std::iter::successors(trigger.next_fire, |at| instants.next_after(*at)).take(SHOWN).collect()
}

/// The calendars that triggers name.
async fn calendars(
    inspect: &dyn Inspect,
    triggers: &[TriggerRecord],
) -> Result<BTreeMap<Box<str>, Arc<Calendar>>, Trouble> {
    let mut found = BTreeMap::new();
    for name in triggers.iter().filter_map(|trigger| trigger.spec.calendar.clone()) {
        if let Some(record) = inspect.calendar(&name).await? {
            found.insert(name, record.calendar);
        }
    }
    Ok(found)
}

fn about(
    trigger: &TriggerRecord,
    calendar: Option<&Calendar>,
    group: Option<&PausedGroup>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut facts = vec![("trigger", trigger.key.to_string())];
    facts.extend(trigger.description.as_ref().map(|text| ("description", text.to_string())));
    facts.push(("schedule", when(&trigger.spec.schedule)));
    facts.extend(trigger.spec.start.map(|at| ("start", text::instant(at))));
    facts.extend(trigger.spec.end.map(|at| ("end", text::instant(at))));
    facts.extend(
        trigger.spec.calendar.as_ref().map(|name| ("calendar", through(name, trigger.spec.when_excluded))),
    );
    facts.push(("if late", late(&trigger.spec)));
    facts.push((
        "fired",
        match trigger.fires {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        },
    ));
    facts.extend(
        trigger.last.map(|at| ("last", format!("{} ({})", text::instant(at), text::relative(at, now)))),
    );
    facts.extend(trigger.paused.as_ref().map(|pause| ("paused", paused(pause, now))));
    facts.extend(group.map(|PausedGroup { group, pause }| {
        ("paused", format!("with the group {group}, {}", paused(pause, now)))
    }));
    facts.push(("next", next(trigger, now)));
    facts.extend(upcoming(trigger, calendar).into_iter().map(|at| ("", text::instant(at))));
    facts
}

/// A calendar, and what becomes of the instants that it leaves out.
fn through(name: &str, when_excluded: WhenExcluded) -> String {
    match when_excluded {
        WhenExcluded::Before => format!("{name}; what it leaves out is moved to the day before"),
        WhenExcluded::After => format!("{name}; what it leaves out is moved to the day after"),
        _ => name.to_owned(),
    }
}

fn late(spec: &TriggerSpec) -> String {
    let what = match spec.misfire {
        MisfirePolicy::FireOnceNow => "fires once, for the latest of them".to_owned(),
        MisfirePolicy::Skip => "is skipped".to_owned(),
        MisfirePolicy::FireAll => "fires for each of them".to_owned(),
        MisfirePolicy::CatchUp { limit, max_age } => caught_up(limit, max_age),
        MisfirePolicy::Spread { limit, max_age, over } => {
            format!("{}, spread over {}", caught_up(limit, max_age), text::span(over))
        }
        MisfirePolicy::Quartz { instruction } => format!("as Quartz does ({instruction:?})"),
        _ => format!("{:?}", spec.misfire),
    };
    format!("by more than {}: {what}", text::span(spec.tolerance))
}

fn caught_up(limit: u32, max_age: Option<Duration>) -> String {
    let age = max_age.map(|age| format!(" if not older than {}", text::span(age))).unwrap_or_default();
    format!("fires for the last {limit} of them{age}")
}

fn rules(job: &JobRecord) -> Vec<(&'static str, String)> {
    let spec = &job.spec;
    let mut facts = Vec::new();
    facts.extend(spec.concurrency.as_ref().map(|limit| {
        let busy = format!("{:?}", limit.when_busy).to_lowercase();
        ("overlap", format!("at most {} with the key `{}`; when busy: {busy}", limit.limit, limit.key))
    }));
    facts.extend(spec.timeout.map(|span| ("timeout", text::span(span))));
    if spec.retry.max_attempts > 1 {
        let delay = match spec.retry.backoff {
            Backoff::Fixed { delay } => format!("{} apart", text::span(delay)),
            Backoff::Exponential { first, max, .. } => {
                format!("{} apart, doubling up to {}", text::span(first), text::span(max))
            }
            _ => String::new(),
        };
        facts.push(("attempts", format!("{}, {delay}", spec.retry.max_attempts)));
    }
    let loss = format!("{:?}", spec.on_node_loss).to_lowercase();
    facts.push(("node loss", loss));
    if job.priority != 0 {
        facts.push(("priority", job.priority.to_string()));
    }
    facts
}

fn list(facts: &[(&str, String)]) -> String {
    let lines = facts.iter().map(|(name, value)| format!("{name:<12} {}", value.replace('\n', " ")));
    lines.collect::<Vec<_>>().join("\n")
}

async fn execution(
    inspect: &dyn Inspect,
    id: ExecutionId,
    json: bool,
    now: Timestamp,
) -> Result<(), Trouble> {
    if let Some(record) = inspect.record(id).await? {
        if json {
            print_json(&serde_json::to_value(&record).unwrap_or_default());
        } else {
            print(&past(&record, now));
        }
        return Ok(());
    }
    let Some(row) = inspect.execution(id).await? else {
        return Err(Trouble::new(Exit::NotFound, format!("there is no execution {id}"))
            .hint("it may be older than the history that is kept; `punctual history` shows what there is"));
    };
    if json {
        print_json(&live_document(&row));
        return Ok(());
    }
    let mut facts = vec![("execution", id.to_string()), ("state", format!("{:?}", row.state).to_lowercase())];
    facts.extend(row.job.as_ref().map(|job| ("job", job.key.to_string())));
    facts.extend(row.occurrence.as_ref().map(|occurrence| ("trigger", occurrence.key.to_string())));
    facts.push((
        "scheduled",
        format!("{} ({})", text::instant(row.scheduled), text::relative(row.scheduled, now)),
    ));
    facts.push(("attempt", format!("{}, fence {}", row.attempt, row.fence)));
    facts.extend(row.attempts.iter().map(attempt));
    print(&list(&facts));
    Ok(())
}

fn past(record: &HistoryRecord, now: Timestamp) -> String {
    let mut facts =
        vec![("execution", record.id.to_string()), ("outcome", outcome(record.outcome).to_owned())];
    facts.extend(record.job.as_ref().map(|job| ("job", job.key.to_string())));
    facts.extend(record.occurrence.as_ref().map(|occurrence| ("trigger", occurrence.key.to_string())));
    facts.push(("scheduled", text::instant(record.scheduled)));
    facts.extend(
        record.started.map(|at| {
            ("started", format!("{} ({})", text::instant(at), text::lateness(record.scheduled, at)))
        }),
    );
    facts.push(("ended", format!("{} ({})", text::instant(record.ended), text::relative(record.ended, now))));
    facts.extend(record.attempts.iter().map(attempt));
    facts.extend(record.error.as_ref().map(|error| ("error", error.to_string())));
    let mut text = list(&facts);
    if let Some(output) = record.output.as_ref().filter(|output| !output.is_empty()) {
        text.push_str("\n\n");
        text.push_str(output.trim_end());
    }
    text
}

fn attempt(attempt: &Attempt) -> (&'static str, String) {
    let took = attempt
        .started
        .map(|at| format!(" after {}", text::span(attempt.ended.since(at))))
        .unwrap_or_default();
    let error =
        attempt.error.as_ref().map(|error| format!(": {}", text::one_line(error))).unwrap_or_default();
    let ended = format!("{:?}", attempt.outcome).to_lowercase();
    ("attempt", format!("{} on {}: {ended}{took}{error}", attempt.number, attempt.node))
}

fn live_document(row: &Execution) -> serde_json::Value {
    json!({
        "id": row.id,
        "job": row.job.as_ref().map(|job| &job.key),
        "trigger": row.occurrence.as_ref().map(|occurrence| &occurrence.key),
        "scheduled": text::instant(row.scheduled),
        "state": row.state,
        "owner": row.owner,
        "attempt": row.attempt,
        "fence": row.fence,
        "wake": text::instant(row.wake),
        "slot": row.slot.as_ref().map(|slot| &slot.key),
        "attempts": row.attempts,
        "cancel": row.cancel,
        "error": row.error,
    })
}
