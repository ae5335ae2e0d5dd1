//! The changes of definitions in a sequence. Few names, so that they meet.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::calendar::Calendar;
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, OnNodeLoss, RetryPolicy, WhenBusy};
use punctual_core::key::{DEFAULT_GROUP, JobId, TriggerId};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::pause::{Pause, PausedGroup};
use punctual_core::protocol::define;
use punctual_core::quartz::Progress;
use punctual_core::schedule::{Every, Once, Schedule, Weekdays};
use punctual_core::store::{CalendarRecord, Change, Expect, LiveWork, SetRecord};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};
use punctual_core::{Timestamp, Zone};

use super::moves::{Move, What};
use super::scribe::{Scribe, one};
use super::view::View;
use crate::bench::{WORK, data, job_key, kind, secs, trigger_key};

const JOBS: [&str; 3] = ["j", "k", "l"];
pub(super) const TRIGGERS: [&str; 4] = ["t", "u", "v", "w"];
pub(super) const SET: &str = "s";
const CALENDAR: &str = "c";
/// The key of which two may run at once.
pub(super) const POOL: &str = "pool";

impl Scribe {
    /// The change of a move.
    pub(super) fn change(&self, next: Move, view: &View, now: Timestamp) -> Option<Change> {
        let Move { what, which, how, extra } = next;
        match what {
            What::PutJob => Some(self.put_job(next, view)),
            What::DeleteJob => {
                let job = one(&view.jobs, which)?;
                let live = [LiveWork::Detach, LiveWork::Cancel, LiveWork::MustBeNone][usize::from(how % 3)];
                Some(define::delete_job(&JobRecord { rev: stale(job.rev, extra), ..job.clone() }, live))
            }
            What::PutTrigger => self.put_trigger(next, view, now),
            What::DeleteTrigger => {
                let trigger = one(&view.triggers, which)?;
                let job = view.jobs.iter().find(|job| job.id == trigger.job_id);
                let rev = stale(trigger.rev, extra);
                Some(define::delete_trigger(&TriggerRecord { rev, ..trigger.clone() }, job))
            }
            What::PutCalendar => {
                let days = [Weekdays::NONE, Weekdays::WEEKEND][usize::from(how % 2)];
                let calendar = Arc::new(Calendar::weekly(days, Zone::utc()));
                let expect = expected(view.calendars.first().map(|stored| stored.rev), extra);
                let calendar = CalendarRecord { name: CALENDAR.into(), calendar, rev: 0, updated: now };
                Some(Change::PutCalendar { expect, calendar })
            }
            What::DeleteCalendar => {
                let calendar = view.calendars.first()?;
                let rev = stale(calendar.rev, extra);
                Some(Change::DeleteCalendar { name: calendar.name.clone(), rev })
            }
            What::Pause => self.pause(next, view),
            What::PutSet => {
                let expect = expected(view.set.set.as_ref().map(|stored| stored.rev), extra);
                let (revision, hash) = (i64::from(how), i64::from(extra));
                let (name, by) = (SET.into(), "somebody".into());
                let set = SetRecord { name, revision, hash, by, rev: 0, written: now };
                Some(Change::PutSet { expect, set })
            }
            _ => None,
        }
    }

    /// Pauses or resumes a trigger, or the group of all.
    fn pause(&self, next: Move, view: &View) -> Option<Change> {
        let Move { which, how, .. } = next;
        let pause = Pause { since: self.t0, by: format!("{how}").into(), reason: None };
        match how % 4 {
            0 => Some(Change::PauseGroup(PausedGroup { group: DEFAULT_GROUP.into(), pause })),
            1 => Some(Change::ResumeGroup { group: DEFAULT_GROUP.into() }),
            2 => define::pause_trigger(one(&view.triggers, which)?, pause),
            _ => define::resume_trigger(one(&view.triggers, which)?, !view.paused_groups.is_empty()),
        }
    }

    fn put_job(&self, next: Move, view: &View) -> Change {
        let Move { which, how, extra, .. } = next;
        let key = job_key(JOBS[usize::from(which) % JOBS.len()]);
        let stored = view.jobs.iter().find(|job| job.key == key);
        let expect = expected(stored.map(|job| job.rev), extra);
        let job = JobRecord {
            id: stored.map_or_else(|| JobId::draw(&self.entropy), |job| job.id),
            key,
            kind: kind(if extra % 4 == 3 { "other" } else { WORK }),
            description: (extra % 8 == 4).then(|| "words".into()),
            spec: rules(how),
            payload: data(&format!("job {how} {extra}")),
            priority: i32::from(extra / 4 % 3) - 1,
            durable: !extra.is_multiple_of(2),
            set: (extra % 16 == 8).then(|| SET.into()),
            rev: 0,
            created: stored.map_or(self.t0, |job| job.created),
        };
        Change::PutJob { expect, job }
    }

