//! What the planner makes of the hot statements on tables that are too large to go through.

use crate::database::Database;
use crate::support::open;

#[tokio::test]
async fn the_hot_statements_use_the_indexes_made_for_them() {
    let database = Database::fresh();
    let store = open(&database).await;
    let plans = store.plans().await.unwrap();
    let tables = ["node", "beat", "job", "trigger", "execution", "slot", "history", "meta"];
    for (name, plan) in &plans {
        for table in tables {
            let scan = format!("\"Node Type\": \"Seq Scan\",\n");
            let through = plan.split(&scan).skip(1).any(|rest| {
                let node: String = rest.lines().take(6).collect();
                node.contains(&format!("\"Relation Name\": \"{table}\""))
            });
            assert!(!through, "{name} goes through all of {table}:\n{plan}");
        }
    }
    for (name, index) in [
        ("READ_DUE", "trigger_due"),
        ("READ_DUE", "execution_ready"),
        ("CLAIM", "trigger_pkey"),
        ("CLAIM", "history_occurrence"),
        ("CLAIM_READY", "execution_ready"),
        ("CLAIM_READY", "slot_pkey"),
        ("CLAIM_READY_CAS", "execution_pkey"),
        ("SETTLE", "execution_pkey"),
        ("SETTLE", "slot_holder"),
        ("BEGIN", "execution_pkey"),
        ("CHECK_IN", "execution_owner"),
        ("ENQUEUE", "execution_parked"),
        ("WAKE_READY", "execution_parked"),
        ("WAKE_TRIGGER", "trigger_parked"),
        ("WAITING_KEYS", "execution_parked"),
        ("PRUNE_HISTORY", "history_ended"),
        ("ORPHANS", "execution_owner"),
    ] {
        let (_, plan) = plans.iter().find(|(known, _)| *known == name).unwrap();
        assert!(
            plan.contains(&format!("\"Index Name\": \"{index}\"")),
            "{name} does not use {index}:\n{plan}"
        );
    }
}
