//! Forged histories, written the way one would tell them.
//!
//! Time is in milliseconds after the start of the run; the store's clock and the boot-time clock run together. Node `n`
//! lives in process `100 + n`. A [`Go`] is one claim of one execution; verbs of [`Run`] say what happened to it.

mod words;

use std::time::Duration;

use punctual_checker::{
    BodyEvent, Checker, Effect, Effects, FaultEvent, Options, Rule, Tables, Verdict, Window,
};
use punctual_core::event::{Event, Stamped};
use punctual_core::execution::{
    Attempt, AttemptOutcome, Execution, ExecutionState, HistoryRecord, Outcome, SkipReason,
};
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, OnNodeLoss, Payload, WhenBusy};
use punctual_core::key::{Fence, JobId, JobKey, Kind};
use punctual_core::node::{NodeInfo, NodeRecord, NodeState, Profile};
use punctual_core::schedule::Schedule;
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState};

pub(crate) use self::words::*;

/// A forged run of ten seconds.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) journal: Vec<Stamped>,
    pub(crate) bodies: Vec<BodyEvent>,
    pub(crate) faults: Vec<FaultEvent>,
    pub(crate) tables: Tables,
    pub(crate) effects: Effects,
    pub(crate) migrations: Vec<i64>,
    pub(crate) until: i64,
    pub(crate) options: Options,
}

impl Run {
    /// Two nodes that joined at the start and left after the end, and nothing to do.
    pub(crate) fn new() -> Self {
        let mut run = Self {
            journal: Vec::new(),
            bodies: Vec::new(),
            faults: Vec::new(),
            tables: Tables::default(),
            effects: Effects::default(),
            migrations: Vec::new(),
            until: 10_000,
            options: Options { wind_down: Duration::from_secs(1), ..Options::default() },
        };
        run.join(1, 0).join(2, 0);
        run
    }

    pub(crate) fn event(&mut self, n: i64, ms: i64, event: Event) -> &mut Self {
        self.journal.push(Stamped { node: node(n), boot_us: boot(ms), event });
        self
    }

    pub(crate) fn join(&mut self, n: i64, ms: i64) -> &mut Self {
        let info = NodeInfo {
            id: node(n),
            name: format!("n{n}").into(),
            host: "h".into(),
            pid: pid(n),
            version: "0".into(),
            zone_data: "0".into(),
            profile: Profile::FAST,
            capacity: 8,
            kinds: Vec::new(),
        };
        let (state, seen) = (NodeState::Left, None);
        self.tables.nodes.push(NodeRecord {
            info,
            state,
            standby: false,
            gate: 0,
            joined: at(ms),
            beat: 0,
            seen,
        });
        self.event(n, ms, Event::Joined { name: format!("n{n}"), pid: pid(n) })
    }

    /// A trigger that was created at the start and has decided about all instants of the run.
    pub(crate) fn trigger(
        &mut self,
        name: &'static str,
        schedule: impl Into<Schedule>,
    ) -> &mut TriggerRecord {
        let spec = TriggerSpec::new(schedule.into());
        let next = spec.next_after(at(self.until));
        self.tables.triggers.push(TriggerRecord {
            id: id_of(name),
            key: key(name),
            job_id: JobId::from_stored(id_of(name).get()),
            description: None,
            payload: None,
            priority: 0,
            state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
            next_fire: next,
            wake: next,
            last: spec.last_within(at(0), at(self.until)),
            spec,
            progress: punctual_core::quartz::Progress::default(),
            fires: 0,
            fire_seq: 0,
            generation: 1,
            rev: 1,
            slice: 0,
            error: None,
            set: None,
            hash: 0,
            created: at(0),
            paused: None,
        });
        self.tables.triggers.last_mut().unwrap()
    }

    /// The job of the trigger `name`, which runs one at a time and makes further instants wait.
    pub(crate) fn queue(&mut self, name: &'static str) -> &mut Self {
        let job = JobKey::new("default", name).unwrap();
        let concurrency = Some(Concurrency::exclusive(&job, WhenBusy::Queue));
        self.tables.jobs.push(JobRecord {
            id: JobId::from_stored(id_of(name).get()),
            key: job,
            kind: Kind::new("k").unwrap(),
            description: None,
            spec: ExecutionSpec { concurrency, ..ExecutionSpec::default() },
            payload: Payload::null(),
            priority: 0,
            durable: false,
            set: None,
            rev: 1,
            created: at(0),
        });
        self
    }

    /// The job of the trigger `name`, which runs at most once.
    pub(crate) fn at_most_once(&mut self, name: &'static str) -> &mut Self {
        self.queue(name);
        let job = self.tables.jobs.last_mut().unwrap();
        job.spec.concurrency = None;
        job.spec.on_node_loss = OnNodeLoss::Lose;
        self
    }