    fn put_trigger(&self, next: Move, view: &View, now: Timestamp) -> Option<Change> {
        let Move { which, how, extra, .. } = next;
        let name = usize::from(which) % TRIGGERS.len();
        let (key, found) = (trigger_key(TRIGGERS[name]), view.keys.get(name)?);
        let job_id = match one(&view.jobs, which / 4) {
            Some(job) => job.id,
            None => JobId::draw(&self.entropy),
        };
        let spec = self.instants(how, extra);
        let payload = (extra % 3 == 1).then(|| data(&format!("trigger {how} {extra}")));
        let priority = i32::from(extra / 8 % 3) - 1;
        let Some(stored) = &found.trigger else {
            let id = TriggerId::draw(&self.entropy);
            let mark = if extra == 255 { Some(now) } else { found.mark };
            let next = spec.first(now, mark);
            let trigger = TriggerRecord {
                id,
                key,
                job_id,
                description: None,
                spec,
                payload,
                priority,
                state: state_of(next),
                next_fire: next,
                wake: next,
                last: mark,
                progress: Progress::default(),
                fires: 0,
                fire_seq: 0,
                generation: 1,
                rev: 0,
                slice: slice_of(id),
                error: None,
                set: (extra % 16 == 8).then(|| SET.into()),
                hash: i64::from(how),
                created: now,
                paused: None,
            };
            return Some(Change::PutTrigger { expect: Expect::Absent { mark }, trigger });
        };
        let mut trigger = TriggerRecord { payload, priority, hash: i64::from(how), ..stored.clone() };
        if extra < 200 {
            let next = spec.first(now, stored.last);
            let generation = stored.generation + 1;
            let state = state_of(next);
            (trigger.next_fire, trigger.wake, trigger.error) = (next, next, None);
            trigger = TriggerRecord { job_id, spec, state, generation, ..trigger };
        } else if extra > 240 {
            // As nobody does who goes by the rules: the same instants again, under the same generation.
            let next = trigger.spec.first(self.t0, None);
            (trigger.next_fire, trigger.wake, trigger.state) = (next, next, state_of(next));
        }
        Some(Change::PutTrigger { expect: expected(Some(stored.rev), extra), trigger })
    }

    fn instants(&self, how: u8, extra: u8) -> TriggerSpec {
        let every = |n| Every::new(secs(n)).expect("seconds are an interval").anchored_at(self.t0);
        let schedule = match how % 5 {
            0 | 1 => Schedule::Every(every(7)),
            2 => Schedule::Every(every(60)),
            3 => Schedule::Every(every(3_600)),
            _ => Schedule::Once(Once::new(self.t0.plus(secs(u64::from(extra))))),
        };
        let (limit, max_age) = (3, None);
        TriggerSpec {
            end: (how / 5 % 8 == 7).then(|| self.t0.plus(secs(120))),
            misfire: match how / 40 {
                0 | 1 => MisfirePolicy::FireOnceNow,
                2 => MisfirePolicy::Skip,
                3 => MisfirePolicy::FireAll,
                4 => MisfirePolicy::CatchUp { limit, max_age },
                _ => MisfirePolicy::Spread { limit, max_age, over: secs(60) },
            },
            tolerance: if extra.is_multiple_of(2) { Duration::ZERO } else { secs(60) },
            calendar: (extra % 8 == 7).then(|| CALENDAR.into()),
            ..TriggerSpec::new(schedule)
        }
    }
}

/// The rules of a job. All who share a key agree on its limit: what becomes of those who do not is left open.
fn rules(how: u8) -> ExecutionSpec {
    let limit = |key: &str, limit, when_busy| Some(Concurrency { key: key.into(), limit, when_busy });
    let plain = ExecutionSpec::default();
    match how % 6 {
        0 => ExecutionSpec { retry: RetryPolicy::fixed(3, secs(5)), ..plain },
        1 => ExecutionSpec { concurrency: limit("x", 1, WhenBusy::Queue), ..plain },
        2 => ExecutionSpec { concurrency: limit(POOL, 2, WhenBusy::Skip), ..plain },
        3 => ExecutionSpec { concurrency: limit("x", 1, WhenBusy::Skip), ..plain },
        4 => ExecutionSpec {
            concurrency: limit("y", 1, WhenBusy::Queue),
            on_node_loss: OnNodeLoss::Lose,
            ..plain
        },
        _ => ExecutionSpec {
            concurrency: limit(POOL, 2, WhenBusy::Queue),
            retry: RetryPolicy::fixed(3, secs(5)),
            hold_slot_while_waiting: true,
            ..plain
        },
    }
}

fn state_of(next: Option<Timestamp>) -> TriggerState {
    if next.is_some() { TriggerState::Active } else { TriggerState::Complete }
}

/// A revision, seldom an old one.
fn stale(rev: i64, extra: u8) -> i64 {
    if extra > 250 { rev - 1 } else { rev }
}

/// What a writer expects who knows what is stored, or seldom does not.
fn expected(stored: Option<i64>, extra: u8) -> Expect {
    match stored {
        Some(rev) => Expect::Rev(stale(rev, extra)),
        None if extra == 254 => Expect::Rev(1),
        None => Expect::Absent { mark: None },
    }
}
