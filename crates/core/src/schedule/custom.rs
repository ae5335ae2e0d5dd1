//! Schedules that users write: a trait, found again by a name and data.
//!
//! Code is never stored. A definition holds a name and JSON data; a [`CustomSchedules`] registry makes the schedule of
//! them. A definition that nobody resolved yet has no instants, and [`Custom::resolved`] says why: whoever plans a
//! trigger asks that first, so that a node which lacks the code leaves the trigger to one that has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// A rule for instants.
///
/// # Contract
/// Pure: the same question has the same answer on every node and at any time; nothing else is looked at. The answer
/// is strictly after the question and never goes back as the question grows. It comes within microseconds.
pub trait CustomSchedule: fmt::Debug + Send + Sync + 'static {
    /// The first instant strictly after `t`, or `None` if there is none any more.
    fn next_after(&self, t: Timestamp) -> Option<Timestamp>;
}

type Factory = Box<dyn Fn(&Value) -> Result<Arc<dyn CustomSchedule>> + Send + Sync>;

/// The custom schedules that this process knows, by name.
#[derive(Default)]
pub struct CustomSchedules {
    factories: BTreeMap<Box<str>, Factory>,
}

/// A schedule by name and data.
///
/// Two are equal if name and data are; whether they were resolved does not count.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Custom {
    name: Box<str>,
    data: Value,
    rule: Option<Arc<dyn CustomSchedule>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: Box<str>,
    #[serde(default)]
    data: Value,
}

impl CustomSchedules {
    /// A registry without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of schedule: `make` reads the data and gives the rule. A name that is there is replaced.
    pub fn register<S: CustomSchedule>(
        &mut self,
        name: &str,
        make: impl Fn(&Value) -> Result<S> + Send + Sync + 'static,
    ) -> &mut Self {
        let factory: Factory = Box::new(move |data| Ok(Arc::new(make(data)?)));
        self.factories.insert(name.into(), factory);
        self
    }

    /// The names that are known, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(|name| &**name)
    }

    fn make(&self, name: &str, data: &Value) -> Result<Arc<dyn CustomSchedule>> {
        let Some(factory) = self.factories.get(name) else {
            let known: Vec<&str> = self.names().collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("no schedule is registered as `{}`; registered: {known}", shown(name));
            return Err(Error::new(ErrorKind::Unsupported, "custom schedule", message));
        };
        factory(data)
    }
}

impl fmt::Debug for CustomSchedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomSchedules").field(&self.factories.keys()).finish()
    }
}

impl Custom {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 200;

    /// Names a schedule and gives its data. It has no instants before it is resolved.
    ///
    /// # Errors
    /// `Invalid` if the name is empty, longer than [`Custom::MAX_NAME`] or holds control characters.
    pub fn new(name: &str, data: Value) -> Result<Self> {
        if name.is_empty() || name.len() > Self::MAX_NAME || name.chars().any(char::is_control) {
            let message = format!("`{}` is no name for a schedule", shown(name));
            return Err(Error::invalid("custom schedule", message));
        }
        Ok(Self { name: name.into(), data, rule: None })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// Finds the rule.
    ///
    /// # Errors
    /// `Unsupported` if no schedule of this name is registered; whatever the registered code says about the data.
    pub fn resolve(&mut self, known: &CustomSchedules) -> Result<()> {
        self.rule = Some(known.make(&self.name, &self.data)?);
        Ok(())
    }

    /// Whether the rule has been found.
    ///
    /// # Errors
    /// `Unsupported`, naming the schedule.
    pub fn resolved(&self) -> Result<()> {
        match self.rule {
            Some(_) => Ok(()),
            None => {
                let message = format!("the schedule `{}` is not known here", shown(&self.name));
                Err(Error::new(ErrorKind::Unsupported, "custom schedule", message))
            }
        }
    }

    pub(super) fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        // An answer that does not move on would keep every caller in a loop.
        self.rule.as_ref()?.next_after(t).filter(|&next| next > t)
    }
}

fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.data == other.data
    }
}

impl Eq for Custom {}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).field("data", &self.data).finish_non_exhaustive()
    }
}

impl fmt::Display for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.data)
    }
}

impl TryFrom<Document> for Custom {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        Self::new(&document.name, document.data)
    }
}

impl From<Custom> for Document {
    fn from(custom: Custom) -> Self {
        Self { name: custom.name, data: custom.data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    #[derive(Debug)]
    struct Primes(i64);

    impl CustomSchedule for Primes {
        fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
            let first = t.as_micros().div_euclid(1_000_000) + 1;
            let prime = |n: &i64| *n > 1 && (2..*n).all(|d| n % d != 0);
            (first..self.0).find(prime).map(Timestamp::from_secs)
        }
    }

    #[derive(Debug)]
    struct Stuck;

    impl CustomSchedule for Stuck {
        fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
            Some(t)
        }
    }

    fn known() -> CustomSchedules {
        let mut known = CustomSchedules::new();
        known.register("primes", |data| {
            let limit = data.as_i64().ok_or_else(|| Error::invalid("primes", "the limit is no number"))?;
            Ok(Primes(limit))
        });
        known.register("stuck", |_| Ok(Stuck));
        known
    }

    #[test]
    fn a_schedule_is_found_again_by_its_name_and_data() {
        let json = r#"{"type":"custom","name":"primes","data":12}"#;
        let mut schedule: Schedule = serde_json::from_str(json).unwrap();
        assert!(schedule.resolved().is_err());
        assert_eq!(schedule.next_after(Timestamp::MIN), None);
        schedule.resolve(&known()).unwrap();
        schedule.resolved().unwrap();
        let all = schedule.next_n(Timestamp::EPOCH, 9);
        assert_eq!(all, [2, 3, 5, 7, 11].map(Timestamp::from_secs));
        assert_eq!(schedule.last_within(Timestamp::EPOCH, Timestamp::MAX), all.last().copied());
        assert_eq!(schedule.first_from(Timestamp::from_secs(5)), Some(Timestamp::from_secs(5)));
        assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
        assert_eq!(schedule, serde_json::from_str(json).unwrap());
    }

    #[test]
    fn what_is_not_known_is_an_error_that_says_what_is() {
        let message = |name: &str, data| {
            let mut custom = Custom::new(name, data).unwrap();
            custom.resolve(&known()).unwrap_err().to_string()
        };
        assert_eq!(
            message("tides", Value::Null),
            "custom schedule: no schedule is registered as `tides`; registered: primes, stuck"
        );
        assert_eq!(message("primes", Value::Null), "primes: the limit is no number");
        for name in ["", "a\nb", &"x".repeat(201)] {
            assert!(Custom::new(name, Value::Null).is_err());
        }
    }

    #[test]
    fn a_rule_that_does_not_move_on_has_no_instants() {
        let mut schedule = Schedule::from(Custom::new("stuck", Value::Null).unwrap());
        schedule.resolve(&known()).unwrap();
        assert_eq!(schedule.next_n(Timestamp::EPOCH, 5), []);
        assert_eq!(schedule.last_within(Timestamp::EPOCH, Timestamp::MAX), None);
    }
}
