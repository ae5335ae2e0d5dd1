//! `read_due`: what is due, in which order, and what is not in the way.

use std::time::Duration;

use punctual_core::job::JobRecord;
use punctual_core::store::{Claim, ClaimOutcome, Due, ReadDue, Readable, SLICE_GRACE, Slice};
use punctual_core::trigger::{TriggerRecord, TriggerState};
use punctual_core::{Timestamp, TriggerKey};

use crate::bench::{
    Bench, MINUTE, Node, WORK, kind, ms, readable, replace_job, replace_trigger, secs, trigger_key,
};
use crate::case::cases;

async fn keys(bench: &Bench, node: Node, limit: u32) -> Vec<TriggerKey> {
    let due = bench.due_of(node, &[WORK], limit).await;
    due.triggers.into_iter().map(|row| readable(row).trigger.key).collect()
}

async fn in_slice(bench: &Bench, node: Node, from: i64, to: i64) -> usize {
    let slice = Some(Slice { from, to, grace: SLICE_GRACE });
    let request = ReadDue { slice, ..ReadDue::of(node.id, [kind(WORK)].into(), 10) };
    bench.store.read_due(request).await.expect("a read").triggers.len()
}

fn parked(trigger: &TriggerRecord, until: Timestamp) -> TriggerRecord {
    TriggerRecord { wake: Some(until), ..trigger.clone() }
}

