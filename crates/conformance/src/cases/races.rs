//! Real concurrency: steps that meet on a barrier, many times.

use std::future::Future;
use std::sync::Arc;

use punctual_core::JobStore;
use punctual_core::execution::{Execution, ExecutionState};
use punctual_core::protocol::recover;
use punctual_core::store::{
    Applied, Claim, ClaimOutcome, ClaimReady, Enqueue, FirePlan, SettleOutcome, Standby, Standing,
};
use punctual_core::trigger::TriggerRecord;
use tokio::sync::Barrier;

use crate::bench::{Bench, Node, WORK, create_job, fences, kind, replace_trigger, secs, success};
use crate::case::cases;

/// How many tasks meet.
const TASKS: usize = 8;

/// Runs `step` on as many tasks at once, each with a store of its own, and answers in the order of the tasks.
async fn at_once<T, F>(stores: &[Arc<dyn JobStore>], step: impl Fn(usize, Arc<dyn JobStore>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(stores.len()));
    let mut tasks = Vec::new();
    for (index, store) in stores.iter().enumerate() {
        let (barrier, step) = (Arc::clone(&barrier), step(index, Arc::clone(store)));
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            step.await
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("the task ends"));
    }
    answers
}

async fn stores(bench: &Bench, count: usize) -> Vec<Arc<dyn JobStore>> {
    let mut stores = Vec::new();
    for _ in 0..count {
        stores.push(bench.other().await);
    }
    stores
}

async fn nodes(bench: &Bench, count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(bench.node("n").await);
    }
    nodes
}

/// Puts a fired trigger back to a new instant, so that the next round begins like the first.
async fn rewind(bench: &Bench, trigger: &TriggerRecord) {
    let stored = bench.reread(trigger).await;
    let at = bench.t0;
    let generation = stored.generation + 1;
    bench
        .write([replace_trigger(TriggerRecord { next_fire: Some(at), wake: Some(at), generation, ..stored })])
        .await;
}

async fn claim_one(store: Arc<dyn JobStore>, node: Node, plan: FirePlan) -> ClaimOutcome {
    let claim = Claim { node: node.id, gate: node.gate, within: None, plans: vec![plan] };
    store.claim(claim).await.expect("a write").outcomes.remove(0)
}

async fn take_one(store: Arc<dyn JobStore>, node: Node) -> Vec<Execution> {
    let request = ClaimReady::of(node.id, node.gate, [kind(WORK)].into(), 1);
    let claimed = store.claim_ready(request).await.expect("a write");
    claimed.work.into_iter().map(|work| crate::bench::readable(work).execution).collect()
}

fn fired(outcomes: &[ClaimOutcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, ClaimOutcome::Fired(_))).count()
}

