//! `claim`: from a plan to a live row, if the trigger is still as it was read.

use punctual_core::TriggerId;
use punctual_core::execution::{Execution, ExecutionState, Occurrence, Outcome, Skip, SkipReason};
use punctual_core::key::{ExecutionId, Fence};
use punctual_core::protocol::fire;
use punctual_core::store::{ClaimOutcome, FirePlan, Poison, PoisonRow, Standby, TriggerPatch};
use punctual_core::trigger::{TriggerRecord, TriggerState};

use crate::bench::{MINUTE, WORK, claim_of, data, delete_trigger, fences, kind, replace_trigger, secs};
use crate::case::cases;

/// A plan that leaves the trigger's next instant where it is.
fn idle_plan(trigger: &TriggerRecord) -> FirePlan {
    let then = TriggerPatch {
        state: trigger.state,
        next_fire: trigger.next_fire,
        wake: trigger.wake,
        last: trigger.last,
        progress: trigger.progress,
        fires: 0,
        error: None,
        skips: Vec::new(),
    };
    let (busy, executions) = (then.clone(), Vec::new());
    FirePlan {
        trigger: trigger.id,
        rev: trigger.rev,
        fire_seq: trigger.fire_seq,
        executions,
        slot: None,
        then,
        busy,
    }
}