    /// Work of the forged kind writes an effect in the transaction that completes it, and `go` has.
    pub(crate) fn effect(&mut self, go: Go) -> &mut Self {
        self.effects.kinds = vec![Kind::new("k").unwrap()];
        self.effects.rows.push(Effect { execution: go.id(), fence: Fence::from_stored(go.fence) });
        self
    }

    pub(crate) fn claimed(&mut self, go: Go, ms: i64) -> &mut Self {
        self.event(go.node, ms, Event::Claimed { work: go.work(), lateness_us: (ms - go.due) * 1000 })
    }

    /// The body's own first line, and the journal's.
    pub(crate) fn began(&mut self, go: Go, ms: i64) -> &mut Self {
        self.bodies.push(BodyEvent::Begin(go.start(ms)));
        self.event(go.node, ms, Event::Began { work: go.work(), at: at(ms) })
    }

    /// The body's own last line.
    pub(crate) fn ended(&mut self, go: Go, ms: i64) -> &mut Self {
        self.bodies.push(BodyEvent::End(go.start(ms)));
        self
    }

    pub(crate) fn cancelled(&mut self, go: Go, ms: i64) -> &mut Self {
        self.bodies.push(BodyEvent::Cancelled(go.start(ms)));
        self
    }

    pub(crate) fn settled(&mut self, go: Go, ms: i64, outcome: Option<Outcome>) -> &mut Self {
        self.event(go.node, ms, Event::Settled { work: go.work(), outcome })
    }

    pub(crate) fn fenced(&mut self, go: Go, ms: i64) -> &mut Self {
        self.event(go.node, ms, Event::Fenced { work: go.work() })
    }

    /// Claimed and run from `from` to `to`.
    pub(crate) fn ran(&mut self, go: Go, from: i64, to: i64) -> &mut Self {
        self.claimed(go, from).began(go, from).ended(go, to)
    }

    /// Run from `from` to `to`, settled and recorded.
    pub(crate) fn done(&mut self, go: Go, from: i64, to: i64) -> &mut Self {
        self.ran(go, from, to).settled(go, to, Some(Outcome::Succeeded)).record(go)
    }

    /// All instants of trigger `name` from `from` to `to`, one a second, done in turn by nodes 1 and 2.
    pub(crate) fn seconds(&mut self, name: &'static str, from: u8, to: u8) -> &mut Self {
        for n in from..=to {
            let due = i64::from(n) * 1000;
            self.done(go(n, name, due, 1 + i64::from(n % 2)), due + 5, due + 105);
        }
        self
    }

    pub(crate) fn record(&mut self, go: Go) -> &mut Self {
        let attempt = Attempt {
            number: go.attempt,
            node: node(go.node),
            fence: Fence::from_stored(go.fence),
            started: None,
            ended: at(go.due),
            outcome: AttemptOutcome::Succeeded,
            error: None,
        };
        self.tables.history.push(HistoryRecord {
            id: go.id(),
            occurrence: go.occurrence(),
            job: None,
            kind: Kind::new("k").unwrap(),
            scheduled: at(go.due),
            until: None,
            count: Some(1),
            outcome: Outcome::Succeeded,
            reason: None,
            attempt: go.attempt,
            node: Some(node(go.node)),
            fence: attempt.fence,
            started: None,
            ended: at(go.due),
            error: None,
            output: None,
            attempts: vec![attempt],
        });
        self
    }

    /// How the last recorded execution ended, and its attempts before: number, node, fence and outcome of each.
    pub(crate) fn after(
        &mut self,
        outcome: Outcome,
        before: &[(u32, i64, i64, AttemptOutcome)],
    ) -> &mut Self {
        let record = self.tables.history.last_mut().unwrap();
        record.outcome = outcome;
        let last = record.attempts.pop().unwrap();
        record.attempts.extend(before.iter().map(|(number, of, fence, outcome)| Attempt {
            number: *number,
            node: node(*of),
            fence: Fence::from_stored(*fence),
            outcome: *outcome,
            ..last.clone()
        }));
        record.attempts.push(last);
        self
    }

    /// What the node says when a body has ended.
    pub(crate) fn told_end(&mut self, go: Go, ms: i64) -> &mut Self {
        let outcome = AttemptOutcome::Succeeded;
        self.event(go.node, ms, Event::Ended { work: go.work(), outcome, error: None })
    }

