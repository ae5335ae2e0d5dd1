//! What the planner makes of the hot statements on tables that are too large to go through.

use serde_json::Value;

use crate::database::Database;
use crate::support::{open, say, users};

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

/// Parts of statements that have one row, or none; a loop over them is none.
const ONE_ROW: &[&str] =
    &["clock", "now", "head", "gate", "up", "guard", "due", "shape", "edge", "lost", "twice", "floor", "own"];

/// The loops in which one part of a statement is gone through for each row of another: `outer, inner`.
fn loops_over_parts(node: &Value, found: &mut Vec<String>) {
    let children = node["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    if node["Node Type"] == "Nested Loop" {
        let side = |name: &str| children.iter().find(|child| child["Parent Relationship"] == name);
        if let (Some(outer), Some(inner)) = (side("Outer").and_then(part), side("Inner").and_then(part))
            && ![outer, inner].iter().any(|part| ONE_ROW.contains(part))
        {
            found.push(format!("{outer}, {inner}"));
        }
    }
    children.iter().for_each(|child| loops_over_parts(child, found));
}

/// The part that a side of a join goes through, wherever it is filtered, sorted or kept on the way; or the table of which
/// it reads the rows of a batch.
fn part(node: &Value) -> Option<&str> {
    let children = node["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let below = || children.iter().find(|child| child["Parent Relationship"] == "Outer");
    match node["Node Type"].as_str()? {
        "CTE Scan" => node["CTE Name"].as_str(),
        "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan" | "Tid Scan" => {
            let of_batch =
                ["Index Cond", "Recheck Cond", "TID Cond"].iter().filter_map(|at| node[at].as_str());
            node["Relation Name"].as_str().filter(|_| of_batch.into_iter().any(|cond| cond.contains("= ANY")))
        }
        "Materialize" | "Sort" | "Subquery Scan" | "Result" | "Memoize" => part(below()?),
        _ => None,
    }
}

/// Plans are made while the tables are empty, and are kept. If two parts with a row for each element of a batch were
/// joined row by row then, a batch of a thousand would be a million comparisons until somebody plans anew.
#[tokio::test]
async fn no_statement_goes_through_a_batch_for_each_of_its_elements() {
    let database = Database::fresh();
    let store = open(&database).await;
    for tables in ["as they were made", "analysed while they are empty"] {
        for (name, plan) in store.plans().await.unwrap() {
            let json: Value = serde_json::from_str(&plan).unwrap();
            let mut found = Vec::new();
            loops_over_parts(&json[0]["Plan"], &mut found);
            assert_eq!(found, [""; 0], "{name} with tables {tables}:\n{plan}");
        }
        say(&mut users(&database).await, "ANALYZE").await;
    }
}
