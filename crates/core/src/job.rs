//! What runs: the stored job, its payload, and the rules under which an execution of it is tried.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::key::{JobId, JobKey, Kind};
use crate::time::Timestamp;

/// The largest payload, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// The codec of payloads that serde_json wrote.
pub const JSON: &str = "json";

/// Data for a handler: bytes, the name of their codec, and the version of their shape.
///
/// `Debug` shows the size only, so that secrets do not reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// How the bytes are written, `json` by default.
    pub codec: Box<str>,
    /// The version of the shape, for readers that know several.
    pub version: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Payload {
    /// Writes a value as JSON.
    ///
    /// # Errors
    /// `Invalid` if the value cannot be written as JSON or takes more than 1 MiB.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let data = serde_json::to_vec(value).map_err(|error| {
            Error::invalid("payload", "the value cannot be written as JSON").with_source(error)
        })?;
        if data.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::invalid(
                "payload",
                format!(
                    "{} bytes are more than the limit of 1 MiB; store the data elsewhere and pass its name",
                    data.len()
                ),
            ));
        }
        Ok(Self { codec: JSON.into(), version: 1, data })
    }

    /// The JSON value `null`, the payload of a job that needs no data.
    pub fn null() -> Self {
        Self { codec: JSON.into(), version: 1, data: b"null".to_vec() }
    }

    /// Lays the members of `over` over those of `self`, as Quartz lays trigger data over job data.
    ///
    /// Only two JSON objects can be merged, one level deep; otherwise `over` replaces `self`.
    #[must_use]
    pub fn overlay(&self, over: &Self) -> Self {
        let object = |payload: &Self| match serde_json::from_slice(&payload.data) {
            Ok(serde_json::Value::Object(members)) if &*payload.codec == JSON => Some(members),
            _ => None,
        };
        match (object(self), object(over)) {
            (Some(mut base), Some(top)) => {
                base.extend(top);
                let data = serde_json::Value::Object(base).to_string().into_bytes();
                Self { codec: JSON.into(), version: over.version, data }
            }
            _ => over.clone(),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} v{}, {} bytes)", self.codec, self.version, self.data.len())
    }
}

/// Serialises a duration as whole microseconds.
pub(crate) mod duration_us {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }

    /// The same for a duration that may be missing.
    pub(crate) mod option {
        use super::{Deserialize, Deserializer, Duration, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            span: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match span {
                Some(span) => super::serialize(span, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
        }
    }
}

/// How long a failed execution waits before its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Backoff {
    /// The same delay each time.
    Fixed {
        /// The delay.
        #[serde(with = "duration_us")]
        delay: Duration,
    },
    /// `first`, then `factor` times the delay before, at most `max`.
    Exponential {
        /// The delay before the second attempt.
        #[serde(with = "duration_us")]
        first: Duration,
        /// The growth, 1 or more.
        factor: u32,
        /// The longest delay.
        #[serde(with = "duration_us")]
        max: Duration,
    },
}

/// How often an execution is tried, and how long it waits between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts that may fail, the first one included; 1 means no retry.
    pub max_attempts: u32,
    /// The wait between two attempts.
    pub backoff: Backoff,
    /// How much of each delay is drawn at random, in percent (0 to 100): 20 makes a delay of 10 s one of 8 to 10 s.
    pub jitter_percent: u8,
}

impl RetryPolicy {
    /// One attempt, as in Quartz. The default.
    pub const NEVER: Self =
        Self { max_attempts: 1, backoff: Backoff::Fixed { delay: Duration::ZERO }, jitter_percent: 0 };

    /// `max_attempts` with the same `delay` between them.
    pub const fn fixed(max_attempts: u32, delay: Duration) -> Self {
        Self { max_attempts, backoff: Backoff::Fixed { delay }, jitter_percent: 0 }
    }

    /// `max_attempts` with delays that double from `first` up to one hour, of which a fifth is drawn at random.
    pub const fn exponential(max_attempts: u32, first: Duration) -> Self {
        let max = Duration::from_secs(3600);
        Self { max_attempts, backoff: Backoff::Exponential { first, factor: 2, max }, jitter_percent: 20 }
    }

    /// The delay before the attempt that follows the `failures`-th failure, before jitter.
    pub fn delay(&self, failures: u32) -> Duration {
        match self.backoff {
            Backoff::Fixed { delay } => delay,
            Backoff::Exponential { first, factor, max } => {
                let growth = factor.max(1).checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
                first.checked_mul(growth).unwrap_or(Duration::MAX).min(max)
            }
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::NEVER
    }
}

/// What happens to an execution whose node died while it may have been running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNodeLoss {
    /// Run it again: at least once. The default.
    #[default]
    Rerun,
    /// Record it as lost: at most once. Costs one more write before each run.
    Lose,
}

/// What a node does with a running body when it can no longer be sure of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLeaseLoss {
    /// Cancel exclusive and at-most-once work, let the rest go on: its fence protects it. The default.
    #[default]
    Auto,
    /// Cancel in any case.
    Cancel,
    /// Let it go on in any case.
    Continue,
}

