//! The model without interleaving beside the memory store: the same steps, one after the other, give the same answers and
//! leave the same rows. So the model speaks of stores as they are.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::{Just, Strategy, any};
use proptest::strategy::Union;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::inspect::{ExecutionFilter, HistoryFilter, Page};
use punctual_core::memory::ManualClock;
use punctual_core::node::{NodeInfo, NodeState, Profile};
use punctual_core::store::{
    Applied, Change, Claim as Claims, ClaimOutcome, ClaimReady, ClaimRef, Expect, FirePlan, Readable,
    SettleOutcome, SettlePlan, Standby, Standing as Is,
};
use punctual_core::trigger::{TriggerRecord, TriggerState as CoreState};
use punctual_core::{BoxFuture, Fence, Inspect, JobStore, MemoryStore, Result, TriggerKey};

use super::decide::{self, End, Work, at, exec_id, node, now, small, then, tick};
use super::engine::Database;
use super::engine::rows::{self, Key, Live, Node, Row, Slot, Standing, Trigger, TriggerState, WorkState};
use super::steps::{Answer, Claim, Dialect, Frame, Manner, Plan, Step, Went};

/// The instants of each trigger, all of which are due.
const INSTANTS: u8 = 6;

const TRIGGERS: u8 = 2;

/// A row as both show it.
type Shown = (Key, Row);

#[derive(Clone, Copy, Debug)]
enum What {
    Claim,
    Stale,
    Ready,
    Begin,
    Settle,
    Recover,
    CheckIn,
    TakeOver,
    Join,
    Standby,
    Edit,
    WakeWaiting,
}

type Move = (What, u8, u8);

fn moves() -> impl Strategy<Value = Vec<Move>> {
    use What::*;
    let weights = [
        (6, Claim),
        (1, Stale),
        (6, Ready),
        (2, Begin),
        (8, Settle),
        (3, Recover),
        (2, CheckIn),
        (2, TakeOver),
        (1, Join),
        (1, Standby),
        (2, Edit),
        (1, WakeWaiting),
    ];
    let what = Union::new_weighted(weights.map(|(weight, what)| (weight, Just(what))).to_vec());
    proptest::collection::vec((what, any::<u8>(), any::<u8>()), 1..60)
}

fn one<T: Copy>(of: &[T], which: u8) -> Option<T> {
    usize::from(which).checked_rem(of.len()).and_then(|at| of.get(at)).copied()
}

/// Both, with what has been read so far.
struct Pair {
    work: Work,
    manner: Manner,
    model: Database,
    store: MemoryStore,
    nodes: u8,
    plans: Vec<(Plan, FirePlan)>,
    claims: Vec<(Claim, Live)>,
}

fn done<T>(mut step: BoxFuture<'_, Result<T>>) -> T {
    match step.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done.expect("the memory store refuses nothing of this"),
        Poll::Pending => panic!("the memory store never waits"),
    }
}

impl Pair {
    fn new(work: Work, dialect: Dialect) -> Self {
        let instants = work.instants;
        let manner = Manner { dialect, mutant: None, is_exclusive: work.is_exclusive, instants };
        let store = MemoryStore::new(Arc::new(ManualClock::at(now(instants))));
        let put_job = Change::PutJob { expect: Expect::Absent { mark: None }, job: work.job() };
        assert_eq!(done(store.apply(vec![put_job])), Applied::All);
        let mut rows = vec![(Key::Slot, Row::Slot(Slot { holder: None, fence: 0 }))];
        for id in 0..TRIGGERS {
            let trigger = Trigger {
                state: TriggerState::Active,
                rev: 1,
                fire_seq: 0,
                generation: 1,
                next: decide::first_after(None, instants),
                last: None,
                is_parked: false,
                edition: 0,
            };
            rows.push((Key::Trigger(id), Row::Trigger(trigger)));
            let key = TriggerKey::new("g", &format!("t{id}")).expect("a short name is a name");
            let trigger = TriggerRecord { key, ..work.trigger(id, trigger) };
            let put = Change::PutTrigger { expect: Expect::Absent { mark: None }, trigger };
            assert_eq!(done(store.apply(vec![put])), Applied::All);
        }
        let model = Database::of(rows);
        let (plans, claims) = (Vec::new(), Vec::new());
        let mut pair = Self { work, manner, model, store, nodes: 0, plans, claims };
        pair.join(0);
        pair.join(1);
        pair
    }

