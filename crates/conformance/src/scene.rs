//! Every step that writes, each on a store in which it has something to do: what crashes are tested with.
//!
//! A scene is the same in every space and in every process: its ids are drawn from the scene's name, and its step is
//! made of what the store shows.

use std::sync::Arc;

use punctual_core::calendar::Calendar;
use punctual_core::execution::{Execution, ExecutionState};
use punctual_core::key::TriggerKey;
use punctual_core::pause::{Pause, PausedGroup};
use punctual_core::schedule::Weekdays;
use punctual_core::store::{
    CalendarRecord, Change, Claim, ClaimReady, Enqueue, Expect, LiveWork, Prune, SetRecord, Standby, Within,
};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{BoxFuture, Fence, Zone};

use crate::bench::{
    Bench, Node, TheSlot, WORK, back, claim_of, create_job, create_trigger, data, delete_job, delete_trigger,
    kind, replace_job, replace_trigger, secs, success,
};
use crate::step::Step;

/// Whether a step that is repeated after it was done leaves the store as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// It does.
    ChangesNothing,
    /// It counts on, as a beat or a gate does, or finds more to do, which harms nobody.
    CountsOn,
}

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) repeated: Repeated,
    /// Fills an empty store.
    pub(crate) fill: for<'a> fn(&'a Bench) -> BoxFuture<'a, ()>,
    /// Makes the step of what the store shows, without writing.
    pub(crate) step: for<'a> fn(&'a Bench) -> BoxFuture<'a, Step>,
}

/// The scene of a name.
pub(crate) fn named(name: &str) -> Option<Scene> {
    SCENES.iter().copied().find(|scene| scene.name == name)
}

/// The node `a`, which every scene has.
async fn node(bench: &Bench) -> Node {
    let nodes = bench.store.inspect().nodes().await.expect("a read");
    let node = nodes.iter().find(|node| &*node.info.name == "a").expect("it has joined");
    Node { id: node.info.id, gate: node.gate }
}

async fn owned(bench: &Bench) -> Vec<Execution> {
    bench.rows().await.into_iter().filter(|row| row.owner.is_some()).collect()
}

async fn trigger(bench: &Bench, name: &str) -> TriggerRecord {
    let key = crate::bench::trigger_key(name);
    bench.store.inspect().trigger(&key).await.expect("a read").trigger.expect("it is there")
}

async fn job(bench: &Bench, name: &str) -> punctual_core::job::JobRecord {
    let key = crate::bench::job_key(name);
    bench.store.inspect().job(&key).await.expect("a read").expect("it is there")
}

/// A node, a running row that holds the only slot of `key`, and whoever waits for it: a row and a trigger.
async fn a_busy_key(bench: &Bench) {
    let node = bench.node("a").await;
    let job = bench.limited("j", "key", 1).await;
    bench.enqueue(&job).await;
    bench.take_one(node).await;
    bench.enqueue(&job).await;
    bench.trigger("t", &job).await;
    assert!(bench.fire(node).await.is_empty());
}

/// A node, and triggers of which one is free, one takes a slot and one finds it taken.
async fn due_triggers(bench: &Bench) {
    bench.node("a").await;
    let (free, limited) = (bench.job("free").await, bench.limited("j", "key", 1).await);
    bench.trigger("t", &free).await;
    bench.trigger("u", &limited).await;
    bench.trigger("v", &limited).await;
}

