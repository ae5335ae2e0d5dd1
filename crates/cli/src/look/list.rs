//! `punctual list`: every trigger with its job, its schedule, and its next and last instant.

use std::collections::BTreeMap;

use punctual_core::inspect::{MAX_PAGE, Page};
use punctual_core::pause::{Pause, PausedGroup};
use punctual_core::trigger::{TriggerRecord, TriggerState};
use punctual_core::{Inspect, JobId, Timestamp};
use serde_json::json;

use super::{all_jobs, columns, print, print_json, text, what, when};
use crate::args::ListArgs;
use crate::db::{self, Access};
use crate::trouble::{Exit, Trouble};

pub(crate) async fn list(args: ListArgs) -> Result<(), Trouble> {
    let store = db::open(&args.db, Access::AsItIs).await?;
    let inspect = store.inspect();
    let now = store.now().await?;
    let triggers = all_triggers(inspect, args.group.as_deref()).await?;
    let jobs: BTreeMap<JobId, _> =
        all_jobs(inspect, None).await?.into_iter().map(|job| (job.id, job)).collect();
    if args.json {
        let rows = triggers.iter().map(|trigger| {
            let job = jobs.get(&trigger.job_id);
            let mut row = document(trigger);
            row["job"] = json!(job.map(|job| &job.key));
            row["runs"] = json!(job.map(what));
            row
        });
        print_json(&rows.collect());
        return Ok(());
    }
    if triggers.is_empty() {
        return match args.group {
            Some(group) => {
                Err(Trouble::new(Exit::NotFound, format!("there are no schedules in the group `{group}`"))
                    .hint("`punctual list` shows all groups"))
            }
            None => {
                print("there are no schedules in this database yet");
                Ok(())
            }
        };
    }
    let rows = triggers.iter().map(|trigger| {
        let job = jobs.get(&trigger.job_id);
        vec![
            trigger.key.to_string(),
            text::cut(&when(&trigger.spec.schedule), 50),
            trigger.spec.calendar.as_deref().unwrap_or_default().to_owned(),
            next(trigger, now),
            trigger.last.map(|last| text::relative(last, now)).unwrap_or_default(),
            trigger.fires.to_string(),
            job.map(|job| text::cut(&what(job), 50)).unwrap_or_default(),
        ]
    });
    print(&columns(&["KEY", "SCHEDULE", "CALENDAR", "NEXT", "LAST", "FIRED", "RUNS"], &[5], rows));
    let groups = inspect.paused_groups().await?;
    let shown =
        groups.iter().filter(|paused| args.group.as_deref().is_none_or(|group| group == &*paused.group));
    for (at, PausedGroup { group, pause }) in shown.enumerate() {
        let space = if at == 0 { "\n" } else { "" };
        print(&format!("{space}the group {group} was paused {}", paused(pause, now)));
    }
    Ok(())
}

/// All triggers, in pages.
async fn all_triggers(inspect: &dyn Inspect, group: Option<&str>) -> Result<Vec<TriggerRecord>, Trouble> {
    let mut page = Page { group: group.map(Into::into), after: None, limit: MAX_PAGE };
    let mut all = Vec::new();
    loop {
        let triggers = inspect.triggers(page.clone()).await?;
        let full = triggers.len() >= usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        page.after = triggers.last().map(|trigger| trigger.key.clone());
        all.extend(triggers);
        if !full {
            return Ok(all);
        }
    }
}

/// When a trigger fires next, or why it does not.
pub(super) fn next(trigger: &TriggerRecord, now: Timestamp) -> String {
    match (trigger.state, trigger.next_fire) {
        (TriggerState::Paused, _) => match &trigger.paused {
            Some(pause) => format!("paused by {}", text::one_line(&pause.by)),
            None => "paused with its group".to_owned(),
        },
        (TriggerState::Error, _) => {
            let why = trigger.error.as_deref().unwrap_or("its row cannot be understood");
            format!("set aside: {}", text::one_line(why))
        }
        (TriggerState::Complete, _) | (TriggerState::Active, None) => "never again".to_owned(),
        (TriggerState::Active, Some(at)) if at <= now => format!("due for {}", text::span(now.since(at))),
        (TriggerState::Active, Some(at)) => text::relative(at, now),
    }
}

/// A pause for programs.
pub(super) fn pause(pause: &Pause) -> serde_json::Value {
    json!({ "since": text::instant(pause.since), "by": pause.by, "reason": pause.reason })
}

/// A pause for people.
pub(super) fn paused(pause: &Pause, now: Timestamp) -> String {
    let Pause { since, by, reason } = pause;
    let reason = reason.as_deref().map(|reason| format!(": {}", text::one_line(reason))).unwrap_or_default();
    format!("{} by {}{reason}", text::relative(*since, now), text::one_line(by))
}

/// A trigger for programs.
pub(super) fn document(trigger: &TriggerRecord) -> serde_json::Value {
    json!({
        "key": trigger.key,
        "description": trigger.description,
        "schedule": trigger.spec.schedule,
        "start": trigger.spec.start.map(text::instant),
        "end": trigger.spec.end.map(text::instant),
        "calendar": trigger.spec.calendar,
        "when_excluded": trigger.spec.calendar.as_ref().map(|_| trigger.spec.when_excluded),
        "misfire": trigger.spec.misfire,
        "state": trigger.state,
        "paused": trigger.paused.as_ref().map(pause),
        "error": trigger.error,
        "next": trigger.next_fire.map(text::instant),
        "last": trigger.last.map(text::instant),
        "fires": trigger.fires,
        "priority": trigger.priority,
        "set": trigger.set,
        "generation": trigger.generation,
        "rev": trigger.rev,
        "created": text::instant(trigger.created),
    })
}