    /// Does a step in the model, from its first statement to its commit.
    fn model(&mut self, step: Step) -> Answer {
        let mut frame = Frame::new(0, 0, step);
        while !frame.is_over {
            match frame.advance(&mut self.model, self.manner) {
                Went::On { breach: false, .. } => {}
                other => panic!("{step:?} alone: {other:?}"),
            }
        }
        frame.answer.expect("a step that is over has an answer")
    }

    fn row<T>(&self, key: Key, of: impl Fn(Row) -> Option<T>) -> Option<T> {
        self.model.committed().get(key).and_then(of)
    }

    fn gate(&self, id: u8) -> u8 {
        self.row(Key::Node(id), Row::node).map_or(0, |node| node.gate)
    }

    fn join(&mut self, id: u8) -> bool {
        self.nodes = self.nodes.max(id + 1);
        let Answer::CheckedIn(view) = self.model(Step::Join { node: id, process: id }) else { return false };
        let info = NodeInfo {
            id: node(id),
            name: "n".into(),
            host: "h".into(),
            pid: 1,
            version: "0".into(),
            zone_data: "0".into(),
            profile: Profile::FAST,
            capacity: 1,
            kinds: vec![self.work.job().kind],
        };
        let reply = done(self.store.join(info));
        view.beats.len() == reply.nodes.len()
    }

    /// Does a move in both. Answers what each said of it, in words that can be compared.
    fn step(&mut self, (what, which, how): Move) -> Option<(String, String)> {
        let by = one(&(0..self.nodes).collect::<Vec<_>>(), how)?;
        let live: Vec<(u8, Live)> = self.model.committed().live().collect();
        let owned: Vec<(Claim, Live)> = live
            .iter()
            .filter_map(|(exec, live)| {
                Some((Claim { exec: *exec, owner: live.owner?, fence: live.fence }, *live))
            })
            .collect();
        let is_up = |id: u8| self.row(Key::Node(id), Row::node).is_some_and(|n| n.standing == Standing::Up);
        Some(match what {
            What::Claim => {
                let id = which % TRIGGERS;
                let trigger = self.row(Key::Trigger(id), Row::trigger)?;
                if trigger.state != TriggerState::Active || trigger.is_parked {
                    return None;
                }
                let plans = (self.work.plan(id, trigger, 0), self.work.fire_plan(id, trigger));
                self.plans.push(plans.clone());
                let gate = self.gate(by).saturating_sub(u8::from(how > 240));
                self.claim(by, gate, plans)
            }
            What::Stale => {
                let at = usize::from(which).checked_rem(self.plans.len())?;
                let plans = self.plans.get(at)?.clone();
                self.claim(by, self.gate(by), plans)
            }
            What::Ready => self.claim_ready(by),
            What::Begin => {
                let (claim, _) = if how < 40 { one(&self.claims, which)? } else { one(&owned, which)? };
                let answer = self.model(Step::Begin(claim));
                let outcomes = done(self.store.begin(vec![of_core(claim)]));
                (settled(&answer), format!("{:?}", outcomes[0]))
            }
            What::Settle => {
                let (claim, live) = if how < 40 { one(&self.claims, which)? } else { one(&owned, which)? };
                let end = [End::Succeeded, End::Failed, End::HandedBack][usize::from(how % 3)];
                self.claims.push((claim, live));
                self.settle(claim, self.work.settle_plan(claim, live, end))
            }
            What::Recover => {
                let gone: Vec<_> = owned.into_iter().filter(|(claim, _)| !is_up(claim.owner)).collect();
                let (claim, live) = one(&gone, which)?;
                self.settle(claim, self.work.recover_plan(claim.exec, live, claim.owner))
            }
            What::CheckIn => {
                let Answer::CheckedIn(view) = self.model(Step::CheckIn { node: by }) else { return None };
                let reply = done(self.store.check_in(node(by)));
                let mut gone: Vec<u8> = reply.gone_owners.iter().map(|id| small(id.get() - 1)).collect();
                // A node that is gone itself goes by none of this, and is named by some.
                gone.retain(|id| *id != by);
                gone.sort_unstable();
                let mut wanted = view.gone.clone();
                wanted.sort_unstable();
                let up: Vec<_> =
                    reply.nodes.iter().map(|n| (small(n.info.id.get() - 1), small(n.beat))).collect();
                let owned = reply.owned.len();
                let is_up = reply.standing == Is::Up;
                (
                    format!("{} {:?} {wanted:?} {}", view.is_up, view.beats, view.owned.len()),
                    format!("{is_up} {up:?} {gone:?} {owned}"),
                )
            }
            What::TakeOver => {
                let beat =
                    self.row(Key::Beat(by), Row::beat).unwrap_or(0).saturating_sub(u8::from(how > 200));
                let answer = self.model(Step::TakeOver { dead: by, beat });
                let taken = done(self.store.take_over(node(by), beat.into()));
                (format!("{answer:?}"), format!("{:?}", Answer::TakenOver(taken)))
            }
            What::Join => {
                let id = self.nodes.min(5);
                (self.join(id).to_string(), true.to_string())
            }
            What::Standby => {
                let on = which.is_multiple_of(2);
                let answer = self.model(Step::Standby { node: by, on });
                let standby = if on { Standby::On } else { Standby::Off };
                let gate = done(self.store.set_standby(node(by), standby));
                ((answer == Answer::Done).to_string(), gate.is_some().to_string())
            }
            What::Edit => self.edit(which % TRIGGERS, how > 200)?,
            What::WakeWaiting => {
                self.model(Step::WakeWaiting);
                done(self.store.wake_waiting(10));
                (String::new(), String::new())
            }
        })
    }

