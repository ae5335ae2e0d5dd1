//! Nodes: joining, beating, being declared dead, leaving, and standing by.

use punctual_core::key::NodeId;
use punctual_core::node::{NodeRecord, NodeState};
use punctual_core::store::{CheckedIn, Standby, Standing};

use crate::bench::{Bench, Node, ms, secs};
use crate::case::cases;

fn ids(nodes: &[NodeRecord]) -> Vec<NodeId> {
    let mut ids: Vec<_> = nodes.iter().map(|node| node.info.id).collect();
    ids.sort_unstable();
    ids
}

fn sorted<const N: usize>(nodes: [Node; N]) -> Vec<NodeId> {
    let mut ids: Vec<_> = nodes.iter().map(|node| node.id).collect();
    ids.sort_unstable();
    ids
}

async fn take_over(bench: &Bench, node: Node, beat: i64) -> bool {
    bench.store.take_over(node.id, beat).await.expect("a write")
}

async fn standby(bench: &Bench, node: Node, standby: Standby) -> Option<i64> {
    bench.store.set_standby(node.id, standby).await.expect("a write")
}

cases! {
    A "membership";

    /// A node that joins is up, at gate 0 and beat 1, and is told what a check-in tells.
    async fn joining_makes_a_member(bench) {
        let info = bench.info("a");
        let joined = bench.store.join(info.clone()).await.expect("a write");
        assert_eq!((joined.standing, joined.beat, joined.gate), (Standing::Up, 1, 0));
        assert_eq!((joined.standby, joined.owned.len(), joined.gone_owners.len()), (Standby::Off, 0, 0));
        assert_eq!(ids(&joined.nodes), [info.id]);
        let record = &joined.nodes[0];
        assert_eq!((&record.info, record.state, record.standby), (&info, NodeState::Up, false));
        assert_eq!((record.gate, record.beat), (0, 1));
        assert!(record.joined >= bench.t0);
    }

    /// Joining again with the same id changes nothing.
    async fn joining_twice_changes_nothing(bench) {
        let info = bench.info("a");
        bench.store.join(info.clone()).await.expect("a write");
        let node = Node { id: info.id, gate: 0 };
        bench.check_in(node).await;
        let before = bench.member(node).await;
        let again = bench.store.join(info).await.expect("a write");
        assert_eq!((again.beat, again.standing), (2, Standing::Up));
        assert_eq!(bench.member(node).await, before);
    }

    /// A node that was declared dead stays dead, though it joins again.
    async fn a_dead_node_cannot_join_again(bench) {
        let info = bench.info("a");
        bench.store.join(info.clone()).await.expect("a write");
        let node = Node { id: info.id, gate: 0 };
        bench.bury(node).await;
        assert_eq!(bench.store.join(info).await.expect("a write").standing, Standing::Gone);
        assert_eq!(bench.member(node).await.state, NodeState::Dead);
    }

    /// Each check-in raises the beat by one.
    async fn a_check_in_raises_the_beat(bench) {
        let node = bench.node("a").await;
        for beat in 2..5 {
            assert_eq!(bench.check_in(node).await.beat, beat);
            assert_eq!(bench.member(node).await.beat, beat);
        }
    }

    /// A check-in of one node does not raise the beat of another.
    async fn a_check_in_raises_its_own_beat_only(bench) {
        let (one, other) = (bench.node("a").await, bench.node("b").await);
        bench.check_in(one).await;
        assert_eq!(bench.member(other).await.beat, 1);
    }

    /// A check-in tells the store's time, and notes it.
    [Clock]
    async fn a_check_in_tells_the_time(bench) {
        let node = bench.node("a").await;
        bench.advance(secs(4));
        let answer = bench.check_in(node).await;
        assert_eq!(answer.now, bench.t0.plus(secs(4)));
        let record = bench.member(node).await;
        assert_eq!((record.joined, record.seen), (bench.t0, Some(answer.now)));
    }

    /// A check-in lists every node that is up, with its beat and figures, and no other.
    async fn a_check_in_lists_who_is_up(bench) {
        let (one, other, dead, left) =
            (bench.node("a").await, bench.node("b").await, bench.node("c").await, bench.node("d").await);
        bench.bury(dead).await;
        bench.store.leave(left.id).await.expect("a write");
        bench.check_in(other).await;
        let nodes = bench.check_in(one).await.nodes;
        assert_eq!(ids(&nodes), sorted([one, other]));
        for node in [one, other] {
            let listed = nodes.iter().find(|record| record.info.id == node.id).expect("it is up");
            assert_eq!((listed.beat, listed.info.profile), (2, punctual_core::Profile::FAST));
        }
    }

    /// A check-in lists the live rows that name the node, with fence and attempt.
    async fn a_check_in_lists_owned_rows(bench) {
        let (one, other) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(one).await;
        bench.enqueue(&job).await;
        let owned = bench.check_in(one).await.owned;
        assert_eq!(owned.len(), 1);
        assert_eq!((owned[0].id, owned[0].fence, owned[0].attempt), (row.id, row.fence, row.attempt));
        assert_eq!(owned[0].cancel, None);
        assert!(bench.check_in(other).await.owned.is_empty());
    }

    /// A check-in tells an owner which of its rows are to stop, and why.
    async fn a_check_in_tells_what_is_to_stop(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.store.cancel(vec![row.id], "enough".to_owned()).await.expect("a write");
        assert_eq!(bench.check_in(node).await.owned[0].cancel.as_deref(), Some("enough"));
    }

    /// A check-in names owners of live rows that are not up.
    async fn a_check_in_names_owners_that_are_gone(bench) {
        let (dead, left, node) = (bench.node("a").await, bench.node("b").await, bench.node("c").await);
        let job = bench.job("j").await;
        for owner in [dead, left, node] {
            bench.enqueue(&job).await;
            bench.take_one(owner).await;
        }
        assert!(bench.check_in(node).await.gone_owners.is_empty());
        bench.bury(dead).await;
        bench.store.leave(left.id).await.expect("a write");
        let mut gone = bench.check_in(node).await.gone_owners;
        gone.sort_unstable();
        assert_eq!(gone, sorted([dead, left]));
    }

    /// Dead nodes that own nothing are not named.
    async fn owners_of_nothing_are_not_named(bench) {
        let (dead, node) = (bench.node("a").await, bench.node("b").await);
        bench.bury(dead).await;
        assert!(bench.check_in(node).await.gone_owners.is_empty());
    }

    /// A node that nobody knows is gone, and its check-in adds nothing.
    async fn an_unknown_node_is_gone(bench) {
        let stranger = Node { id: bench.info("stranger").id, gate: 0 };
        assert_eq!(bench.check_in(stranger).await.standing, Standing::Gone);
        assert!(bench.store.inspect().nodes().await.expect("a read").is_empty());
    }

    /// A check-in answers the node's own beat, which grows by one.
    async fn a_check_in_answers_its_own_beat(bench) {
        let (often, seldom) = (bench.node("a").await, bench.node("b").await);
        let (mut of_often, of_seldom) = (bench.member(often).await.beat, bench.member(seldom).await.beat);
        for _ in 0..3 {
            of_often += 1;
            assert_eq!(bench.check_in(often).await.beat, of_often);
        }
        assert_eq!(bench.check_in(seldom).await.beat, of_seldom + 1);
        assert_eq!(bench.check_in(often).await.beat, of_often + 1);
    }

    /// Taking over a node at its present beat makes it dead and ends its beat.
    async fn a_take_over_makes_a_node_dead(bench) {
        let node = bench.node("a").await;
        let beat = bench.check_in(node).await.beat;
        assert!(take_over(&bench, node, beat).await);
        let record = bench.member(node).await;
        assert_eq!((record.state, record.beat), (NodeState::Dead, 0));
    }

    /// A node that has beaten since is not taken over.
    async fn a_take_over_compares_the_beat(bench) {
        let node = bench.node("a").await;
        let beat = bench.check_in(node).await.beat;
        bench.check_in(node).await;
        for stale in [beat, beat - 1, beat + 2] {
            assert!(!take_over(&bench, node, stale).await);
        }
        assert_eq!(bench.check_in(node).await.standing, Standing::Up);
    }

    /// Taking over a dead node again says that it is dead, whatever the beat.
    async fn a_take_over_may_be_repeated(bench) {
        let node = bench.node("a").await;
        bench.bury(node).await;
        assert!(take_over(&bench, node, 1).await && take_over(&bench, node, 99).await);
    }

    /// Taking over a node that has left says that it is gone, and leaves it as it is.
    async fn a_node_that_left_needs_no_take_over(bench) {
        let node = bench.node("a").await;
        bench.store.leave(node.id).await.expect("a write");
        for beat in [0, 1] {
            assert!(take_over(&bench, node, beat).await);
            assert_eq!(bench.member(node).await.state, NodeState::Left);
        }
    }

    /// A dead node's check-in tells it that it is gone, and changes nothing.
    async fn a_dead_node_is_told_so(bench) {
        let node = bench.node("a").await;
        bench.bury(node).await;
        let before = bench.member(node).await;
        let CheckedIn { standing, nodes, .. } = bench.check_in(node).await;
        assert_eq!((standing, nodes.len()), (Standing::Gone, 0));
        assert_eq!(bench.member(node).await, before);
    }

    /// A node that leaves is no member any more, and its rows still name it.
    async fn leaving_ends_the_membership(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.store.leave(node.id).await.expect("a write");
        assert_eq!(bench.check_in(node).await.standing, Standing::Gone);
        let record = bench.member(node).await;
        assert_eq!((record.state, record.beat), (NodeState::Left, 0));
        assert_eq!(bench.row(row.id).await, row);
    }

    /// Leaving twice, or when declared dead, changes nothing.
    async fn leaving_is_for_members(bench) {
        let (left, dead) = (bench.node("a").await, bench.node("b").await);
        bench.bury(dead).await;
        for node in [left, left, dead] {
            bench.store.leave(node.id).await.expect("a write");
        }
        assert_eq!(bench.member(left).await.state, NodeState::Left);
        assert_eq!(bench.member(dead).await.state, NodeState::Dead);
    }

    /// Each change of standby raises the gate by one and answers it.
    async fn standby_raises_the_gate(bench) {
        let node = bench.node("a").await;
        for (gate, way) in [(1, Standby::On), (2, Standby::Off), (3, Standby::Off)] {
            assert_eq!(standby(&bench, node, way).await, Some(gate));
            let answer = bench.check_in(node).await;
            assert_eq!((answer.gate, answer.standby), (gate, way));
            let record = bench.member(node).await;
            assert_eq!((record.gate, record.standby), (gate, way == Standby::On));
        }
    }

    /// A node that is not up cannot be put in standby.
    async fn standby_is_for_members(bench) {
        let node = bench.node("a").await;
        bench.bury(node).await;
        assert_eq!(standby(&bench, node, Standby::On).await, None);
        let stranger = Node { id: bench.info("stranger").id, gate: 0 };
        assert_eq!(standby(&bench, stranger, Standby::On).await, None);
    }

    /// No claim that was planned before a standby commits after it, not even once the standby is over.
    async fn standby_is_a_point_in_time(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        standby(&bench, node, Standby::On).await;
        let gate = standby(&bench, node, Standby::Off).await.expect("it is up");
        assert!(!bench.claim(node, [plan.clone()]).await.gate_open);
        assert!(bench.claim(Node { gate, ..node }, [plan]).await.gate_open);
    }

    /// The standby of one node is not another's.
    async fn standby_is_one_nodes(bench) {
        let (one, other) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        standby(&bench, one, Standby::On).await;
        bench.take_one(other).await;
    }

    /// The store's time passes as its clock does.
    [Clock]
    async fn the_time_is_the_clocks(bench) {
        bench.advance(ms(1234));
        assert_eq!(bench.now().await, bench.t0.plus(ms(1234)));
        assert_eq!(bench.other().await.now().await.expect("a clock"), bench.t0.plus(ms(1234)));
    }
}
