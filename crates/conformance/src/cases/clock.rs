//! Clocks that jump: the store's clock says what is due, and nothing else. No guard looks at it, and no node is judged
//! by it.

use punctual_core::Timestamp;
use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::inspect::HistoryFilter;
use punctual_core::key::ExecutionId;
use punctual_core::lock::LockRequest;
use punctual_core::misfire::MisfirePolicy;
use punctual_core::node::NodeState;
use punctual_core::protocol::recover;
use punctual_core::store::{Applied, ClaimOutcome, Enqueue, PARK, Prune, SettleOutcome, Standby, Standing};
use punctual_core::trigger::TriggerRecord;

use crate::bench::{Bench, MINUTE, TheSlot, claim_of, ms, secs, success};
use crate::case::cases;

const HOUR: std::time::Duration = secs(3600);
const YEAR: std::time::Duration = secs(365 * 86_400);

async fn delayed(bench: &Bench, delay: std::time::Duration) -> ExecutionId {
    let job = bench.job("delayed").await;
    let execution = bench.new_work(&job);
    let id = execution.id;
    let work = vec![Enqueue { execution, delay: Some(delay) }];
    assert_eq!(bench.store.enqueue(work).await.expect("a write"), Applied::All);
    id
}

/// Clocks that a careless administrator may set.
fn elsewhen(bench: &Bench) -> [Timestamp; 4] {
    [bench.t0.minus(YEAR), bench.t0.plus(YEAR), Timestamp::EPOCH, bench.t0.minus(ms(1))]
}