    fn claim(&mut self, by: u8, gate: u8, (plan, fire): (Plan, FirePlan)) -> (String, String) {
        let answer = self.model(Step::Claim { node: by, gate, life: 0, plan });
        let mut fire = fire;
        for execution in &mut fire.executions {
            // The model names executions by itself.
            execution.id = exec_id(if let Answer::Fired { exec, .. } = answer { exec } else { u8::MAX });
        }
        let request = Claims { node: node(by), gate: gate.into(), within: None, plans: vec![fire] };
        let claimed = done(self.store.claim(request));
        let got = match &claimed.outcomes[0] {
            _ if !claimed.gate_open => Answer::Closed,
            ClaimOutcome::Fired(fences) => match (fences.first(), &answer) {
                (Some(fence), Answer::Fired { exec, .. }) => {
                    Answer::Fired { exec: *exec, fence: small(fence.get()), attempt: 1, losses: 0 }
                }
                _ => Answer::Moved,
            },
            ClaimOutcome::Busy => Answer::Busy,
            ClaimOutcome::Lost => Answer::Lost,
        };
        (format!("{answer:?}"), format!("{got:?}"))
    }

    /// The model looks at one row at a time, a store goes on until it has one.
    fn claim_ready(&mut self, by: u8) -> (String, String) {
        let gate = self.gate(by);
        let answer = loop {
            let before = self.model.clone();
            let answer = self.model(Step::ClaimReady { node: by, gate, life: 0, orders: 0 });
            if answer != Answer::Lost || before == self.model {
                break answer;
            }
        };
        let request = ClaimReady::of(node(by), gate.into(), [self.work.job().kind].into(), 1);
        let claimed = done(self.store.claim_ready(request));
        let got = match claimed.work.first() {
            _ if !claimed.gate_open => Answer::Closed,
            Some(Readable::Row(row)) => Answer::Fired {
                exec: small(u128::from_be_bytes(row.execution.id.to_bytes())),
                fence: small(row.execution.fence.get()),
                attempt: small(row.execution.attempt),
                losses: small(row.execution.losses),
            },
            _ => Answer::Lost,
        };
        (format!("{answer:?}"), format!("{got:?}"))
    }