    /// A skipped range of the generation of `go`, from its instant up to `last`.
    pub(crate) fn skip(&mut self, go: Go, last: i64, count: u64) -> &mut Self {
        self.record(go);
        let record = self.tables.history.last_mut().unwrap();
        record.outcome = Outcome::Skipped;
        record.reason = Some(SkipReason::Misfire);
        (record.until, record.count) = (Some(at(last)), Some(count));
        (record.node, record.attempt, record.attempts) = (None, 0, Vec::new());
        self
    }

    /// A live row that names the node of `go`.
    pub(crate) fn live(&mut self, go: Go) -> &mut Execution {
        self.tables.live.push(Execution {
            id: go.id(),
            occurrence: go.occurrence(),
            job: None,
            kind: Kind::new("k").unwrap(),
            scheduled: at(go.due),
            priority: 0,
            state: ExecutionState::Claimed,
            owner: Some(node(go.node)),
            fence: Fence::from_stored(go.fence),
            attempt: go.attempt,
            losses: 0,
            wake: at(go.due),
            slot: go.slot(),
            catch_up: None,
            spec: None,
            payload: None,
            attempts: Vec::new(),
            cancel: None,
            error: None,
            created: at(go.due),
        });
        self.tables.live.last_mut().unwrap()
    }

    /// A live row that waits for somebody to claim it.
    pub(crate) fn ready(&mut self, go: Go, wake: i64) -> &mut Self {
        let row = self.live(go);
        (row.state, row.owner, row.wake) = (ExecutionState::Ready, None, at(wake));
        self
    }

    pub(crate) fn kill(&mut self, n: i64, ms: i64) -> &mut Self {
        self.faults.push(FaultEvent::Kill { pid: pid(n), node: None, boot_us: boot(ms) });
        self
    }

    pub(crate) fn freeze(&mut self, n: i64, from: i64, to: i64) -> &mut Self {
        self.faults.push(FaultEvent::Freeze { pid: pid(n), node: None, boot_us: boot(from) });
        self.faults.push(FaultEvent::Thaw { pid: pid(n), boot_us: boot(to) });
        self
    }

    pub(crate) fn took_over(&mut self, by: i64, dead: i64, ms: i64) -> &mut Self {
        self.event(by, ms, Event::TookOver { dead: node(dead), name: format!("n{dead}") })
    }

    pub(crate) fn recovered(&mut self, by: i64, go: Go, ms: i64) -> &mut Self {
        self.event(
            by,
            ms,
            Event::Recovered {
                from: node(go.node),
                id: go.id(),
                fence: Fence::from_stored(go.fence),
                outcome: None,
            },
        )
    }

    pub(crate) fn checker(&self) -> Checker {
        let mut checker = self.without_events();
        checker.journal(lines(&self.journal).as_bytes(), "journal").unwrap();
        checker.bodies(lines(&self.bodies).as_bytes(), "bodies").unwrap();
        checker.faults(lines(&self.faults).as_bytes(), "faults").unwrap();
        checker
    }

    fn without_events(&self) -> Checker {
        let window = Window { from: at(0), until: at(self.until) };
        let mut checker = Checker::new(window).with_options(self.options);
        checker.tables(self.tables.clone());
        checker.effects(self.effects.clone());
        checker.migrations(self.migrations.iter().copied());
        checker
    }

    /// The verdict, which is the same whether events were written down or handed over as they are.
    pub(crate) fn verdict(&self) -> Verdict {
        let verdict = self.checker().verdict();
        let mut checker = self.without_events();
        self.journal.iter().for_each(|event| checker.node_event(event.clone()));
        self.bodies.iter().for_each(|event| checker.body_event(event));
        self.faults.iter().for_each(|event| checker.fault_event(event.clone()));
        assert_eq!(checker.verdict(), verdict, "handed over, and written down");
        verdict
    }

    /// The verdict breaks exactly these rules, this often.
    #[track_caller]
    pub(crate) fn breaks(&self, rules: &[(Rule, u64)]) -> Verdict {
        let verdict = self.verdict();
        let broken: Vec<(Rule, u64)> = verdict.broken.iter().map(|(rule, count)| (*rule, *count)).collect();
        assert_eq!(broken, rules, "{:#?}", verdict.violations);
        for event in verdict.violations.iter().flat_map(|violation| &violation.events) {
            assert!(event.contains(' '), "an event that says something: {event:?}");
        }
        assert_eq!(verdict.is_clean(), rules.is_empty());
        verdict
    }
}

/// A trigger that fires each second; all instants but the `missing` one were done.
pub(crate) fn all_but(missing: u8) -> Run {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.seconds("a", 1, missing - 1).seconds("a", missing + 1, 10);
    run
}

/// Values as JSON lines.
pub(crate) fn lines<T: serde::Serialize>(values: &[T]) -> String {
    values.iter().map(|value| serde_json::to_string(value).unwrap() + "\n").collect()
}
