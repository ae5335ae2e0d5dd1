//! Misfire instructions by their numbers in Quartz, and what to write in their place.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::misfire::MisfirePolicy;

/// The four types of trigger that Quartz has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TriggerType {
    /// `SimpleTrigger`.
    Simple,
    /// `CronTrigger`.
    Cron,
    /// `CalendarIntervalTrigger`.
    CalendarInterval,
    /// `DailyTimeIntervalTrigger`.
    DailyTimeInterval,
}

/// A misfire instruction of Quartz. Numbers mean different things for simple triggers and for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instruction {
    /// -1: leave late fire times alone; each one fires.
    Ignore,
    /// 0: what the trigger's type thinks best.
    #[default]
    Smart,
    /// Simple 1: fire now. With a repeat count other than 0 it is `NowRemaining`.
    FireNow,
    /// Simple 2: begin anew now, with the repeats that were not fired yet.
    NowExisting,
    /// Simple 3: begin anew now, with the repeats that are neither fired nor missed.
    NowRemaining,
    /// Simple 4: go on at the next fire time; missed ones count as fired.
    NextRemaining,
    /// Simple 5: go on at the next fire time; missed ones do not count.
    NextExisting,
    /// All others, 1: fire once now, then go on.
    FireOnceNow,
    /// All others, 2: go on at the next fire time.
    DoNothing,
}

impl Instruction {
    /// The instruction that a number of Quartz stands for.
    ///
    /// # Errors
    /// `Invalid` if that type of trigger has no such instruction.
    pub fn from_code(trigger_type: TriggerType, code: i32) -> Result<Self> {
        let simple = trigger_type == TriggerType::Simple;
        Ok(match (simple, code) {
            (_, -1) => Self::Ignore,
            (_, 0) => Self::Smart,
            (true, 1) => Self::FireNow,
            (true, 2) => Self::NowExisting,
            (true, 3) => Self::NowRemaining,
            (true, 4) => Self::NextRemaining,
            (true, 5) => Self::NextExisting,
            (false, 1) => Self::FireOnceNow,
            (false, 2) => Self::DoNothing,
            _ => {
                let message = format!("{trigger_type} triggers have no misfire instruction {code}");
                return Err(Error::invalid("misfire", message));
            }
        })
    }

    /// Its number in Quartz.
    pub const fn code(self) -> i32 {
        match self {
            Self::Ignore => -1,
            Self::Smart => 0,
            Self::FireNow | Self::FireOnceNow => 1,
            Self::NowExisting | Self::DoNothing => 2,
            Self::NowRemaining => 3,
            Self::NextRemaining => 4,
            Self::NextExisting => 5,
        }
    }

    /// The policy of this project that comes nearest. `repeat` is the repeat count of a simple trigger, `None` for
    /// ever.
    ///
    /// "Now" instructions of Quartz fire at the time at which they are found late and forget the instant that was
    /// missed; [`MisfirePolicy::FireOnceNow`] fires for the latest missed instant and leaves the grid alone.
    pub fn policy(self, trigger_type: TriggerType, repeat: Option<u32>) -> MisfirePolicy {
        match self.resolved(trigger_type, repeat) {
            Self::Ignore => MisfirePolicy::FireAll,
            Self::NextRemaining | Self::NextExisting | Self::DoNothing => MisfirePolicy::Skip,
            _ => MisfirePolicy::FireOnceNow,
        }
    }

    /// What it comes down to: the smart policy chosen, `FireNow` with a repeat count replaced.
    #[must_use]
    pub fn resolved(self, trigger_type: TriggerType, repeat: Option<u32>) -> Self {
        match (self, trigger_type, repeat) {
            (Self::Smart, TriggerType::Simple, Some(0)) => Self::FireNow,
            (Self::Smart, TriggerType::Simple, None) => Self::NextRemaining,
            (Self::Smart, TriggerType::Simple, Some(_)) => Self::NowExisting,
            (Self::Smart, ..) => Self::FireOnceNow,
            (Self::FireNow, TriggerType::Simple, None | Some(1..)) => Self::NowRemaining,
            _ => self,
        }
    }
}

impl fmt::Display for TriggerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple => "simple",
            Self::Cron => "cron",
            Self::CalendarInterval => "calendar interval",
            Self::DailyTimeInterval => "daily time interval",
        })
    }
}
