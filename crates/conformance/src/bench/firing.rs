//! The life of a firing: reading, planning, claiming, settling.

use std::time::Duration;

use punctual_core::execution::{Execution, ExecutionWithJob};
use punctual_core::key::Fence;
use punctual_core::protocol::fire;
use punctual_core::store::{
    Claim, ClaimOutcome, ClaimReady, Claimed, Due, FirePlan, ReadDue, SettleOutcome, SettlePlan,
};

use super::{Bench, Node, TheSlot, WORK, back, kind, readable, success};

impl Bench {
    /// Reads what is due.
    pub(crate) async fn due(&self, node: Node) -> Due {
        self.due_of(node, &[WORK], 100).await
    }

    /// Reads at most `limit` due triggers of some kinds.
    pub(crate) async fn due_of(&self, node: Node, kinds: &[&str], limit: u32) -> Due {
        let kinds = kinds.iter().map(|name| kind(name)).collect();
        self.store.read_due(ReadDue::of(node.id, kinds, limit)).await.expect("a read")
    }

    /// Plans for all that is due, as a node makes them.
    pub(crate) fn plans(&self, due: &Due) -> Vec<FirePlan> {
        let rows = due.triggers.iter().cloned().map(readable);
        rows.map(|row| fire::plan(&row, due.now, &self.entropy)).collect()
    }

    /// Plans for the one trigger that is due.
    pub(crate) async fn plan(&self, node: Node) -> FirePlan {
        let due = self.due(node).await;
        let mut plans = self.plans(&due);
        assert_eq!(plans.len(), 1, "one trigger is due");
        plans.remove(0)
    }

    /// Applies plans.
    pub(crate) async fn claim(
        &self,
        node: Node,
        plans: impl IntoIterator<Item = FirePlan> + Send,
    ) -> Claimed {
        let plans = plans.into_iter().collect();
        self.store
            .claim(Claim { node: node.id, gate: node.gate, within: None, plans })
            .await
            .expect("a write")
    }

    /// Applies one plan.
    pub(crate) async fn claim_one(&self, node: Node, plan: FirePlan) -> ClaimOutcome {
        let mut claimed = self.claim(node, [plan]).await;
        assert!(claimed.gate_open, "the gate is open");
        assert_eq!(claimed.outcomes.len(), 1);
        claimed.outcomes.remove(0)
    }

    /// Reads, plans and claims all that is due, and answers the rows.
    pub(crate) async fn fire(&self, node: Node) -> Vec<Execution> {
        let due = self.due(node).await;
        let plans = self.plans(&due);
        let ids: Vec<_> =
            plans.iter().flat_map(|plan| &plan.executions).map(|execution| execution.id).collect();
        assert!(self.claim(node, plans).await.gate_open, "the gate is open");
        let mut rows = Vec::new();
        for id in ids {
            rows.extend(self.live(id).await);
        }
        rows
    }

    /// Reads, plans and claims the one trigger that is due, which must fire.
    pub(crate) async fn fire_one(&self, node: Node) -> Execution {
        let mut rows = self.fire(node).await;
        assert_eq!(rows.len(), 1, "one trigger fires");
        rows.remove(0)
    }

    /// Claims ready rows.
    pub(crate) async fn take(&self, node: Node, limit: u32) -> Vec<ExecutionWithJob> {
        let request = ClaimReady::of(node.id, node.gate, [kind(WORK)].into(), limit);
        let claimed = self.store.claim_ready(request).await.expect("a write");
        assert!(claimed.gate_open, "the gate is open");
        claimed.work.into_iter().map(readable).collect()
    }

    /// Claims the one ready row.
    pub(crate) async fn take_one(&self, node: Node) -> Execution {
        let mut work = self.take(node, 10).await;
        assert_eq!(work.len(), 1, "one row is ready");
        work.remove(0).execution
    }

    /// Ends or puts back one execution.
    pub(crate) async fn settle(&self, plan: SettlePlan) -> SettleOutcome {
        let outcomes = self.store.settle(vec![plan]).await.expect("a write");
        assert_eq!(outcomes.len(), 1);
        outcomes[0]
    }

    /// Ends an execution with success.
    pub(crate) async fn finish(&self, row: &Execution) {
        assert_eq!(self.settle(success(row)).await, SettleOutcome::Done);
    }

    /// Puts an execution back, as a retry or a release does.
    pub(crate) async fn give_back(&self, row: &Execution, delay: Duration, slot: TheSlot) {
        assert_eq!(self.settle(back(row, delay, slot)).await, SettleOutcome::Done);
    }
}

/// The fences of a plan that fired.
pub(crate) fn fences(outcome: ClaimOutcome) -> Vec<Fence> {
    match outcome {
        ClaimOutcome::Fired(fences) => fences,
        other => panic!("it did not fire: {other:?}"),
    }
}