async fn claim(bench: &Bench, within: Option<Within>) -> Step {
    let node = node(bench).await;
    let plans = bench.plans(&bench.due(node).await);
    Step::Claim(Claim { node: node.id, gate: node.gate, within, plans })
}

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "apply",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                bench.node("a").await;
                let job = bench.job("old").await;
                bench.trigger("t", &job).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                let (old, new) = (trigger(bench, "t").await, bench.new_job("new"));
                let added = bench.new_trigger("u", &new);
                let expect = Expect::Absent { mark: None };
                let (at, weekly) = (bench.t0, Calendar::weekly(Weekdays::NONE, Zone::utc()));
                let calendar =
                    CalendarRecord { name: "c".into(), calendar: Arc::new(weekly), rev: 0, updated: at };
                let by = "x".into();
                let set = SetRecord { name: "s".into(), revision: 1, hash: 7, by, rev: 0, written: at };
                Step::Apply(vec![
                    create_job(new),
                    create_trigger(added),
                    replace_trigger(TriggerRecord { payload: Some(data("edited")), ..old }),
                    Change::PutCalendar { expect, calendar },
                    Change::PutSet { expect, set },
                ])
            })
        },
    },
    Scene {
        name: "pause",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                bench.node("a").await;
                let job = bench.job("j").await;
                bench.trigger("t", &job).await;
                let pause = Pause { since: bench.t0, by: "x".into(), reason: None };
                let group = "default".into();
                bench.write([Change::PauseGroup(PausedGroup { group, pause })]).await;
                let other = TriggerKey::new("other", "u").expect("a key");
                bench.trigger_with("u", &job, |trigger| trigger.key = other).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                let pause = Pause { since: bench.t0, by: "y".into(), reason: Some("a crash".into()) };
                let other = PausedGroup { group: "other".into(), pause };
                Step::Apply(vec![Change::ResumeGroup { group: "default".into() }, Change::PauseGroup(other)])
            })
        },
    },
    Scene {
        name: "delete",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                let node = bench.node("a").await;
                let job = bench.limited("j", "key", 1).await;
                bench.trigger("t", &job).await;
                bench.fire_one(node).await;
                bench.enqueue(&job).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                let (trigger, job) = (trigger(bench, "t").await, job(bench, "j").await);
                Step::Apply(vec![delete_trigger(&trigger, &job), delete_job(&job, LiveWork::Cancel)])
            })
        },
    },
    Scene {
        name: "enqueue",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                bench.node("a").await;
                bench.limited("j", "key", 1).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                let job = job(bench, "j").await;
                let one = |delay| Enqueue { execution: bench.new_work(&job), delay };
                Step::Enqueue(vec![one(None), one(Some(secs(5))), one(None)])
            })
        },
    },
    Scene {
        name: "cancel",
        repeated: Repeated::CountsOn,
        fill: |bench| {
            Box::pin(async {
                a_busy_key(bench).await;
                let row = owned(bench).await.remove(0);
                bench.give_back(&row, secs(60), TheSlot::Kept).await;
                let free = bench.job("free").await;
                bench.enqueue(&free).await;
                bench.take_one(node(bench).await).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                let mut ids: Vec<_> =
                    bench.rows().await.iter().filter(|row| row.attempt == 2).map(|row| row.id).collect();
                ids.extend(owned(bench).await.iter().map(|row| row.id));
                assert_eq!(ids.len(), 2, "one that keeps its slot, and one that runs");
                Step::Cancel(ids)
            })
        },
    },
    Scene {
        name: "join",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                bench.node("a").await;
            })
        },
        step: |bench| Box::pin(async { Step::Join(bench.info("new")) }),
    },
    Scene {
        name: "check_in",
        repeated: Repeated::CountsOn,
        fill: |bench| Box::pin(a_busy_key(bench)),
        step: |bench| Box::pin(async { Step::CheckIn(node(bench).await.id) }),
    },
    Scene {
        name: "take_over",
        repeated: Repeated::ChangesNothing,
        fill: |bench| Box::pin(a_busy_key(bench)),
        step: |bench| Box::pin(async { Step::TakeOver(node(bench).await.id, 1) }),
    },
    Scene {
        name: "leave",
        repeated: Repeated::ChangesNothing,
        fill: |bench| Box::pin(a_busy_key(bench)),
        step: |bench| Box::pin(async { Step::Leave(node(bench).await.id) }),
    },
    Scene {
        name: "set_standby",
        repeated: Repeated::CountsOn,
        fill: |bench| Box::pin(a_busy_key(bench)),
        step: |bench| Box::pin(async { Step::SetStandby(node(bench).await.id, Standby::On) }),
    },
    Scene {
        name: "raise_epoch",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                a_busy_key(bench).await;
                bench.node("b").await;
            })
        },
        step: |_| Box::pin(async { Step::RaiseEpoch(3) }),
    },
    Scene {
        name: "claim",
        repeated: Repeated::ChangesNothing,
        fill: |bench| Box::pin(due_triggers(bench)),
        step: |bench| Box::pin(claim(bench, None)),
    },
    Scene {
        name: "claim_within",
        repeated: Repeated::ChangesNothing,
        fill: |bench| Box::pin(due_triggers(bench)),
        step: |bench| {
            let within = Within { lock: "l".into(), fence: Fence::from_stored(7) };
            Box::pin(claim(bench, Some(within)))
        },
    },
    Scene {
        name: "claim_ready",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                bench.node("a").await;
                let (free, limited) = (bench.job("free").await, bench.limited("j", "key", 1).await);
                for job in [&free, &limited, &limited, &free] {
                    bench.enqueue(job).await;
                }
            })
        },
        step: |bench| {
            Box::pin(async {
                let Node { id, gate } = node(bench).await;
                Step::ClaimReady(ClaimReady::of(id, gate, [kind(WORK)].into(), 10))
            })
        },
    },
    Scene {
        name: "begin",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                let (node, job) = (bench.node("a").await, bench.job("j").await);
                bench.enqueue(&job).await;
                bench.enqueue(&job).await;
                bench.take(node, 2).await;
            })
        },
        step: |bench| Box::pin(async { Step::Begin(owned(bench).await.iter().map(claim_of).collect()) }),
    },
    Scene {
        name: "settle_end",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                a_busy_key(bench).await;
                let free = bench.job("free").await;
                bench.enqueue(&free).await;
                bench.take_one(node(bench).await).await;
            })
        },
        step: |bench| Box::pin(async { Step::Settle(owned(bench).await.iter().map(success).collect()) }),
    },
    Scene {
        name: "settle_back",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                a_busy_key(bench).await;
                let other = bench.limited("other", "other", 1).await;
                bench.enqueue(&other).await;
                bench.take_one(node(bench).await).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                let slot = |row: &Execution| match row.slot.as_ref().map(|slot| &*slot.key) {
                    Some("other") => TheSlot::Kept,
                    _ => TheSlot::Freed,
                };
                let rows = owned(bench).await;
                Step::Settle(rows.iter().map(|row| back(row, secs(30), slot(row))).collect())
            })
        },
    },
    Scene {
        name: "wake_waiting",
        repeated: Repeated::CountsOn,
        fill: |bench| {
            Box::pin(async {
                a_busy_key(bench).await;
                let mut job = job(bench, "j").await;
                if let Some(concurrency) = &mut job.spec.concurrency {
                    concurrency.limit = 3;
                }
                bench.write([replace_job(job.clone())]).await;
                let job = punctual_core::job::JobRecord { rev: job.rev + 1, ..job };
                bench.enqueue(&job).await;
            })
        },
        step: |bench| {
            Box::pin(async {
                assert!(
                    bench.rows().await.iter().any(|row| row.state == ExecutionState::Ready),
                    "somebody waits"
                );
                Step::WakeWaiting(100)
            })
        },
    },
    Scene {
        name: "prune",
        repeated: Repeated::ChangesNothing,
        fill: |bench| {
            Box::pin(async {
                let node = bench.node("a").await;
                let dead = bench.node("dead").await;
                let job = bench.limited("j", "key", 1).await;
                bench.enqueue(&job).await;
                let row = bench.take_one(node).await;
                bench.finish(&row).await;
                bench.bury(dead).await;
                let once = |trigger: &mut TriggerRecord| {
                    (trigger.spec.start, trigger.spec.end) = (Some(bench.t0), Some(bench.t0));
                };
                bench.trigger_with("t", &job, once).await;
                let row = bench.fire_one(node).await;
                bench.finish(&row).await;
                bench.advance(secs(86_400));
            })
        },
        step: |_| Box::pin(async { Step::Prune(Prune { history: secs(60), limit: 100 }) }),
    },
];
