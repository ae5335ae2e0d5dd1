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
        ("SETTLE", "execution_parked"),
        ("SETTLE", "trigger_parked"),
        ("WAKE", "execution_parked"),
        ("WAKE", "trigger_parked"),
        ("WAKE_AGAIN", "trigger_parked"),
        ("WAKE_WAITING", "execution_parked"),
        ("PRUNE_HISTORY", "history_ended"),
        ("ORPHANS", "execution_owner"),
    ] {
        let (_, plan) = plans.iter().find(|(known, _)| *known == name).unwrap();
        assert!(
            plan.contains(&format!("\"Index Name\": \"{index}\"")),
            "{name} does not use {index}:\n{plan}"
        );
    }
    // An index that is entered without its first column is gone through from end to end, parked rows included.
    for (name, plan) in plans.iter().filter(|(name, _)| ["READ_DUE", "CLAIM_READY"].contains(name)) {
        let lines: Vec<&str> = plan.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let of_kinds = ["execution_ready", "trigger_due"]
                .iter()
                .any(|index| line.starts_with(&format!("\"Index Name\": \"{index}\"")));
            let entered = lines[at..].iter().find(|line| line.starts_with("\"Index Cond\""));
            assert!(
                !of_kinds || entered.is_some_and(|condition| condition.contains("kind = ")),
                "{name} goes through all of an index:\n{plan}"
            );
        }
    }
}