cases! {
    A "claim";

    /// What fires is a live row, claimed by the node at its first attempt.
    async fn makes_a_claimed_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.priority = 3).await;
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.priority = 4).await;
        let row = bench.fire_one(node).await;
        let occurrence = Occurrence { trigger_id: trigger.id, generation: 1, key: trigger.key.clone() };
        let expected = Execution {
            occurrence: Some(occurrence),
            kind: kind(WORK),
            scheduled: bench.t0,
            priority: 7,
            state: ExecutionState::Claimed,
            owner: Some(node.id),
            fence: Fence::NONE.next(),
            attempt: 1,
            losses: 0,
            slot: None,
            catch_up: None,
            spec: None,
            payload: None,
            attempts: Vec::new(),
            cancel: None,
            error: None,
            ..row.clone()
        };
        assert_eq!(row, expected);
        assert_eq!(row.job.expect("a job").id, job.id);
    }

    /// The trigger moves on as the plan says: its next instant, its last one, and its counters.
    async fn moves_the_trigger_on(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.fire_one(node).await;
        let next = Some(bench.t0.plus(MINUTE));
        let expected = TriggerRecord {
            next_fire: next,
            wake: next,
            last: Some(bench.t0),
            fires: trigger.fires + 1,
            fire_seq: trigger.fire_seq + 1,
            rev: trigger.rev + 1,
            ..trigger
        };
        assert_eq!(bench.reread(&expected).await, expected);
    }

    /// A claim compares the trigger's revision.
    async fn refuses_a_stale_revision(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let mut plan = bench.plan(node).await;
        plan.rev -= 1;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        assert_eq!(bench.reread(&trigger).await, trigger);
    }

    /// A claim compares the trigger's firing counter.
    async fn refuses_a_stale_firing_counter(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let mut plan = bench.plan(node).await;
        plan.fire_seq -= 1;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        assert_eq!(bench.reread(&trigger).await, trigger);
    }

    /// A plan that is lost leaves no row, no skip and no slot.
    async fn leaves_nothing_of_a_lost_plan(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.trigger("t", &job).await;
        let good = bench.plan(node).await;
        let mut bad = bench.plan(node).await;
        bad.rev += 1;
        let skipped = ExecutionId::draw(bench.t0, &bench.entropy);
        let at = bench.t0;
        bad.then.skips.push(Skip {
            id: skipped,
            first: at,
            last: at,
            count: Some(1),
            reason: SkipReason::Misfire,
        });
        let id = bad.executions[0].id;
        assert_eq!(bench.claim_one(node, bad).await, ClaimOutcome::Lost);
        assert_eq!((bench.live(id).await, bench.record(skipped).await), (None, None));
        assert!(matches!(bench.claim_one(node, good).await, ClaimOutcome::Fired(_)), "the slot is free");
    }

    /// An edit made between read and claim survives, and the claim is lost.
    async fn an_edit_in_between_survives(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        let edited = TriggerRecord { payload: Some(data("edited")), ..trigger };
        bench.write([replace_trigger(edited.clone())]).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        let stored = bench.reread(&edited).await;
        assert_eq!(
            (stored.payload, stored.next_fire, stored.fires),
            (Some(data("edited")), edited.next_fire, 0)
        );
        assert!(bench.rows().await.is_empty());
    }

    /// A plan for a trigger that was deleted is lost.
    async fn loses_a_deleted_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        assert!(bench.rows().await.is_empty());
    }

    /// A plan for a trigger does not fire another one that was created under the same key.
    async fn does_not_mistake_a_trigger_for_its_successor(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        let successor = bench.trigger("t", &job).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        assert_eq!(bench.reread(&successor).await, successor);
    }

    /// A trigger that is not active does not fire.
    async fn refuses_what_is_not_active(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        for state in [TriggerState::Complete, TriggerState::Error] {
            let stored = bench.reread(&trigger).await;
            bench.write([replace_trigger(TriggerRecord { state, ..stored.clone() })]).await;
            let plan = FirePlan { rev: stored.rev + 1, ..plan.clone() };
            assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost, "{state:?}");
        }
    }

    /// Repeating a claim that was applied changes nothing.
    async fn repeated_it_is_lost(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        assert!(matches!(bench.claim_one(node, plan.clone()).await, ClaimOutcome::Fired(_)));
        let after = bench.reread(&trigger).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        assert_eq!(bench.reread(&trigger).await, after);
        assert_eq!(bench.rows().await.len(), 1);
    }

    /// Two plans for one trigger in one batch fire once.
    async fn fires_one_trigger_once_in_a_batch(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let plans = [bench.plan(node).await, bench.plan(node).await];
        let claimed = bench.claim(node, plans).await;
        let lost = claimed.outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Lost).count();
        assert_eq!((lost, bench.rows().await.len()), (1, 1));
    }

    /// Answers come in the order of the plans, and a plan that is lost does not stop the others.
    async fn answers_in_the_order_asked(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for name in ["a", "b", "c"] {
            bench.trigger(name, &job).await;
        }
        let mut plans = bench.plans(&bench.due(node).await);
        plans.sort_by_key(|plan| std::cmp::Reverse(plan.trigger));
        plans[1].rev += 5;
        let outcomes = bench.claim(node, plans.clone()).await.outcomes;
        let fired = ClaimOutcome::Fired(vec![Fence::NONE.next()]);
        assert_eq!(outcomes, [fired.clone(), ClaimOutcome::Lost, fired]);
        let live: Vec<TriggerId> = bench
            .rows()
            .await
            .iter()
            .filter_map(|row| row.occurrence.as_ref())
            .map(|of| of.trigger_id)
            .collect();
        assert!(live.contains(&plans[0].trigger) && !live.contains(&plans[1].trigger));
    }

    /// A new generation of a trigger may fire an instant that an older one has fired, whether that still runs or has ended.
    async fn a_new_generation_fires_the_same_instant(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let mut rows = vec![bench.fire_one(node).await];
        for generation in [2, 3] {
            let stored = bench.reread(&trigger).await;
            let (next_fire, wake) = (trigger.next_fire, trigger.wake);
            bench.write([replace_trigger(TriggerRecord { generation, next_fire, wake, ..stored })]).await;
            let row = bench.fire_one(node).await;
            bench.finish(&row).await;
            rows.push(row);
        }
        assert!(rows.iter().all(|row| row.scheduled == rows[0].scheduled));
    }

    /// A plan may fire several executions, each with its fence.
    async fn fires_several_executions(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let mut plan = bench.plan(node).await;
        let mut second = plan.executions[0].clone();
        second.id = ExecutionId::draw(bench.t0, &bench.entropy);
        second.scheduled = bench.t0.minus(MINUTE);
        plan.executions.push(second);
        assert_eq!(fences(bench.claim_one(node, plan).await).len(), 2);
        assert_eq!(bench.rows().await.len(), 2);
    }

    /// A plan may move its trigger without firing anything.
    async fn may_fire_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let mut plan = idle_plan(&trigger);
        let later = Some(bench.t0.plus(MINUTE));
        plan.then.wake = later;
        assert_eq!(fences(bench.claim_one(node, plan).await), []);
        let stored = bench.reread(&trigger).await;
        assert_eq!(
            (stored.wake, stored.next_fire, stored.fires, stored.fire_seq),
            (later, Some(bench.t0), 0, 1)
        );
    }

    /// Skipped instants enter the history with the trigger, the job, their range, their count and their reason.
    async fn records_skips(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("before", &bench.job("another").await).await;
        let trigger = bench.trigger("t", &job).await;
        bench.trigger("after", &bench.job("one more").await).await;
        let mut plan = idle_plan(&trigger);
        let (id, first, last) =
            (ExecutionId::draw(bench.t0, &bench.entropy), bench.t0.minus(MINUTE), bench.t0);
        plan.then.skips.push(Skip { id, first, last, count: Some(2), reason: SkipReason::Misfire });
        assert_eq!(fences(bench.claim_one(node, plan).await), []);
        let record = bench.record(id).await.expect("a record");
        let of = record.occurrence.expect("an occurrence");
        assert_eq!((of.trigger_id, of.generation, of.key), (trigger.id, 1, trigger.key));
        assert_eq!(record.job.expect("a job").id, job.id);
        assert_eq!((record.kind, record.scheduled, record.until), (job.kind, first, Some(last)));
        assert_eq!((record.count, record.outcome), (Some(2), Outcome::Skipped));
        assert_eq!((record.reason, record.attempt, record.node), (Some(SkipReason::Misfire), 0, None));
        assert_eq!((record.fence, record.started, record.output), (Fence::NONE, None, None));
        assert!(record.ended >= bench.t0 && record.attempts.is_empty());
    }

    /// A skip whose instants were not counted has no count.
    async fn records_skips_that_were_not_counted(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let mut plan = idle_plan(&trigger);
        let (id, at) = (ExecutionId::draw(bench.t0, &bench.entropy), bench.t0);
        plan.then.skips.push(Skip { id, first: at, last: at, count: None, reason: SkipReason::Overlap });
        assert_eq!(fences(bench.claim_one(node, plan).await), []);
        let record = bench.record(id).await.expect("a record");
        assert_eq!((record.count, record.reason), (None, Some(SkipReason::Overlap)));
    }

    /// A claim that was planned at another gate is refused as a whole.
    async fn refuses_another_gate(bench) {
        let mut node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        for gate in [node.gate - 1, node.gate + 1] {
            node.gate = gate;
            let claimed = bench.claim(node, [plan.clone()]).await;
            assert_eq!((claimed.gate_open, claimed.outcomes), (false, vec![ClaimOutcome::Lost]));
        }
        assert_eq!(bench.reread(&trigger).await, trigger);
    }

    /// A node in standby claims nothing.
    async fn refuses_a_node_in_standby(bench) {
        let mut node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        node.gate = bench.store.set_standby(node.id, Standby::On).await.expect("a write").expect("it is up");
        let plan = bench.plan(node).await;
        let claimed = bench.claim(node, [plan]).await;
        assert_eq!((claimed.gate_open, claimed.outcomes), (false, vec![ClaimOutcome::Lost]));
    }

    /// A node that was declared dead, has left or never joined claims nothing.
    async fn refuses_a_node_that_is_not_up(bench) {
        // Another one is up, at the same gate.
        bench.node("another").await;
        let (dead, left) = (bench.node("dead").await, bench.node("left").await);
        let stranger = crate::bench::Node { id: bench.info("stranger").id, gate: 0 };
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let plan = bench.plan(dead).await;
        bench.bury(dead).await;
        bench.store.leave(left.id).await.expect("a write");
        for node in [dead, left, stranger] {
            assert!(!bench.claim(node, [plan.clone()]).await.gate_open);
        }
        assert!(bench.rows().await.is_empty());
    }

    /// A second row for one instant of one generation is refused and sets its trigger aside; the batch goes on.
    async fn sets_a_trigger_aside_that_repeats_an_instant(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let first = bench.fire_one(node).await;
        let back =
            TriggerRecord { next_fire: Some(bench.t0), wake: Some(bench.t0), ..bench.reread(&trigger).await };
        bench.write([replace_trigger(back)]).await;
        bench.trigger("innocent", &job).await;
        let plans = bench.plans(&bench.due(node).await);
        bench.claim(node, plans).await;
        let stored = bench.reread(&trigger).await;
        assert_eq!(stored.state, TriggerState::Error);
        assert!(stored.error.is_some(), "it says why");
        let of_trigger =
            |row: &&Execution| row.occurrence.as_ref().is_some_and(|of| of.trigger_id == trigger.id);
        let rows = bench.rows().await;
        assert_eq!(rows.iter().filter(of_trigger).collect::<Vec<_>>(), [&first]);
        assert_eq!(rows.len(), 2, "the other trigger fired");
    }

    /// An instant whose execution has ended does not fire again in the same generation.
    async fn remembers_instants_that_have_ended(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.finish(&bench.fire_one(node).await).await;
        let back =
            TriggerRecord { next_fire: Some(bench.t0), wake: Some(bench.t0), ..bench.reread(&trigger).await };
        bench.write([replace_trigger(back)]).await;
        let plan = bench.plan(node).await;
        assert!(!matches!(bench.claim_one(node, plan).await, ClaimOutcome::Fired(_)));
        assert!(bench.rows().await.is_empty());
        assert_eq!(bench.reread(&trigger).await.state, TriggerState::Error);
    }

    /// A trigger that cannot be understood is set aside with its reason, and is not due any more.
    async fn sets_poison_aside(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let row = PoisonRow::Trigger { id: trigger.id, rev: trigger.rev, fire_seq: trigger.fire_seq };
        let plan = fire::set_aside(&Poison { row, reason: "spec: not JSON".to_owned() }).expect("a trigger");
        assert_eq!(fences(bench.claim_one(node, plan).await), []);
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.state, stored.error), (TriggerState::Error, Some("spec: not JSON".into())));
        assert!(bench.due(node).await.triggers.is_empty());
    }

    /// A trigger that was set aside keeps its last instant, so that what it has consumed stays consumed.
    async fn a_trigger_set_aside_keeps_its_last_instant(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let last = Some(bench.t0.minus(secs(60)));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.last = last).await;
        let row = PoisonRow::Trigger { id: trigger.id, rev: trigger.rev, fire_seq: trigger.fire_seq };
        let plan = fire::set_aside(&Poison { row, reason: "broken".to_owned() }).expect("a trigger");
        assert_eq!(fences(bench.claim_one(node, plan).await), []);
        assert_eq!(bench.reread(&trigger).await.last, last);
    }

    /// A correct definition makes a trigger that was set aside active again.
    async fn a_correct_definition_mends_a_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let broken = |trigger: &mut TriggerRecord| {
            (trigger.state, trigger.error) = (TriggerState::Error, Some("broken".into()));
        };
        let trigger = bench.trigger_with("t", &job, broken).await;
        bench
            .write([replace_trigger(TriggerRecord { state: TriggerState::Active, error: None, ..trigger })])
            .await;
        assert_eq!(bench.fire(node).await.len(), 1);
    }

    /// A claim whose answer was lost is found at the next check-in, and can be handed back.
    async fn an_unseen_claim_is_found_at_the_check_in(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let row = bench.fire_one(node).await;
        let owned = bench.check_in(node).await.owned;
        assert_eq!(
            owned.iter().map(|owned| (owned.id, owned.fence)).collect::<Vec<_>>(),
            [(row.id, row.fence)]
        );
        let plan = punctual_core::protocol::finish::hand_back(claim_of(&row), &row);
        assert_eq!(bench.settle(plan).await, punctual_core::store::SettleOutcome::Done);
        let again = bench.take_one(node).await;
        assert_eq!((again.id, again.attempt), (row.id, row.attempt));
        assert!(again.fence > row.fence);
    }

    /// Only the triggers whose rows went in move on.
    async fn a_busy_trigger_does_not_move_on(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.trigger_at("first", &job, bench.t0.minus(secs(1))).await;
        let second = bench.trigger("second", &job).await;
        let plans = bench.plans(&bench.due(node).await);
        let busy_plan = plans.iter().find(|plan| plan.trigger == second.id).expect("it is due").clone();
        let first_plan = plans.into_iter().find(|plan| plan.trigger != second.id).expect("it is due");
        bench.claim(node, [first_plan]).await;
        assert_eq!(bench.claim_one(node, busy_plan.clone()).await, ClaimOutcome::Busy);
        let stored = bench.reread(&second).await;
        assert_eq!((stored.next_fire, stored.last, stored.fires), (second.next_fire, None, 0));
        assert_eq!(stored.wake, busy_plan.busy.wake, "it is parked");
        assert_eq!((stored.rev, stored.fire_seq), (second.rev + 1, second.fire_seq + 1));
        assert_eq!(bench.rows().await.len(), 1);
    }

    /// A busy plan's skips enter the history.
    async fn a_busy_trigger_may_skip(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        let trigger = bench.trigger("t", &job).await;
        let mut plan = bench.plan(node).await;
        let (id, at) = (ExecutionId::draw(bench.t0, &bench.entropy), bench.t0);
        plan.busy = plan.then.clone();
        plan.busy.fires = 0;
        plan.busy.skips.push(Skip { id, first: at, last: at, count: Some(1), reason: SkipReason::Overlap });
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Busy);
        assert_eq!(bench.record(id).await.expect("a record").reason, Some(SkipReason::Overlap));
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.next_fire, stored.last), (Some(bench.t0.plus(MINUTE)), Some(bench.t0)));
    }
}
