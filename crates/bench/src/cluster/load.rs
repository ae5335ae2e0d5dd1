//! What a benchmark puts into the store before anything is measured.

use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::inspect::FoundTrigger;
use punctual_core::job::{ExecutionSpec, Payload};
use punctual_core::protocol::define::{self, JobDefinition, TriggerDefinition};
use punctual_core::schedule::Every;
use punctual_core::store::{Applied, Change};
use punctual_core::trigger::{DEFAULT_TOLERANCE, TriggerSpec};
use punctual_core::{Entropy, JobKey, JobStore, Kind, MisfirePolicy, Schedule, TriggerKey};
use punctual_runtime::Job;

use super::Result;
use super::tally::Nothing;

/// How many definitions go into one step.
const BATCH: usize = 400;

/// Puts in triggers of one interval that ignore misfires, each with a job of its own, spread evenly over the interval.
pub(crate) async fn triggers(store: &dyn JobStore, count: u32, interval: Duration) -> Result<()> {
    let (now, entropy) = (store.now().await?, SeededEntropy::new(1));
    let mut changes = Vec::new();
    for n in 0..count {
        let anchor = now.plus(interval.mul_f64(f64::from(n) / f64::from(count)));
        let spec = TriggerSpec {
            schedule: Schedule::Every(Every::new(interval)?.anchored_at(anchor)),
            start: None,
            end: None,
            misfire: MisfirePolicy::FireAll,
            tolerance: DEFAULT_TOLERANCE,
            calendar: None,
            when_excluded: punctual_core::calendar::WhenExcluded::default(),
        };
        let name = format!("t{n}");
        let job = JobDefinition {
            key: JobKey::new("bench", &name)?,
            kind: Kind::new(Nothing::KIND)?,
            description: None,
            spec: ExecutionSpec::default(),
            payload: Payload::json(&Nothing {})?,
            priority: 0,
            durable: true,
        };
        let trigger = TriggerDefinition {
            key: TriggerKey::new("bench", &name)?,
            job: job.key.clone(),
            description: None,
            spec,
            payload: None,
            priority: 0,
        };
        let entropy: &dyn Entropy = &entropy;
        if let Some((expect, record)) = define::put_job(None, &job, None, now, entropy)? {
            let id = record.id;
            changes.push(Change::PutJob { expect, job: record });
            let nothing = FoundTrigger { trigger: None, mark: None };
            changes.extend(define::put_trigger(&nothing, &trigger, None, id, None, now, entropy)?);
        }
        if changes.len() >= BATCH || n + 1 == count {
            match store.apply(std::mem::take(&mut changes)).await? {
                Applied::All => {}
                Applied::Lost { at } => return Err(format!("definition {at} was there already").into()),
            }
        }
    }
    Ok(())
}
