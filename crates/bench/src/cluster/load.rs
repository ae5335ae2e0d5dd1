//! What a benchmark puts into the store before anything is measured.

use std::time::Duration;

use punctual_core::calendar::WhenExcluded;
use punctual_core::entropy::SeededEntropy;
use punctual_core::inspect::FoundTrigger;
use punctual_core::job::{ExecutionSpec, Payload};
use punctual_core::protocol::define::{self, JobDefinition, TriggerDefinition};
use punctual_core::schedule::Every;
use punctual_core::store::{Applied, Change};
use punctual_core::trigger::{DEFAULT_TOLERANCE, TriggerSpec};
use punctual_core::{Entropy, JobKey, JobStore, Kind, MisfirePolicy, Schedule, Timestamp, TriggerKey};
use punctual_runtime::Job;

use super::Result;
use super::tally::Nothing;

/// How many changes go into one step.
const BATCH: usize = 400;
/// The group of all jobs and triggers.
const GROUP: &str = "bench";

/// Puts in triggers of one interval that ignore misfires, each with a job of its own, spread evenly over the interval.
pub(crate) async fn triggers(store: &dyn JobStore, count: u32, interval: Duration) -> Result<()> {
    let (now, entropy) = (store.now().await?, SeededEntropy::new(1));
    let entropy: &dyn Entropy = &entropy;
    let mut changes = Vec::new();
    for n in 0..count {
        let anchor = now.plus(interval.mul_f64(f64::from(n) / f64::from(count)));
        let name = format!("t{n}");
        let job = job(&name)?;
        let trigger = trigger(&name, &job, spec(interval, anchor)?)?;
        if let Some((expect, record)) = define::put_job(None, &job, None, now, entropy)? {
            let id = record.id;
            changes.push(Change::PutJob { expect, job: record });
            let nothing = FoundTrigger { trigger: None, mark: None };
            changes.extend(define::put_trigger(&nothing, &trigger, None, id, None, now, entropy)?);
        }
        if changes.len() >= BATCH || n + 1 == count {
            write(store, std::mem::take(&mut changes)).await?;
        }
    }
    Ok(())
}

/// A job that does nothing.
pub(crate) fn job(name: &str) -> Result<JobDefinition> {
    Ok(JobDefinition {
        key: JobKey::new(GROUP, name)?,
        kind: Kind::new(Nothing::KIND)?,
        description: None,
        spec: ExecutionSpec::default(),
        payload: Payload::json(&Nothing {})?,
        priority: 0,
        durable: true,
    })
}

pub(crate) fn trigger(name: &str, job: &JobDefinition, spec: TriggerSpec) -> Result<TriggerDefinition> {
    Ok(TriggerDefinition {
        key: TriggerKey::new(GROUP, name)?,
        job: job.key.clone(),
        description: None,
        spec,
        payload: None,
        priority: 0,
    })
}

/// Fires whenever the interval has gone by, in both directions from an instant.
pub(crate) fn spec(interval: Duration, anchor: Timestamp) -> Result<TriggerSpec> {
    Ok(TriggerSpec {
        schedule: Schedule::Every(Every::new(interval)?.anchored_at(anchor)),
        start: None,
        end: None,
        misfire: MisfirePolicy::FireAll,
        tolerance: DEFAULT_TOLERANCE,
        calendar: None,
        when_excluded: WhenExcluded::default(),
    })
}

/// Does changes of what is not there yet.
pub(crate) async fn write(store: &dyn JobStore, changes: Vec<Change>) -> Result<()> {
    match store.apply(changes).await? {
        Applied::All => Ok(()),
        Applied::Lost { at } => Err(format!("definition {at} was there already").into()),
    }
}