cases! {
    D "clock";

    /// A delay is added to the clock as the store reads it in the step, also after that clock was set back.
    [Clock]
    async fn delays_count_from_the_clock_of_the_step(bench) {
        bench.set_clock(bench.t0.minus(HOUR));
        let id = delayed(&bench, secs(30)).await;
        assert_eq!(bench.row(id).await.wake, bench.t0.minus(HOUR).plus(secs(30)));
    }

    /// All handles go by one clock: what one of them delays, another is given at that time and not before.
    [Clock]
    async fn all_handles_go_by_one_clock(bench) {
        let node = bench.node("a").await;
        let other = bench.other().await;
        let id = delayed(&bench, secs(30)).await;
        bench.advance(ms(29_999));
        assert!(bench.take(node, 10).await.is_empty());
        assert_eq!(other.now().await.expect("a clock"), bench.now().await);
        bench.advance(ms(1));
        assert_eq!(bench.take_one(node).await.id, id);
    }

    /// After the clock was set back nothing is early: what was due is not, until the clock comes to it again.
    [Clock]
    async fn a_clock_set_back_makes_nothing_early(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let id = bench.enqueue(&job).await;
        bench.set_clock(bench.t0.minus(HOUR));
        let due = bench.due(node).await;
        assert!(due.triggers.is_empty() && !due.ready && bench.take(node, 10).await.is_empty());
        assert_eq!(due.next_wake, Some(bench.t0), "a node knows until when to sleep");
        bench.set_clock(bench.t0);
        assert_eq!(bench.due(node).await.triggers.len(), 1);
        assert_eq!(bench.take_one(node).await.id, id);
    }

    /// A clock that is set back and comes round again repeats no instant.
    [Clock]
    async fn a_clock_set_back_repeats_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let mut fired = Vec::new();
        for minute in [0, 0, 1, 0, 1, 2] {
            bench.set_clock(bench.t0.plus(MINUTE * minute));
            for row in bench.fire(node).await {
                fired.push(row.scheduled);
                bench.finish(&row).await;
            }
        }
        assert_eq!(fired, [0, 1, 2].map(|minute| bench.t0.plus(MINUTE * minute)));
        assert_eq!(bench.reread(&trigger).await.fires, 3);
        let history = bench.store.inspect().history(HistoryFilter::default()).await.expect("a read");
        assert_eq!(history.len(), 3);
    }

    /// A jump forward loses no instant: each is fired or recorded as skipped.
    [Clock]
    async fn a_jump_forward_loses_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let change = |trigger: &mut TriggerRecord| trigger.spec.misfire = MisfirePolicy::FireOnceNow;
        bench.trigger_with("t", &job, change).await;
        bench.set_clock(bench.t0.plus(MINUTE * 10));
        let row = bench.fire_one(node).await;
        bench.finish(&row).await;
        let history = bench.store.inspect().history(HistoryFilter::default()).await.expect("a read");
        let counted: u64 = history.iter().map(|record| record.count.expect("it was counted")).sum();
        assert_eq!(counted, 11);
    }

    /// A claim is not lost because the clock jumped forth since its plan was made. One that the clock has made early by
    /// jumping back is, and changes nothing: it is made when its time has come again.
    [Clock]
    async fn no_claim_is_lost_to_a_jump(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        let trigger = bench.trigger("t", &job).await;
        for (n, at) in elsewhen(&bench).into_iter().enumerate() {
            bench.set_clock(bench.t0);
            let stored = bench.reread(&trigger).await;
            let generation = stored.generation + 1;
            let again = TriggerRecord { next_fire: Some(bench.t0), wake: Some(bench.t0), generation, ..stored };
            bench.write([crate::bench::replace_trigger(again)]).await;
            let plan = bench.plan(node).await;
            bench.set_clock(at);
            let mut outcome = bench.claim_one(node, plan.clone()).await;
            if at < bench.t0 {
                assert_eq!(outcome, ClaimOutcome::Lost, "jump {n}");
                bench.set_clock(bench.t0);
                outcome = bench.claim_one(node, plan).await;
            }
            assert!(matches!(outcome, ClaimOutcome::Fired(_)), "jump {n}");
            let row = bench.rows().await.remove(0);
            bench.finish(&row).await;
        }
    }

    /// A stale claim is not saved by a jump either.
    [Clock]
    async fn no_stale_claim_is_saved_by_a_jump(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        assert!(matches!(bench.claim_one(node, plan.clone()).await, ClaimOutcome::Fired(_)));
        let after = bench.reread(&trigger).await;
        for at in elsewhen(&bench) {
            bench.set_clock(at);
            assert_eq!(bench.claim_one(node, plan.clone()).await, ClaimOutcome::Lost);
        }
        assert_eq!(bench.reread(&trigger).await, after);
    }

    /// Results are taken from the owner with the fence, whatever the clock says, and from nobody else.
    [Clock]
    async fn results_do_not_look_at_the_clock(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for at in elsewhen(&bench) {
            bench.set_clock(bench.t0);
            bench.enqueue(&job).await;
            let row = bench.take_one(node).await;
            bench.set_clock(at);
            let begun = bench.store.begin(vec![claim_of(&row)]).await.expect("a write");
            assert_eq!(begun, [SettleOutcome::Done]);
            let mut stale = success(&row);
            stale.claim.fence = stale.claim.fence.next();
            assert_eq!(bench.settle(stale).await, SettleOutcome::Fenced);
            bench.finish(&row).await;
            assert_eq!(bench.record(row.id).await.expect("a record").outcome, Outcome::Succeeded);
        }
    }

    /// A node is not judged by a clock: however far it jumps, who was up is up, and claims.
    [Clock]
    async fn no_node_is_judged_by_the_clock(bench) {
        let (node, observer) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.enqueue_with(&job, |work| work.scheduled = Timestamp::MIN).await;
        for at in elsewhen(&bench) {
            bench.set_clock(at);
            let seen = bench.check_in(observer).await;
            assert_eq!((seen.standing, seen.nodes.len()), (Standing::Up, 2));
            assert!(seen.gone_owners.is_empty());
            assert_eq!(bench.member(node).await.state, NodeState::Up);
        }
        assert_eq!(bench.take(node, 10).await.len(), 1);
    }

    /// Beats are counted, not timed: a check-in raises the beat by one on a clock that stands still or runs back.
    [Clock]
    async fn beats_do_not_look_at_the_clock(bench) {
        let node = bench.node("a").await;
        for (beat, back) in (2..).zip([0, 0, 60, 3600, 86_400]) {
            bench.set_clock(bench.t0.minus(secs(back)));
            assert_eq!(bench.check_in(node).await.beat, beat);
        }
    }

    /// A take-over compares the beat, and nothing that a clock could change.
    [Clock]
    async fn a_take_over_does_not_look_at_the_clock(bench) {
        let node = bench.node("a").await;
        let beat = bench.check_in(node).await.beat;
        bench.set_clock(bench.t0.plus(YEAR));
        assert!(!bench.store.take_over(node.id, beat - 1).await.expect("a write"), "it has beaten since");
        bench.set_clock(bench.t0.minus(YEAR));
        assert!(bench.store.take_over(node.id, beat).await.expect("a write"));
    }

    /// The work of a dead node runs again at once, though the clock was set back since it was made.
    [Clock]
    async fn recovered_work_waits_for_no_clock(bench) {
        let (dead, node) = (bench.node("dead").await, bench.node("a").await);
        let job = bench.limited("j", "key", 1).await;
        let id = bench.enqueue(&job).await;
        let row = bench.take_one(dead).await;
        bench.bury(dead).await;
        bench.set_clock(bench.t0.minus(HOUR));
        let plan = recover::settle(&row, &job.spec, dead.id, bench.now().await);
        assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        assert_eq!(bench.take_one(node).await.id, id);
    }

    /// A closed gate stays closed however the clock jumps.
    [Clock]
    async fn gates_do_not_look_at_the_clock(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        bench.store.set_standby(node.id, Standby::On).await.expect("a write");
        bench.store.set_standby(node.id, Standby::Off).await.expect("a write");
        for at in elsewhen(&bench) {
            bench.set_clock(at);
            assert!(!bench.claim(node, [plan.clone()]).await.gate_open);
        }
    }

    /// Fences of a slot grow though the clock runs back.
    [Clock]
    async fn fences_do_not_look_at_the_clock(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        let mut last = punctual_core::Fence::NONE;
        for back in [0, 60, 3600, 86_400] {
            bench.set_clock(bench.t0.minus(secs(back)));
            let at = bench.now().await;
            bench.enqueue_with(&job, |work| work.scheduled = at).await;
            let row = bench.take_one(node).await;
            assert!(row.fence > last);
            last = row.fence;
            bench.finish(&row).await;
        }
    }

    /// A retry comes when the clock has reached its time, also if the clock was set back in between: late, never early.
    [Clock]
    async fn a_retry_is_never_early(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(60), TheSlot::Freed).await;
        bench.set_clock(bench.t0.minus(secs(60)));
        bench.advance(ms(119_999));
        assert!(bench.take(node, 10).await.is_empty());
        bench.advance(ms(1));
        assert_eq!(bench.take_one(node).await.attempt, 2);
    }

    /// Work that waits for a slot gets it when the slot is freed, on a clock that was set back as well.
    [Clock]
    async fn waiters_are_woken_on_any_clock(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let waiting = bench.enqueue_with(&job, |work| work.scheduled = bench.t0.minus(YEAR)).await;
        assert!(bench.take(node, 10).await.is_empty());
        bench.set_clock(bench.t0.minus(HOUR));
        bench.finish(&row).await;
        assert_eq!(bench.take_one(node).await.id, waiting);
    }

    /// What is parked is looked at again when its parking has passed on the store's clock.
    [Clock]
    async fn parking_goes_by_the_clock(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        bench.set_clock(bench.t0.minus(HOUR));
        bench.advance(HOUR + PARK - ms(1));
        assert!(bench.due(node).await.triggers.is_empty());
        bench.advance(ms(1));
        assert_eq!(bench.due(node).await.triggers.len(), 1);
    }

    /// An id that was drawn by a node with a wrong clock is an id like any other.
    [Clock]
    async fn ids_do_not_look_at_the_clock(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for at in elsewhen(&bench) {
            let id = ExecutionId::draw(at, &bench.entropy);
            bench.enqueue_with(&job, |work| work.id = id).await;
            let row = bench.take_one(node).await;
            assert_eq!((row.id, row.state), (id, ExecutionState::Claimed));
            bench.finish(&row).await;
            assert!(bench.record(id).await.is_some());
        }
    }

    /// Live rows outlast a prune on a clock that is ahead by years, and history one on a clock that is behind.
    [Clock]
    async fn a_prune_on_a_wrong_clock_takes_nothing_that_lives(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let ended = bench.take_one(node).await;
        bench.finish(&ended).await;
        bench.enqueue(&job).await;
        let held = bench.take_one(node).await;
        let old = Prune { history: HOUR, limit: 100 };
        bench.set_clock(bench.t0.minus(YEAR));
        assert_eq!(bench.store.prune(old).await.expect("a write").history, 0);
        bench.set_clock(bench.t0.plus(YEAR));
        assert_eq!(bench.store.prune(old).await.expect("a write").history, 1);
        assert_eq!(bench.rows().await, std::slice::from_ref(&held));
        assert_eq!(bench.member(node).await.state, NodeState::Up);
        bench.finish(&held).await;
    }

    /// A lease ends on the store's clock, and a jump makes it longer or shorter; its fence is what can be relied on.
    [Locks, Clock]
    async fn a_lease_may_be_cut_short_but_its_fence_holds(bench) {
        let locks = bench.locks().await;
        let ask = |n| LockRequest { name: "l".into(), owner: punctual_core::NodeId::from_stored(n), span: secs(10) };
        let first = locks.try_acquire(ask(1)).await.expect("a write").expect("it is free");
        bench.set_clock(bench.t0.minus(HOUR));
        assert_eq!(locks.try_acquire(ask(2)).await.expect("a write"), None, "it goes on");
        bench.set_clock(bench.t0.plus(HOUR));
        let second = locks.try_acquire(ask(2)).await.expect("a write").expect("it has ended");
        assert!(second.fence > first.fence);
        bench.set_clock(bench.t0);
        assert_eq!(locks.renew(&first, secs(10)).await.expect("a write"), None, "it has passed to another");
        assert!(!locks.release(&first).await.expect("a write"));
        assert!(locks.release(&second).await.expect("a write"));
    }

    /// At either end of the number range the clock is still a clock: what can be due is due, and delays have no end.
    [Clock]
    async fn clocks_at_the_end_of_time(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.trigger("t", &job).await;
        for at in [Timestamp::MIN, Timestamp::MAX] {
            bench.set_clock(at);
            assert_eq!(bench.now().await, at);
            bench.enqueue_with(&job, |work| work.scheduled = Timestamp::MIN).await;
            let row = bench.take_one(node).await;
            bench.enqueue_with(&job, |work| work.scheduled = Timestamp::MIN).await;
            assert!(bench.take(node, 10).await.is_empty(), "it is parked");
            bench.finish(&row).await;
            let row = bench.take_one(node).await;
            bench.give_back(&row, secs(60), TheSlot::Freed).await;
            assert_eq!(bench.row(row.id).await.wake, at.plus(secs(60)));
            assert_eq!(bench.cancel(row.id).await.ended, 1);
            bench.check_in(node).await;
            bench.store.prune(Prune { history: HOUR, limit: 10 }).await.expect("a write");
        }
        assert_eq!(bench.due(node).await.triggers.len(), 1);
    }
}
