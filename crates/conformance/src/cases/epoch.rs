//! The epoch of the store: raised after it lost commits, so that no token comes again.

use std::sync::Arc;

use punctual_core::key::Fence;
use punctual_core::node::NodeState;
use punctual_core::store::{Claim, Standing};
use punctual_core::{ErrorKind, JobStore};

use crate::bench::{Bench, Node};
use crate::case::cases;
use crate::meeting::{Pair, claim, clear, fired, job, plan, points, take};

async fn raise(store: &Arc<dyn JobStore>, to: u32) -> u32 {
    store.raise_epoch(to).await.expect("a write")
}

async fn epoch(bench: &Bench) -> u32 {
    bench.store.inspect().epoch().await.expect("a read")
}

/// Whether a node may claim, as its row shows it.
async fn is_up(bench: &Bench, node: Node) -> bool {
    bench.member(node).await.state == NodeState::Up
}

cases! {
    A "epoch";

    /// A new store is at epoch 0, and joining and checking in tell it.
    async fn a_new_store_is_at_zero(bench) {
        let info = bench.info("a");
        let node = Node { id: info.id, gate: 0 };
        assert_eq!(bench.store.join(info).await.expect("a write").epoch, 0);
        assert_eq!((bench.check_in(node).await.epoch, epoch(&bench).await), (0, 0));
    }

    /// A raised epoch is what listings, joinings and check-ins tell from then on.
    async fn a_raised_epoch_is_told(bench) {
        assert_eq!(raise(&bench.store, 7).await, 7);
        assert_eq!(epoch(&bench).await, 7);
        let info = bench.info("a");
        let node = Node { id: info.id, gate: 0 };
        assert_eq!(bench.store.join(info).await.expect("a write").epoch, 7);
        assert_eq!(bench.check_in(node).await.epoch, 7);
    }

    /// Raising the epoch to what it is, or to less, changes nothing and answers what it is.
    async fn an_epoch_never_falls(bench) {
        raise(&bench.store, 7).await;
        let node = bench.node("a").await;
        for to in [7, 6, 0] {
            assert_eq!(raise(&bench.store, to).await, 7);
        }
        assert_eq!(epoch(&bench).await, 7);
        assert!(is_up(&bench, node).await, "nobody was ended for nothing");
    }

    /// An epoch that tokens cannot carry is refused, and the last one that they can is not.
    async fn an_epoch_beyond_all_tokens_is_refused(bench) {
        let error = bench.store.raise_epoch(Fence::MAX_EPOCH + 1).await.expect_err("it is too large");
        assert_eq!((error.kind(), epoch(&bench).await), (ErrorKind::Invalid, 0));
        assert_eq!(raise(&bench.store, Fence::MAX_EPOCH).await, Fence::MAX_EPOCH);
        assert_eq!(epoch(&bench).await, Fence::MAX_EPOCH);
    }

    /// Raising the epoch marks all nodes dead that were up, and those that had ended stay as they were.
    async fn raising_it_ends_all_nodes(bench) {
        let nodes = [bench.node("a").await, bench.node("b").await];
        let left = bench.node("c").await;
        bench.store.leave(left.id).await.expect("a write");
        raise(&bench.store, 1).await;
        for node in nodes {
            assert_eq!(bench.check_in(node).await.standing, Standing::Gone);
            assert_eq!(bench.member(node).await.state, NodeState::Dead);
        }
        assert_eq!(bench.member(left).await.state, NodeState::Left);
        let listed = bench.check_in(bench.node("d").await).await.nodes;
        assert_eq!(listed.len(), 1, "whoever joins afterwards is alone");
    }

    /// What was planned before the epoch was raised is not claimed after it.
    async fn a_claim_of_the_old_epoch_is_refused(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plans = bench.plans(&bench.due(node).await);
        raise(&bench.store, 1).await;
        let request = Claim { node: node.id, gate: node.gate, within: None, plans };
        assert!(!bench.store.claim(request).await.expect("a write").gate_open);
        assert_eq!(bench.reread(&trigger).await.fires, 0);
        bench.enqueue(&job).await;
        assert_eq!(take(&bench.store, node, &job).await, 0);
    }

    /// The work of nodes that raising the epoch has ended is named to whoever joins, as that of any dead node.
    async fn the_work_of_the_old_epoch_is_orphaned(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        raise(&bench.store, 1).await;
        let next = bench.node("b").await;
        assert_eq!(bench.check_in(next).await.gone_owners, [node.id]);
        let orphans = bench.store.orphans(node.id, 10).await.expect("a read");
        assert_eq!(orphans.len(), 1);
        assert_eq!(bench.live(row.id).await.expect("it lives").owner, Some(node.id));
    }

    /// A token of a new epoch is larger than every one of an earlier epoch, though fences may be smaller.
    async fn a_token_of_a_new_epoch_is_larger_than_all_before(bench) {
        let (node, job) = (bench.node("a").await, bench.limited("j", "key", 1).await);
        for _ in 0..3 {
            bench.enqueue(&job).await;
            let row = bench.take_one(node).await;
            bench.finish(&row).await;
        }
        bench.enqueue(&job).await;
        let old = bench.take_one(node).await.fence.token(bench.check_in(node).await.epoch);
        raise(&bench.store, 1).await;
        let next = bench.node("b").await;
        let free = bench.job("free").await;
        bench.enqueue(&free).await;
        let row = bench.take_one(next).await;
        assert!(row.fence.token(bench.check_in(next).await.epoch) > old, "{:?} in a new epoch", row.fence);
    }

    /// A raise that has answered between any two statements of a claim has seen all of the old nodes' rows.
    [Statements]
    async fn a_raise_within_a_claim(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (node, job) = (bench.node("a").await, job(&bench, round, Some(1)).await);
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let other = Arc::clone(&pair.other);
            let raise = async move {
                assert_eq!(raise(&other, round + 1).await, round + 1);
                other.orphans(node.id, 10).await.expect("a read").len()
            };
            let (claimed, orphans, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), raise).await;
            assert_eq!(usize::from(fired(&claimed)), orphans, "{point:?}: no row comes after the raise");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// A raise that has answered between any two statements of a claim of ready work has seen all of the old nodes' rows.
    [Statements]
    async fn a_raise_within_a_claim_of_ready_work(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (node, job) = (bench.node("a").await, job(&bench, round, Some(1)).await);
            bench.enqueue(&job).await;
            let other = Arc::clone(&pair.other);
            let raise = async move {
                assert_eq!(raise(&other, round + 1).await, round + 1);
                other.orphans(node.id, 10).await.expect("a read").len()
            };
            let (taken, orphans, held) = pair.meet(&bench, point, take(&pair.held, node, &job), raise).await;
            assert_eq!(taken, orphans, "{point:?}: no row comes after the raise");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// Whoever joins while the epoch is raised, between any two of its statements, knows the new one or is not up.
    [Statements]
    async fn a_raise_within_a_joining(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let info = bench.info("a");
            let (node, store, other) =
                (Node { id: info.id, gate: 0 }, Arc::clone(&pair.held), Arc::clone(&pair.other));
            let joining = async move { store.join(info).await.expect("a write").epoch };
            let raise = async move { raise(&other, round + 1).await };
            let (told, raised, held) = pair.meet(&bench, point, joining, raise).await;
            assert!(told == raised || !is_up(&bench, node).await, "{point:?}: it was told {told} of {raised}");
            if !held {
                return;
            }
        }
    }

    /// Whoever joins between any two statements of a raise knows the new epoch or is not up.
    [Statements]
    async fn a_joining_within_a_raise(bench) {
        let pair = Pair::open(&bench).await;
        bench.node("old").await;
        for (round, point) in points() {
            let info = bench.info("a");
            let (node, store, other) =
                (Node { id: info.id, gate: 0 }, Arc::clone(&pair.held), Arc::clone(&pair.other));
            let raise = async move { raise(&store, round + 1).await };
            let joining = async move { other.join(info).await.expect("a write").epoch };
            let (raised, told, held) = pair.meet(&bench, point, raise, joining).await;
            assert!(told == raised || !is_up(&bench, node).await, "{point:?}: it was told {told} of {raised}");
            if !held {
                return;
            }
        }
    }
}