    fn settle(&mut self, claim: Claim, plan: SettlePlan) -> (String, String) {
        let answer = self.model(Step::Settle { claim, then: then(&plan), writes: false });
        let outcomes = done(self.store.settle(vec![plan]));
        (settled(&answer), format!("{:?}", outcomes[0]))
    }

    fn edit(&mut self, id: u8, is_stale: bool) -> Option<(String, String)> {
        let row = self.row(Key::Trigger(id), Row::trigger)?;
        let rev = row.rev.saturating_sub(u8::from(is_stale));
        let answer = self.model(Step::Edit { trigger: id, rev });
        let triggers = done(self.store.triggers(Page::first(9)));
        let stored = triggers.into_iter().find(|trigger| trigger.id.get() == i64::from(id) + 1)?;
        let next = decide::first_after(row.last, INSTANTS).map(at);
        let trigger = TriggerRecord {
            state: if next.is_some() { CoreState::Active } else { CoreState::Complete },
            next_fire: next,
            wake: next,
            generation: stored.generation + 1,
            ..stored
        };
        let put = Change::PutTrigger { expect: Expect::Rev(rev.into()), trigger };
        let applied = done(self.store.apply(vec![put]));
        Some(((answer == Answer::Done).to_string(), (applied == Applied::All).to_string()))
    }

    /// The rows of the model, but for the slot, which no listing shows, and what only the witness looks at.
    fn of_model(&self) -> Vec<Shown> {
        let rows = self.model.committed().iter().filter(|(key, _)| *key != Key::Slot);
        rows.map(|(key, row)| match row {
            Row::Trigger(row) => (key, Row::Trigger(Trigger { edition: 0, ..row })),
            Row::Node(row) => (key, Row::Node(Node { orders: 0, process: 0, ..row })),
            row => (key, row),
        })
        .collect()
    }

    /// The same of the memory store.
    fn of_store(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        for record in done(self.store.nodes()) {
            let id = small(record.info.id.get() - 1);
            let is_up = record.state == NodeState::Up;
            let standing = if is_up { Standing::Up } else { Standing::Dead };
            let (standby, gate) = (record.standby, small(record.gate));
            let row = Node { standing, standby, gate, process: 0, life: 0, orders: 0 };
            shown.push((Key::Node(id), Row::Node(row)));
            shown.extend(is_up.then(|| (Key::Beat(id), Row::Beat(small(record.beat)))));
        }
        for trigger in done(self.store.triggers(Page::first(9))) {
            let row = Trigger {
                state: match trigger.state {
                    CoreState::Active | CoreState::Paused => TriggerState::Active,
                    CoreState::Complete => TriggerState::Complete,
                    CoreState::Error => TriggerState::Error,
                },
                rev: small(trigger.rev),
                fire_seq: small(trigger.fire_seq),
                generation: small(trigger.generation),
                next: trigger.next_fire.map(tick),
                last: trigger.last.map(tick),
                is_parked: trigger.wake > trigger.next_fire,
                edition: 0,
            };
            shown.push((Key::Trigger(small(trigger.id.get() - 1)), Row::Trigger(row)));
        }
        let occurrence = |of: &punctual_core::execution::Occurrence, scheduled| rows::Occurrence {
            trigger: small(of.trigger_id.get() - 1),
            generation: small(of.generation),
            scheduled: tick(scheduled),
        };
        for row in done(self.store.executions(ExecutionFilter::default())) {
            let Readable::Row(row) = row else { continue };
            let of = row.occurrence.as_ref().expect("only triggers make work here");
            let live = Live {
                of: occurrence(of, row.scheduled),
                state: match row.state {
                    ExecutionState::Ready | ExecutionState::Held => WorkState::Ready,
                    ExecutionState::Claimed => WorkState::Claimed,
                    ExecutionState::Running => WorkState::Running,
                },
                owner: row.owner.map(|id| small(id.get() - 1)),
                fence: small(row.fence.get()),
                attempt: small(row.attempt),
                losses: small(row.losses),
                is_parked: row.wake > now(INSTANTS),
            };
            shown.push((Key::Live(small(u128::from_be_bytes(row.id.to_bytes()))), Row::Live(live)));
        }
        for record in done(self.store.history(HistoryFilter::default())) {
            let of = record.occurrence.as_ref().expect("only triggers make work here");
            let of = occurrence(of, record.scheduled);
            let outcome = match record.outcome {
                Outcome::Skipped => {
                    let until = record.until.map_or(u8::MAX, tick);
                    shown.push((Key::Skip(of.trigger, of.generation, of.scheduled), Row::Skip { until }));
                    continue;
                }
                Outcome::Succeeded => rows::Outcome::Succeeded,
                Outcome::Lost => rows::Outcome::Lost,
                _ => rows::Outcome::Failed,
            };
            let row = rows::History { of, outcome, fence: small(record.fence.get()) };
            let id = small(u128::from_be_bytes(record.id.to_bytes()));
            shown.push((Key::History(id), Row::History(row)));
        }
        shown.sort_by_key(|(key, _)| *key);
        shown
    }
}

