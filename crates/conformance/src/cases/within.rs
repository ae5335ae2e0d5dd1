//! Claims within a lock: a claim with an overtaken fence is refused, whoever keeps the lock.

use punctual_core::key::Fence;
use punctual_core::store::{Claim, ClaimOutcome, ClaimReady, Within};

use crate::bench::{Bench, Node, WORK, kind};
use crate::case::cases;

fn within(lock: &str, fence: i64) -> Option<Within> {
    Some(Within { lock: lock.into(), fence: Fence::from_stored(fence) })
}

/// Claims all that is due; whether the store let it.
async fn claim(bench: &Bench, node: Node, lock: &str, fence: i64) -> (bool, Vec<ClaimOutcome>) {
    let plans = bench.plans(&bench.due(node).await);
    let request = Claim { node: node.id, gate: node.gate, within: within(lock, fence), plans };
    let claimed = bench.store.claim(request).await.expect("a write");
    (claimed.gate_open, claimed.outcomes)
}

async fn claim_ready(bench: &Bench, node: Node, lock: &str, fence: i64) -> (bool, usize) {
    let within = within(lock, fence);
    let request = ClaimReady { within, ..ClaimReady::of(node.id, node.gate, [kind(WORK)].into(), 10) };
    let claimed = bench.store.claim_ready(request).await.expect("a write");
    (claimed.gate_open, claimed.work.len())
}

cases! {
    A "within";

    /// A claim with the fence of its lock fires.
    [LockFences]
    async fn a_holder_claims(bench) {
        let job = bench.job("j").await;
        let node = bench.node("a").await;
        bench.trigger("t", &job).await;
        let (open, outcomes) = claim(&bench, node, "l", 7).await;
        assert!(open && matches!(outcomes[..], [ClaimOutcome::Fired(_)]), "{outcomes:?}");
    }

    /// A holder claims as often as it likes with the same fence.
    [LockFences]
    async fn a_holder_claims_again(bench) {
        let job = bench.job("j").await;
        let node = bench.node("a").await;
        for name in ["one", "two"] {
            bench.trigger(name, &job).await;
            let (open, outcomes) = claim(&bench, node, "l", 7).await;
            assert!(open && matches!(outcomes[..], [ClaimOutcome::Fired(_)]), "{outcomes:?}");
        }
    }

    /// After a claim with a larger fence one with a smaller fence is refused, and writes nothing.
    [LockFences]
    async fn an_overtaken_fence_is_refused(bench) {
        let job = bench.job("j").await;
        let (late, next) = (bench.node("late").await, bench.node("next").await);
        assert!(claim(&bench, next, "l", 8).await.0);
        let trigger = bench.trigger("t", &job).await;
        let (open, outcomes) = claim(&bench, late, "l", 7).await;
        assert_eq!((open, outcomes), (false, vec![ClaimOutcome::Lost]));
        assert_eq!(bench.reread(&trigger).await, trigger);
        assert!(claim(&bench, next, "l", 8).await.0, "the holder goes on");
    }

    /// A claim of ready work with a smaller fence than one of triggers is refused, and the other way round.
    [LockFences]
    async fn both_claims_share_the_fence(bench) {
        let job = bench.job("j").await;
        let node = bench.node("a").await;
        bench.enqueue(&job).await;
        assert!(claim(&bench, node, "l", 8).await.0);
        assert_eq!(claim_ready(&bench, node, "l", 7).await, (false, 0));
        assert_eq!(claim_ready(&bench, node, "l", 9).await, (true, 1));
        assert!(!claim(&bench, node, "l", 8).await.0);
    }

    /// Fences of other locks have no say.
    [LockFences]
    async fn other_locks_have_no_say(bench) {
        let node = bench.node("a").await;
        assert!(claim(&bench, node, "l", 8).await.0);
        assert!(claim(&bench, node, "L", 1).await.0);
    }

    /// A claim without a lock is not held to one.
    async fn a_claim_without_a_lock_is_free(bench) {
        let job = bench.job("j").await;
        let node = bench.node("a").await;
        bench.trigger("t", &job).await;
        assert_eq!(bench.fire(node).await.len(), 1);
    }

    /// A claim that the gate refuses does not raise the fence.
    [LockFences]
    async fn a_closed_gate_raises_nothing(bench) {
        let node = bench.node("a").await;
        let stale = Node { gate: node.gate - 1, ..node };
        assert!(!claim(&bench, stale, "l", 9).await.0);
        assert!(claim(&bench, node, "l", 1).await.0);
    }
}
