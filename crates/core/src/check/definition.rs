//! What can be wrong with a trigger and its job: copies that are not those, and rows that cannot fire.

use super::{Finding, Place, Rule};
use crate::job::JobRecord;
use crate::key::{JobId, TriggerId};
use crate::record::{BadColumn, JobRow, TriggerRow};
use crate::trigger::{TriggerRecord, TriggerState};

/// A trigger's row with all its copies, and its job's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionRow {
    /// The trigger; `calendar` is the stored copy.
    pub trigger: TriggerRow,
    /// The copy of its job's kind.
    pub kind: String,
    /// The copy of both priorities together.
    pub rank: i64,
    /// The copy of its job's concurrency key, in stores whose triggers have one.
    pub slot_key: Option<Option<String>>,
    /// Whether the calendar that the stored copy names is there.
    pub has_calendar: bool,
    /// Whether its group is paused.
    pub group_is_paused: bool,
    /// The job, if it is there; `slot_key` and `slot_limit` are the stored copies.
    pub job: Option<JobRow>,
    /// A column that has another type than it should.
    pub bad: Option<BadColumn>,
}

/// What the copies should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The job's kind.
    pub kind: String,
    /// Both priorities together.
    pub rank: i64,
    /// The calendar that the trigger names.
    pub calendar: Option<String>,
    /// The job's concurrency key.
    pub slot_key: Option<String>,
    /// How many that key allows.
    pub slot_limit: Option<i64>,
}

impl DefinitionRow {
    fn place(&self) -> Place {
        let TriggerRow { group_name, name, id, rev, .. } = &self.trigger;
        let key = format!("{group_name}/{name}").into();
        Place::Trigger { key, id: TriggerId::from_stored(*id), rev: *rev }
    }

    /// Everything that is wrong. [`Rule::Unreadable`] stands alone: of what cannot be understood nothing more is said.
    pub fn findings(&self) -> Vec<Finding> {
        let unreadable = |bad: &BadColumn| Finding::new(Rule::Unreadable, self.place(), bad.to_string());
        if let Some(bad) = &self.bad {
            return vec![unreadable(bad)];
        }
        let trigger = match TriggerRecord::try_from(self.trigger.clone()) {
            Ok(trigger) => trigger,
            Err(bad) => return vec![unreadable(&bad)],
        };
        let mut found = Vec::new();
        let mut find = |rule, detail: String| found.push(Finding::new(rule, self.place(), detail));
        match trigger.state {
            TriggerState::Error => {
                let reason = trigger.error.as_deref().unwrap_or("no reason is stored");
                find(Rule::TriggerInError, reason.to_owned());
            }
            TriggerState::Active if trigger.next_fire.is_none() => {
                find(Rule::ActiveWithoutNext, "it has no next instant".to_owned());
            }
            TriggerState::Active if trigger.wake.is_none() => {
                find(Rule::ActiveWithoutNext, "it has no time to wake at".to_owned());
            }
            state @ (TriggerState::Active | TriggerState::Paused) => {
                let is_paused = trigger.paused.is_some() || self.group_is_paused;
                if state != state.under(is_paused) {
                    let pause = if is_paused { "it is under a pause" } else { "nothing pauses it" };
                    find(Rule::PauseDiffers, format!("its state is {state:?}, and {pause}"));
                }
            }
            TriggerState::Complete => {}
        }
        // As long as the copy is another one, it is not known whether the calendar itself is there.
        let copied = |name: &&str| self.trigger.calendar.as_deref() == Some(*name);
        if let Some(name) = trigger.spec.calendar.as_deref().filter(copied).filter(|_| !self.has_calendar) {
            find(Rule::CalendarMissing, format!("it names {name}"));
        }
        match self.job.clone().map(|row| (row.clone(), JobRecord::try_from(row))) {
            None => find(Rule::JobMissing, format!("it names job {}", trigger.job_id)),
            Some((row, Err(bad))) => {
                found.push(Finding::new(Rule::Unreadable, place_of(&row), bad.to_string()));
            }
            Some((row, Ok(job))) => {
                let copies = Copies::of(&trigger, &job);
                if let Some(differs) = self.difference(&copies) {
                    find(Rule::TriggerCopies, differs);
                }
                if let Some(differs) = copies.difference_of_job(&row) {
                    found.push(Finding::new(Rule::JobCopies, place_of(&row), differs));
                }
            }
        }
        found
    }

    /// What the copies should be, if `finding` is still to be found here.
    pub fn mend(&self, finding: &Finding) -> Option<Copies> {
        if !finding.rule.has_repair() || !self.findings().contains(finding) {
            return None;
        }
        let trigger = TriggerRecord::try_from(self.trigger.clone()).ok()?;
        let job = JobRecord::try_from(self.job.clone()?).ok()?;
        Some(Copies::of(&trigger, &job))
    }

    /// The first copy of the trigger that is not what it should be.
    fn difference(&self, copies: &Copies) -> Option<String> {
        let Self { kind, rank, slot_key, trigger, .. } = self;
        if *kind != copies.kind {
            return Some(format!("its kind is {kind:?} and should be {:?}", copies.kind));
        }
        if *rank != copies.rank {
            return Some(format!("its rank is {rank} and should be {}", copies.rank));
        }
        if trigger.calendar != copies.calendar {
            return Some(differs("calendar", trigger.calendar.as_deref(), copies.calendar.as_deref()));
        }
        match slot_key {
            Some(copy) if *copy != copies.slot_key => {
                Some(differs("key", copy.as_deref(), copies.slot_key.as_deref()))
            }
            _ => None,
        }
    }
}

impl Copies {
    fn of(trigger: &TriggerRecord, job: &JobRecord) -> Self {
        let concurrency = job.spec.concurrency.as_ref();
        Self {
            kind: job.kind.as_str().to_owned(),
            rank: i64::from(job.priority) + i64::from(trigger.priority),
            calendar: trigger.spec.calendar.as_deref().map(str::to_owned),
            slot_key: concurrency.map(|concurrency| concurrency.key.to_string()),
            slot_limit: concurrency.map(|concurrency| concurrency.limit.into()),
        }
    }

    fn difference_of_job(&self, row: &JobRow) -> Option<String> {
        if row.slot_key != self.slot_key {
            return Some(differs("key", row.slot_key.as_deref(), self.slot_key.as_deref()));
        }
        let number = |limit: Option<i64>| limit.map(|limit| limit.to_string());
        let (is, should_be) = (number(row.slot_limit), number(self.slot_limit));
        (is != should_be).then(|| differs("limit", is.as_deref(), should_be.as_deref()))
    }
}

fn place_of(job: &JobRow) -> Place {
    let key = format!("{}/{}", job.group_name, job.name).into();
    Place::Job { key, id: JobId::from_stored(job.id), rev: job.rev }
}

fn differs(what: &str, is: Option<&str>, should_be: Option<&str>) -> String {
    let none = "none";
    format!("its {what} is {} and should be {}", is.unwrap_or(none), should_be.unwrap_or(none))
}