cases! {
    A "due";

    /// Due triggers come in the order of their wake times.
    async fn comes_in_the_order_of_wake_times(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for (name, age) in [("b", 2), ("c", 1), ("a", 3)] {
            bench.trigger_at(name, &job, bench.t0.minus(secs(age))).await;
        }
        assert_eq!(keys(&bench, node, 10).await, ["a", "b", "c"].map(trigger_key));
    }

    /// Of triggers with one wake time, the higher sum of job and trigger priority comes first, then the smaller id.
    async fn breaks_ties_by_priority_and_id(bench) {
        let node = bench.node("a").await;
        let low = bench.job_with("low", |job| job.priority = -1).await;
        let high = bench.job_with("high", |job| job.priority = 5).await;
        let mut same = [bench.trigger("x", &low).await, bench.trigger("y", &low).await];
        same.sort_by_key(|trigger| trigger.id);
        bench.trigger_with("second", &low, |trigger| trigger.priority = 3).await;
        bench.trigger("first", &high).await;
        let [x, y] = same.map(|trigger| trigger.key);
        assert_eq!(keys(&bench, node, 10).await, [trigger_key("first"), trigger_key("second"), x, y]);
    }

    /// A job's new priority counts for its triggers at once, and for no others.
    async fn follows_the_priority_of_the_job(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.job("one").await, bench.job("other").await);
        let first = bench.trigger("x", &one).await;
        let second = bench.trigger("y", &other).await;
        for (job, expected) in [(one, [&first, &second]), (other, [&second, &first])] {
            let rev = job.rev;
            bench.write([replace_job(JobRecord { priority: 5, ..job.clone() })]).await;
            assert_eq!(keys(&bench, node, 10).await, expected.map(|trigger| trigger.key.clone()));
            bench.write([replace_job(JobRecord { rev: rev + 1, ..job })]).await;
        }
    }

    /// A job's new kind counts for its triggers at once, and for no others.
    async fn follows_the_kind_of_the_job(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.job("one").await, bench.job("other").await);
        let moved = bench.trigger("x", &one).await;
        let stays = bench.trigger("y", &other).await;
        bench.write([replace_job(JobRecord { kind: kind("else"), ..one })]).await;
        assert_eq!(keys(&bench, node, 10).await, [stays.key]);
        let due = bench.due_of(node, &["else"], 10).await;
        let keys: Vec<TriggerKey> = due.triggers.into_iter().map(|row| readable(row).trigger.key).collect();
        assert_eq!(keys, [moved.key]);
    }

    /// At most as many come as were asked for, and these are the first.
    async fn keeps_to_the_limit(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for (name, age) in [("b", 2), ("c", 1), ("a", 3)] {
            bench.trigger_at(name, &job, bench.t0.minus(secs(age))).await;
        }
        assert_eq!(keys(&bench, node, 2).await, ["a", "b"].map(trigger_key));
        assert_eq!(keys(&bench, node, 0).await, []);
    }

    /// Only triggers of the asked kinds come; the others are not in their way.
    async fn leaves_out_unknown_kinds(bench) {
        let node = bench.node("a").await;
        let unknown = bench.job_with("unknown", |job| job.kind = kind("unknown")).await;
        let known = bench.job("known").await;
        bench.trigger_at("early", &unknown, bench.t0.minus(secs(9))).await;
        bench.trigger("late", &known).await;
        assert_eq!(keys(&bench, node, 1).await, [trigger_key("late")]);
        assert!(bench.due_of(node, &[], 10).await.triggers.is_empty());
        assert_eq!(bench.due_of(node, &[WORK, "unknown"], 10).await.triggers.len(), 2);
    }

    /// A trigger is due at its wake time, and not before.
    [Clock]
    async fn is_never_early(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger_at("t", &job, bench.t0.plus(secs(2))).await;
        bench.advance(ms(1_999));
        assert!(bench.due(node).await.triggers.is_empty());
        bench.advance(ms(1));
        assert_eq!(bench.due(node).await.triggers.len(), 1);
    }

    /// However late a trigger is, it is due.
    async fn is_never_too_late(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger_at("t", &job, Timestamp::EPOCH).await;
        assert_eq!(bench.due(node).await.triggers.len(), 1);
    }

    /// Only active triggers are due.
    async fn leaves_out_what_is_not_active(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for (name, state) in [("complete", TriggerState::Complete), ("error", TriggerState::Error)] {
            bench.trigger_with(name, &job, |trigger| trigger.state = state).await;
        }
        assert!(bench.due(node).await.triggers.is_empty());
    }

    /// A parked trigger is not read before its wake time, though its instant has come.
    [Clock]
    async fn leaves_out_what_is_parked(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([replace_trigger(parked(&trigger, bench.t0.plus(secs(5))))]).await;
        assert!(bench.due(node).await.triggers.is_empty());
        bench.advance(secs(5));
        assert_eq!(bench.due(node).await.triggers.len(), 1);
    }

    /// A slice holds only triggers with a slice number in it.
    async fn keeps_to_the_slice(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let soon = bench.now().await;
        bench
            .trigger_with("t", &job, |trigger| {
                trigger.slice = 100;
                (trigger.next_fire, trigger.wake) = (Some(soon), Some(soon));
            })
            .await;
        // On a store with a clock of its own the grace may run out before the first read has come back.
        let young = bench.now().await.since(soon) < ms(100);
        for (from, to, inside) in [(0, 100, 0), (101, 32_768, 0), (0, 101, 1), (100, 101, 1)] {
            let read = in_slice(&bench, node, from, to).await;
            assert!(read == inside || !young, "{from}..{to}");
        }
    }

    /// What is late by more than the grace belongs to every slice.
    [Clock]
    async fn what_is_late_belongs_to_every_slice(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger_with("t", &job, |trigger| trigger.slice = 100).await;
        bench.advance(SLICE_GRACE);
        assert_eq!(in_slice(&bench, node, 0, 100).await, 0, "not more than the grace");
        bench.advance(ms(1));
        assert_eq!(in_slice(&bench, node, 0, 100).await, 1);
        let slice = Some(Slice { from: 0, to: 100, grace: secs(1_000_000_000) });
        bench.advance(MINUTE);
        let request = ReadDue { slice, ..ReadDue::of(node.id, [kind(WORK)].into(), 10) };
        let read = bench.store.read_due(request).await.expect("a read");
        assert_eq!(read.triggers, [], "whoever asks for its own slice alone gets no other");
    }

    /// Whoever looks ahead is told of what will be due until then, behind what is due, and of the next wake time after it.
    [Clock]
    async fn looks_ahead(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for (name, at) in [("soon", 10), ("later", 11), ("now", 0), ("sooner", 3)] {
            bench.trigger_at(name, &job, bench.t0.plus(ms(at))).await;
        }
        bench.enqueue_with(&job, |work| work.scheduled = bench.t0.plus(ms(5))).await;
        let look = async |ahead, limit| {
            let request = ReadDue { ahead, ..ReadDue::of(node.id, [kind(WORK)].into(), limit) };
            let due = bench.store.read_due(request).await.expect("a read");
            let triggers: Vec<_> = due.triggers.into_iter().map(|row| readable(row).trigger).collect();
            (triggers, due.next_wake, due.ready)
        };
        let named = |triggers: &[TriggerRecord]| triggers.iter().map(|t| t.key.clone()).collect::<Vec<_>>();
        let (now, next_wake, ready) = look(Duration::ZERO, 10).await;
        assert_eq!(named(&now), [trigger_key("now")]);
        assert_eq!((next_wake, ready), (Some(bench.t0.plus(ms(3))), false));
        let (soon, next_wake, ready) = look(ms(10), 10).await;
        assert_eq!(named(&soon), ["now", "sooner", "soon"].map(trigger_key));
        assert_eq!((next_wake, ready), (Some(bench.t0.plus(ms(5))), false), "a ready row is not answered ahead");
        let (first, ..) = look(ms(10), 2).await;
        assert_eq!(named(&first), ["now", "sooner"].map(trigger_key));
        let (all, next_wake, _) = look(Duration::MAX, 10).await;
        assert_eq!((all.len(), next_wake), (4, Some(bench.t0.plus(ms(5)))));
    }

    /// A claim that comes before its time by the store's clock is lost, and changes nothing.
    [Clock]
    async fn what_was_read_ahead_is_not_claimed_early(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger_at("t", &job, bench.t0.plus(ms(10))).await;
        let request = ReadDue { ahead: ms(10), ..ReadDue::of(node.id, [kind(WORK)].into(), 10) };
        let due = bench.store.read_due(request).await.expect("a read");
        let plans = bench.plans(&Due { now: bench.t0.plus(ms(10)), ..due.clone() });
        let claim = || Claim { node: node.id, gate: due.gate, within: None, plans: plans.clone() };
        bench.advance(ms(9));
        let early = bench.store.claim(claim()).await.expect("a claim");
        assert_eq!((early.gate_open, early.outcomes), (true, vec![ClaimOutcome::Lost]));
        bench.advance(ms(1));
        let in_time = bench.store.claim(claim()).await.expect("a claim");
        assert!(matches!(in_time.outcomes[..], [ClaimOutcome::Fired(_)]), "{:?}", in_time.outcomes);
    }

    /// What was read ahead is claimed when its time has come, and is lost if it was changed meanwhile.
    [Clock]
    async fn what_was_read_ahead_is_claimed_in_time(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let kept = bench.trigger_at("kept", &job, bench.t0.plus(ms(10))).await;
        let changed = bench.trigger_at("changed", &job, bench.t0.plus(ms(10))).await;
        let request = ReadDue { ahead: ms(10), ..ReadDue::of(node.id, [kind(WORK)].into(), 10) };
        let mut due = bench.store.read_due(request).await.expect("a read");
        bench.write([replace_trigger(TriggerRecord { priority: 1, ..changed })]).await;
        bench.advance(ms(10));
        due.now = bench.now().await;
        let plans = bench.plans(&due);
        let (gate, node) = (due.gate, node.id);
        let claimed = bench.store.claim(Claim { node, gate, within: None, plans: plans.clone() }).await;
        let outcomes = claimed.expect("a claim").outcomes;
        for (plan, outcome) in plans.iter().zip(&outcomes) {
            let expected = plan.trigger == kept.id;
            assert_eq!(matches!(outcome, ClaimOutcome::Fired(_)), expected, "{outcome:?}");
        }
        assert_eq!(outcomes.len(), 2);
    }

    /// The answer names the earliest wake time after now of an active trigger.
    async fn names_the_next_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        assert_eq!(bench.due(node).await.next_wake, None);
        bench.trigger("due", &job).await;
        bench.trigger_at("later", &job, bench.t0.plus(MINUTE * 9)).await;
        bench.trigger_at("next", &job, bench.t0.plus(MINUTE * 5)).await;
        bench
            .trigger_with("complete", &job, |trigger| {
                trigger.state = TriggerState::Complete;
                trigger.wake = Some(bench.t0.plus(MINUTE));
            })
            .await;
        assert_eq!(bench.due(node).await.next_wake, Some(bench.t0.plus(MINUTE * 5)));
    }

    /// The answer names the earliest wake time after now of a ready row.
    async fn names_the_next_ready_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger_at("t", &job, bench.t0.plus(MINUTE * 9)).await;
        bench.enqueue(&job).await;
        let next = bench.t0.plus(MINUTE * 5);
        bench.enqueue_with(&job, |work| work.scheduled = next).await;
        assert_eq!(bench.due(node).await.next_wake, Some(next));
    }

    /// The next wake time does not speak of kinds that were not asked for.
    async fn names_nothing_of_unknown_kinds(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.kind = kind("unknown")).await;
        let next = bench.t0.plus(MINUTE);
        bench.trigger_at("t", &job, next).await;
        bench.enqueue_with(&job, |work| work.scheduled = next).await;
        assert_eq!(bench.due(node).await.next_wake, None);
        let later = bench.t0.plus(MINUTE * 5);
        bench.enqueue_with(&bench.job("known").await, |work| work.scheduled = later).await;
        bench.enqueue(&job).await;
        let due = bench.due(node).await;
        assert_eq!((due.next_wake, due.ready), (Some(later), false));
        bench.trigger("due", &bench.job("known too").await).await;
        let due = bench.due(node).await;
        assert_eq!((due.triggers.len(), due.next_wake), (1, Some(later)), "nor when there is something to do");
    }

    /// Work that runs is not named, though the clock was set back behind the time at which it was due.
    [Clock]
    async fn names_no_work_that_runs(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let (soon, later) = (bench.t0.plus(MINUTE), bench.t0.plus(MINUTE * 9));
        bench.enqueue_with(&job, |work| work.scheduled = soon).await;
        bench.enqueue_with(&job, |work| work.scheduled = later).await;
        bench.advance(MINUTE);
        bench.take_one(node).await;
        bench.set_clock(bench.t0);
        assert_eq!(bench.due(node).await.next_wake, Some(later));
    }

    /// The next wake time counts parked triggers.
    async fn names_the_end_of_a_parking(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let until = bench.t0.plus(MINUTE);
        bench.write([replace_trigger(parked(&trigger, until))]).await;
        assert_eq!(bench.due(node).await.next_wake, Some(until));
    }

    /// The answer says whether a ready row of the kinds is due.
    async fn says_whether_work_is_ready(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        assert!(!bench.due(node).await.ready);
        let later = bench.t0.plus(MINUTE);
        bench.enqueue_with(&job, |work| work.scheduled = later).await;
        bench.enqueue_with(&job, |work| work.kind = kind("unknown")).await;
        assert!(!bench.due(node).await.ready);
        bench.enqueue(&job).await;
        assert!(bench.due(node).await.ready);
        bench.take(node, 10).await;
        assert!(!bench.due(node).await.ready);
    }

    /// The answer has the gate of the node that asked.
    async fn has_the_gate_of_the_node(bench) {
        let (node, other) = (bench.node("a").await, bench.node("b").await);
        bench.store.set_standby(node.id, punctual_core::store::Standby::Off).await.expect("a write");
        assert_eq!((bench.due(node).await.gate, bench.due(other).await.gate), (node.gate + 1, other.gate));
    }

    /// Each due trigger comes with its job, and both are as they are stored.
    async fn comes_with_the_job(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.priority = 4).await;
        let trigger = bench.trigger("t", &job).await;
        let due = bench.due(node).await;
        assert!(due.now >= bench.t0);
        let expected = punctual_core::store::DueTrigger { trigger, job, calendar: None };
        assert_eq!(due.triggers, [Readable::Row(expected)]);
    }

    /// Reading changes nothing.
    async fn writes_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.due(node).await;
        bench.due(node).await;
        assert_eq!(bench.reread(&trigger).await, trigger);
        assert!(bench.rows().await.is_empty());
    }
}
