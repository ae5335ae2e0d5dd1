//! What the planner makes of the hot statements on tables that are too large to go through.

use crate::database::Database;
use crate::support::open;

#[tokio::test]
async fn the_hot_statements_use_the_indexes_made_for_them() {
    let database = Database::fresh();
    let store = open(&database).await;
    let plans = store.plans().await.unwrap();
    for (name, plan) in &plans {
        // Parts of the statement itself are gone through, and have no relation.
        let lines: Vec<&str> = plan.lines().map(str::trim).collect();
        let through = lines.windows(5).find(|lines| {
            lines[0] == "\"Node Type\": \"Seq Scan\","
                && lines.iter().any(|line| line.starts_with("\"Relation Name\""))
        });
        assert_eq!(through, None, "{name} goes through all of a table:\n{plan}");
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
