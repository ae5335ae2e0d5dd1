//! `punctual history`: what ran and what was skipped, newest first.

use std::collections::BTreeMap;

use punctual::{JobKey, NodeId, TriggerKey};
use punctual_core::execution::{HistoryRecord, Outcome, SkipReason};
use punctual_core::inspect::HistoryFilter;
use punctual_core::{Inspect, Timestamp};

use super::{columns, not_found, print, print_json, text};
use crate::args::HistoryArgs;
use crate::db::{self, Access};
use crate::trouble::{Exit, Trouble};

pub(crate) async fn history(args: HistoryArgs) -> Result<(), Trouble> {
    let store = db::open(&args.db, Access::AsItIs).await?;
    let inspect = store.inspect();
    let records = match &args.key {
        None => inspect.history(HistoryFilter { limit: args.number, ..HistoryFilter::default() }).await?,
        Some(key) => of(inspect, key, args.number).await?,
    };
    if args.json {
        print_json(&serde_json::to_value(&records).unwrap_or_default());
        return Ok(());
    }
    if records.is_empty() {
        print("nothing has ended yet");
        return Ok(());
    }
    let now = store.now().await?;
    print(&table(&records, &names(inspect).await?, now));
    Ok(())
}

/// The records of a job, or else of a trigger.
async fn of(inspect: &dyn Inspect, key: &str, limit: u32) -> Result<Vec<HistoryRecord>, Trouble> {
    let job: JobKey = key.parse().map_err(bad_key)?;
    let trigger: TriggerKey = key.parse().map_err(bad_key)?;
    let records =
        inspect.history(HistoryFilter { job: Some(job.clone()), limit, ..HistoryFilter::default() }).await?;
    if !records.is_empty() {
        return Ok(records);
    }
    let filter = HistoryFilter { trigger: Some(trigger.clone()), limit, ..HistoryFilter::default() };
    let records = inspect.history(filter).await?;
    if records.is_empty()
        && inspect.job(&job).await?.is_none()
        && inspect.trigger(&trigger).await?.trigger.is_none()
    {
        return Err(not_found(inspect, "job or trigger", key).await);
    }
    Ok(records)
}

pub(crate) fn bad_key(error: punctual::Error) -> Trouble {
    Trouble::new(Exit::Usage, error.message().to_owned())
        .hint("a key is `group/name`, or `name` for `default/name`")
}

/// What nodes are called.
pub(super) async fn names(inspect: &dyn Inspect) -> Result<BTreeMap<NodeId, String>, Trouble> {
    let nodes = inspect.nodes().await?;
    Ok(nodes.into_iter().map(|node| (node.info.id, node.info.name.into())).collect())
}

pub(super) fn table(records: &[HistoryRecord], names: &BTreeMap<NodeId, String>, now: Timestamp) -> String {
    let rows = records.iter().map(|record| {
        let late =
            record.started.map(|started| text::lateness(record.scheduled, started)).unwrap_or_default();
        let took = record.started.map(|started| text::span(record.ended.since(started))).unwrap_or_default();
        let node = record.node.map(|id| names.get(&id).cloned().unwrap_or_else(|| id.to_string()));
        let attempts = if record.attempt > 0 { record.attempt.to_string() } else { String::new() };
        vec![
            text::instant(record.scheduled),
            key(record),
            outcome(record.outcome).to_owned(),
            late,
            took,
            attempts,
            node.unwrap_or_default(),
            text::relative(record.ended, now),
            detail(record),
        ]
    });
    let head = ["SCHEDULED", "KEY", "OUTCOME", "LATE", "TOOK", "TRIES", "NODE", "ENDED", ""];
    columns(&head, &[3, 4, 5], rows)
}

fn key(record: &HistoryRecord) -> String {
    let trigger = record.occurrence.as_ref().map(|occurrence| occurrence.key.to_string());
    let key = trigger.or_else(|| record.job.as_ref().map(|job| job.key.to_string()));
    key.unwrap_or_else(|| record.kind.to_string())
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "ok",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Lost => "lost",
        Outcome::Skipped => "skipped",
    }
}

fn detail(record: &HistoryRecord) -> String {
    if let Some(error) = &record.error {
        return text::cut(&text::one_line(error), 80);
    }
    let Some(reason) = record.reason else { return String::new() };
    let why = match reason {
        SkipReason::Misfire => "too late",
        SkipReason::Overlap => "an earlier one still ran",
    };
    match (record.count, record.until) {
        (Some(1), _) | (_, None) => why.to_owned(),
        (Some(count), Some(until)) => format!("{count} instants until {}: {why}", text::instant(until)),
        (None, Some(until)) => format!("instants until {}: {why}", text::instant(until)),
    }
}