cases! {
    B "races";

    /// Of many nodes that claim one instant at once, one does.
    async fn one_of_many_claims_an_instant(bench) {
        let (stores, nodes) = (stores(&bench, TASKS).await, nodes(&bench, TASKS).await);
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        for _ in 0..bench.rounds() {
            let mut plans = Vec::new();
            for node in &nodes {
                plans.push(bench.plan(*node).await);
            }
            let outcomes = at_once(&stores, |n, store| claim_one(store, nodes[n], plans[n].clone())).await;
            assert_eq!(fired(&outcomes), 1);
            let rows = bench.rows().await;
            assert_eq!(rows.len(), 1);
            bench.finish(&rows[0]).await;
            rewind(&bench, &trigger).await;
        }
        assert_eq!(bench.reread(&trigger).await.fires, i64::from(bench.rounds()));
    }

    /// An edit and a claim of one trigger: one of them happens, and the other is lost.
    async fn an_edit_and_a_claim_exclude_each_other(bench) {
        let node = bench.node("a").await;
        let stores = stores(&bench, 2).await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        for round in 0..bench.rounds() {
            let plan = bench.plan(node).await;
            let priority = i32::try_from(round).expect("a small number") + 1;
            let edit = replace_trigger(TriggerRecord { priority, ..bench.reread(&trigger).await });
            let won = at_once(&stores, |n, store| {
                let (plan, edit) = (plan.clone(), edit.clone());
                async move {
                    match n {
                        0 => claim_one(store, node, plan).await != ClaimOutcome::Lost,
                        _ => store.apply(vec![edit]).await.expect("a write") == Applied::All,
                    }
                }
            })
            .await;
            assert_ne!(won[0], won[1], "exactly one");
            let rows = bench.rows().await;
            assert_eq!(
                (rows.len() == 1, bench.reread(&trigger).await.priority == priority),
                (won[0], won[1])
            );
            for row in rows {
                bench.finish(&row).await;
            }
            rewind(&bench, &trigger).await;
        }
    }

    /// Of many nodes that claim ready rows at once, each row goes to one.
    async fn each_ready_row_goes_to_one(bench) {
        let (stores, nodes) = (stores(&bench, TASKS).await, nodes(&bench, TASKS).await);
        let job = bench.job("j").await;
        for _ in 0..bench.rounds() {
            for _ in 0..TASKS / 2 {
                bench.enqueue(&job).await;
            }
            let taken = at_once(&stores, |n, store| take_one(store, nodes[n])).await;
            let mut ids: Vec<_> = taken.iter().flatten().map(|row| row.id).collect();
            for row in taken.iter().flatten() {
                bench.finish(row).await;
            }
            for left in bench.take(nodes[0], 100).await {
                ids.push(left.execution.id);
                bench.finish(&left.execution).await;
            }
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), TASKS / 2);
        }
    }

    /// Many triggers of one exclusive key claimed at once by many nodes: one fires.
    async fn one_of_many_takes_the_slot(bench) {
        let (stores, nodes) = (stores(&bench, TASKS).await, nodes(&bench, TASKS).await);
        let job = bench.limited("j", "key", 1).await;
        let mut triggers = Vec::new();
        for n in 0..TASKS {
            triggers.push(bench.trigger(&format!("t{n}"), &job).await);
        }
        let mut last = punctual_core::Fence::NONE;
        for _ in 0..bench.rounds() {
            let plans = bench.plans(&bench.due(nodes[0]).await);
            assert_eq!(plans.len(), TASKS);
            let outcomes = at_once(&stores, |n, store| claim_one(store, nodes[n], plans[n].clone())).await;
            assert_eq!(fired(&outcomes), 1, "{outcomes:?}");
            let winner = outcomes.into_iter().find(|outcome| matches!(outcome, ClaimOutcome::Fired(_)));
            let fence = fences(winner.expect("one fired"))[0];
            assert!(fence > last, "fences grow");
            last = fence;
            let rows = bench.rows().await;
            assert_eq!(rows.len(), 1);
            bench.finish(&rows[0]).await;
            for trigger in &triggers {
                rewind(&bench, trigger).await;
            }
        }
    }

    /// Firings and ready rows that want one slot at once: one gets it.
    async fn a_firing_and_a_ready_row_share_the_slot(bench) {
        let (stores, nodes) = (stores(&bench, 2).await, nodes(&bench, 2).await);
        let job = bench.limited("j", "key", 1).await;
        let trigger = bench.trigger("t", &job).await;
        for _ in 0..bench.rounds() {
            bench.enqueue(&job).await;
            let plan = bench.plan(nodes[0]).await;
            let got = at_once(&stores, |n, store| {
                let (node, plan) = (nodes[n], plan.clone());
                async move {
                    match n {
                        0 => matches!(claim_one(store, node, plan).await, ClaimOutcome::Fired(_)),
                        _ => !take_one(store, node).await.is_empty(),
                    }
                }
            })
            .await;
            assert_ne!(got[0], got[1], "exactly one");
            for row in bench.rows().await {
                match row.state {
                    ExecutionState::Claimed => bench.finish(&row).await,
                    _ => assert_eq!(bench.cancel(row.id).await.ended, 1),
                }
            }
            rewind(&bench, &trigger).await;
        }
    }

    /// Of many tries to end one claim at once, one ends it, and the others learn that it is done.
    async fn one_of_many_ends_a_claim(bench) {
        let (node, stores) = (bench.node("a").await, stores(&bench, TASKS).await);
        let job = bench.job("j").await;
        for _ in 0..bench.rounds() {
            bench.enqueue(&job).await;
            let plan = success(&bench.take_one(node).await);
            let outcomes = at_once(&stores, |_, store| {
                let plan = plan.clone();
                async move { store.settle(vec![plan]).await.expect("a write").remove(0) }
            })
            .await;
            let done = outcomes.iter().filter(|outcome| **outcome == SettleOutcome::Done).count();
            let already = outcomes.iter().filter(|outcome| **outcome == SettleOutcome::AlreadyDone).count();
            assert_eq!((done, already), (1, TASKS - 1));
        }
    }

    /// A completion and a recovery of one row: one of them happens.
    async fn a_completion_and_a_recovery_exclude_each_other(bench) {
        let (node, stores) = (bench.node("a").await, stores(&bench, 2).await);
        let job = bench.limited("j", "key", 1).await;
        for _ in 0..bench.rounds() {
            let dead = bench.node("dead").await;
            let id = bench.enqueue(&job).await;
            let row = bench.take_one(dead).await;
            bench.bury(dead).await;
            let plans = [success(&row), recover::settle(&row, &job.spec, dead.id, bench.t0)];
            let outcomes = at_once(&stores, |n, store| {
                let plan = plans[n].clone();
                async move { store.settle(vec![plan]).await.expect("a write").remove(0) }
            })
            .await;
            match (outcomes[0], outcomes[1]) {
                (SettleOutcome::Done, SettleOutcome::AlreadyDone) => assert_eq!(bench.live(id).await, None),
                (SettleOutcome::Fenced, SettleOutcome::Done) => {
                    assert_eq!(bench.record(id).await, None);
                    bench.finish(&bench.take_one(node).await).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// A take-over and a check-in of one node: the node is dead, or it has beaten.
    async fn a_take_over_and_a_check_in_exclude_each_other(bench) {
        let stores = stores(&bench, 2).await;
        for _ in 0..bench.rounds() {
            let node = bench.node("a").await;
            let answers = at_once(&stores, |n, store| async move {
                match n {
                    0 => store.take_over(node.id, 1).await.expect("a write"),
                    _ => store.check_in(node.id).await.expect("a write").standing == Standing::Gone,
                }
            })
            .await;
            assert_eq!(answers[0], answers[1], "dead for both or for neither");
            bench.store.leave(node.id).await.expect("a write");
        }
    }

    /// After a take-over has answered, no claim of the dead node commits.
    async fn no_claim_slips_past_a_take_over(bench) {
        let stores = stores(&bench, 2).await;
        let job = bench.job("j").await;
        for _ in 0..bench.rounds() {
            let node = bench.node("a").await;
            let id = bench.enqueue(&job).await;
            let seen = at_once(&stores, |n, store| async move {
                match n {
                    0 => {
                        assert!(store.take_over(node.id, 1).await.expect("a write"));
                        store.orphans(node.id, 10).await.expect("a read").len()
                    }
                    _ => take_one(store, node).await.len(),
                }
            })
            .await;
            let row = bench.row(id).await;
            assert_eq!(seen[0], usize::from(row.owner.is_some()), "the orphans were all there");
            if row.owner.is_some() {
                bench.finish(&row).await;
            } else {
                bench.cancel(id).await;
            }
        }
    }

    /// After a standby has answered, no claim that was planned before it commits.
    async fn no_claim_slips_past_a_standby(bench) {
        let stores = stores(&bench, 2).await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        for _ in 0..bench.rounds() {
            let node = bench.node("a").await;
            let plan = bench.plan(node).await;
            let id = plan.executions[0].id;
            let seen = at_once(&stores, |n, store| {
                let plan = plan.clone();
                async move {
                    match n {
                        0 => {
                            store.set_standby(node.id, Standby::On).await.expect("a write");
                            usize::from(store.inspect().execution(id).await.expect("a read").is_some())
                        }
                        _ => fired(&[claim_one(store, node, plan).await]),
                    }
                }
            })
            .await;
            let live = bench.live(id).await;
            assert_eq!((seen[0], seen[1]), (usize::from(live.is_some()), usize::from(live.is_some())));
            if let Some(row) = live {
                bench.finish(&row).await;
            }
            rewind(&bench, &trigger).await;
            bench.store.leave(node.id).await.expect("a write");
        }
    }

    /// A cancellation and a claim of one ready row: it ends, or its owner is asked to stop it.
    async fn a_cancellation_and_a_claim_agree(bench) {
        let (node, stores) = (bench.node("a").await, stores(&bench, 2).await);
        let job = bench.limited("j", "key", 1).await;
        for _ in 0..bench.rounds() {
            let id = bench.enqueue(&job).await;
            let counts = at_once(&stores, |n, store| async move {
                match n {
                    0 => store.cancel(vec![id], "race".to_owned()).await.expect("a write").asked,
                    _ => u32::try_from(take_one(store, node).await.len()).expect("a small number"),
                }
            })
            .await;
            assert_eq!(counts[0], counts[1], "asked if and only if claimed");
            if let Some(row) = bench.live(id).await {
                assert!(row.cancel.is_some());
                bench.finish(&row).await;
            }
        }
    }

    /// Work that is enqueued by many at once under one id is there once.
    async fn one_id_is_enqueued_once(bench) {
        let (node, stores) = (bench.node("a").await, stores(&bench, TASKS).await);
        let job = bench.job("j").await;
        for _ in 0..bench.rounds() {
            let execution = bench.new_work(&job);
            let answers = at_once(&stores, |_, store| {
                let work = vec![Enqueue { execution: execution.clone(), delay: None }];
                async move { store.enqueue(work).await.expect("a write") }
            })
            .await;
            assert!(answers.iter().all(|answer| *answer == Applied::All));
            assert_eq!(bench.rows().await.len(), 1);
            bench.finish(&bench.take_one(node).await).await;
        }
    }

    /// Of many that create one key at once, one does.
    async fn one_of_many_creates_a_key(bench) {
        let stores = stores(&bench, TASKS).await;
        for round in 0..bench.rounds() {
            let jobs: Vec<_> = (0..TASKS).map(|_| bench.new_job(&format!("j{round}"))).collect();
            let answers = at_once(&stores, |n, store| {
                let change = create_job(jobs[n].clone());
                async move { store.apply(vec![change]).await.expect("a write") }
            })
            .await;
            let winners: Vec<_> = (0..TASKS).filter(|n| answers[*n] == Applied::All).collect();
            assert_eq!(winners.len(), 1);
            let stored = bench.store.inspect().job(&jobs[0].key).await.expect("a read").expect("it is there");
            assert_eq!(stored.id, jobs[winners[0]].id);
        }
    }

    /// Beats that are sent at once are all counted.
    async fn beats_are_all_counted(bench) {
        let (node, stores) = (bench.node("a").await, stores(&bench, TASKS).await);
        for round in 0..bench.rounds() {
            let mut beats =
                at_once(
                    &stores,
                    |_, store| async move { store.check_in(node.id).await.expect("a write").beat },
                )
                .await;
            beats.sort_unstable();
            let first = i64::from(round) * 8 + 2;
            assert_eq!(beats, (first..first + 8).collect::<Vec<_>>());
        }
    }

    /// Slots freed and wanted at once are never lost: when all has ended, the key is free.
    async fn no_slot_is_lost(bench) {
        let (stores, nodes) = (stores(&bench, TASKS).await, nodes(&bench, TASKS).await);
        let job = bench.limited("j", "key", 3).await;
        for _ in 0..bench.rounds() {
            for _ in 0..TASKS {
                bench.enqueue(&job).await;
            }
            let most = at_once(&stores, |n, store| {
                let node = nodes[n];
                async move {
                    let taken = take_one(Arc::clone(&store), node).await;
                    for row in &taken {
                        let outcomes = store.settle(vec![success(row)]).await.expect("a write");
                        assert_eq!(outcomes, [SettleOutcome::Done]);
                    }
                    taken.len()
                }
            })
            .await;
            assert!(most.iter().sum::<usize>() >= 1);
            for row in bench.rows().await {
                assert_eq!((row.state, bench.cancel(row.id).await.ended), (ExecutionState::Ready, 1));
            }
            for _ in 0..3 {
                bench.enqueue(&job).await;
            }
            let taken = bench.take(nodes[0], 10).await;
            assert_eq!(taken.len(), 3, "three slots are free");
            for work in taken {
                bench.finish(&work.execution).await;
            }
        }
    }

    /// Of many that want one lock at once, one gets it, and fences grow from holder to holder.
    [Locks]
    async fn one_of_many_takes_a_lock(bench) {
        let locks = bench.locks().await;
        let stores = stores(&bench, TASKS).await;
        let mut last = punctual_core::Fence::NONE;
        for _ in 0..bench.rounds() {
            let leases = at_once(&stores, |n, _| {
                let locks = Arc::clone(&locks);
                let owner = punctual_core::NodeId::from_stored(i64::try_from(n).expect("a small number") + 1);
                let request = punctual_core::lock::LockRequest { name: "l".into(), owner, span: secs(3600) };
                async move { locks.try_acquire(request).await.expect("a write") }
            })
            .await;
            let leases: Vec<_> = leases.into_iter().flatten().collect();
            assert_eq!(leases.len(), 1);
            assert!(leases[0].fence > last);
            last = leases[0].fence;
            assert!(locks.release(&leases[0]).await.expect("a write"));
        }
    }
}