/// What a trigger does at an instant at which its job may not start another execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// Wait, and fire late. Misfire rules apply once the way is free.
    #[default]
    Queue,
    /// Record the instant as skipped and go on to the next.
    Skip,
}

/// A limit on executions that hold the same key at once, anywhere in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// The shared name, 1 to 400 bytes; jobs may share one.
    pub key: Box<str>,
    /// How many may hold it, 1 to 10,000. 1 makes the work exclusive.
    pub limit: u32,
    /// What a trigger does while all are taken.
    pub when_busy: WhenBusy,
}

impl Concurrency {
    /// At most one execution of this job at a time.
    pub fn exclusive(job: &JobKey, when_busy: WhenBusy) -> Self {
        Self { key: format!("job:{job}").into(), limit: 1, when_busy }
    }
}

/// The rules under which an execution is tried. A stored job has one, and so has work that was enqueued without one.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutionSpec {
    /// Attempts and delays.
    pub retry: RetryPolicy,
    /// The longest an attempt may take; `None` is no limit.
    #[serde(with = "duration_us::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// At least once, or at most once.
    pub on_node_loss: OnNodeLoss,
    /// What a node does when it can no longer be sure of its lease.
    pub on_lease_loss: OnLeaseLoss,
    /// The limit that this work is under; `None` allows any number at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Keep the slot while waiting for the next attempt, so that nothing of the same key runs in between.
    pub hold_slot_while_waiting: bool,
}

impl ExecutionSpec {
    /// Whether a body of this must be stopped when the lease of its node has run out.
    pub fn stops_on_lease_loss(&self) -> bool {
        match self.on_lease_loss {
            OnLeaseLoss::Cancel => true,
            OnLeaseLoss::Continue => false,
            OnLeaseLoss::Auto => self.concurrency.is_some() || self.on_node_loss == OnNodeLoss::Lose,
        }
    }

    /// Checks the bounds that the types do not.
    ///
    /// # Errors
    /// `Invalid`, naming the setting.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(Error::invalid("job", why));
        if self.retry.max_attempts == 0 {
            return wrong("retry: max_attempts is 0; the first attempt counts, so use 1 or more".to_owned());
        }
        if self.retry.jitter_percent > 100 {
            return wrong(format!("retry: a jitter of {} % is more than 100 %", self.retry.jitter_percent));
        }
        if let Some(concurrency) = &self.concurrency {
            if concurrency.key.is_empty() || concurrency.key.len() > 410 {
                return wrong("concurrency: the key must have 1 to 410 bytes".to_owned());
            }
            if !(1..=10_000).contains(&concurrency.limit) {
                return wrong(format!(
                    "concurrency: a limit of {} is not between 1 and 10,000",
                    concurrency.limit
                ));
            }
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return wrong("timeout: zero leaves no time to run; leave it out for no limit".to_owned());
        }
        Ok(())
    }
}

/// A stored job: what its triggers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Fresh at each creation.
    pub id: JobId,
    /// Its name.
    pub key: JobKey,
    /// Which handler runs it.
    pub kind: Kind,
    /// For people.
    pub description: Option<Box<str>>,
    /// Rules of its executions.
    pub spec: ExecutionSpec,
    /// Data that its triggers may lay their own over.
    pub payload: Payload,
    /// Higher starts first among work that is due; 0 by default.
    pub priority: i32,
    /// Kept when its last trigger goes.
    pub durable: bool,
    /// The set that defines it, if any.
    pub set: Option<Box<str>>,
    /// Grows with every write.
    pub rev: i64,
    /// When it was created, on the store's clock.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigger_data_is_laid_over_job_data() {
        let job = Payload::json(&serde_json::json!({"a": 1, "b": 1})).unwrap();
        let trigger = Payload::json(&serde_json::json!({"b": 2})).unwrap();
        assert_eq!(job.overlay(&trigger).data, br#"{"a":1,"b":2}"#);
        assert_eq!(job.overlay(&Payload::null()), Payload::null());
    }

    #[test]
    fn exponential_delays_grow_to_their_limit() {
        let policy = RetryPolicy::exponential(9, Duration::from_secs(10));
        let delays: Vec<u64> = (1..=4).map(|n| policy.delay(n).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80]);
        assert_eq!(policy.delay(u32::MAX), Duration::from_secs(3600));
    }

    #[test]
    fn a_payload_is_not_shown_by_debug() {
        let payload = Payload::json("s3cret").unwrap();
        assert!(!format!("{payload:?}").contains("s3cret"));
    }

    #[test]
    fn specs_out_of_bounds_are_refused() {
        let mut spec = ExecutionSpec::default();
        spec.retry.max_attempts = 0;
        assert!(spec.check().is_err());
        let spec = ExecutionSpec {
            concurrency: Some(Concurrency { key: "k".into(), limit: 0, when_busy: WhenBusy::Queue }),
            ..ExecutionSpec::default()
        };
        assert!(spec.check().is_err());
    }
}