fn of_core(claim: Claim) -> ClaimRef {
    let fence = Fence::from_stored(claim.fence.into());
    ClaimRef { id: exec_id(claim.exec), owner: node(claim.owner), fence }
}

fn settled(answer: &Answer) -> String {
    let outcome = match answer {
        Answer::Done => SettleOutcome::Done,
        Answer::AlreadyDone => SettleOutcome::AlreadyDone,
        _ => SettleOutcome::Fenced,
    };
    format!("{outcome:?}")
}

/// Does sequences of moves in both. Answers how often each answer was given.
fn compare(work: Work, dialect: Dialect) {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let compared = TestRunner::new_with_rng(config, rng).run(&moves(), |moves| {
        let mut pair = Pair::new(work, dialect);
        for (n, next) in moves.into_iter().enumerate() {
            let Some((model, store)) = pair.step(next) else { continue };
            let wrong = |what: String| Err(TestCaseError::fail(format!("move {n}, {next:?}: {what}")));
            if model != store {
                return wrong(format!("the model answers {model}, the store {store}"));
            }
            let word = model.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
            seen.borrow_mut().insert(word);
            let (model, store) = (pair.of_model(), pair.of_store());
            if model != store {
                let only = |these: &[Shown], others: &[Shown]| -> Vec<Shown> {
                    these.iter().filter(|row| !others.contains(row)).copied().collect()
                };
                let (model, store) = (only(&model, &store), only(&store, &model));
                return wrong(format!("only the model has {model:?}, only the store {store:?}"));
            }
        }
        Ok(())
    });
    if let Err(error) = compared {
        panic!("{work:?} as on {}: {error}", dialect.name());
    }
    for word in ["Fired", "Lost", "Closed", "Done", "Fenced", "AlreadyDone", "TakenOver"] {
        assert!(seen.borrow().contains(word), "{word} was never answered, only {:?}", seen.borrow());
    }
    assert_eq!(seen.borrow().contains("Busy"), work.is_exclusive);
}

const PLAIN: Work = Work { is_exclusive: false, at_most_once: false, leaves_out: false, instants: INSTANTS };

#[test]
fn the_memory_store_does_what_the_model_does() {
    for dialect in Dialect::ALL {
        compare(PLAIN, dialect);
    }
}

#[test]
fn the_memory_store_does_what_the_model_does_with_a_slot() {
    for dialect in Dialect::ALL {
        compare(Work { is_exclusive: true, ..PLAIN }, dialect);
    }
}

#[test]
fn the_memory_store_does_what_the_model_does_with_work_that_runs_at_most_once() {
    for dialect in Dialect::ALL {
        compare(Work { at_most_once: true, is_exclusive: true, ..PLAIN }, dialect);
    }
}

#[test]
fn the_memory_store_does_what_the_model_does_with_what_is_late() {
    for dialect in Dialect::ALL {
        compare(Work { leaves_out: true, ..PLAIN }, dialect);
    }
}
