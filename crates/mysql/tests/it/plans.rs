//! Which index serves each hot statement, on tables with many rows.

use diesel_async::SimpleAsyncConnection;
use punctual_core::JobStore;

use crate::support::*;

/// 20,000 rows of each kind, most of which a statement must not look at.
const FILL: [&str; 4] = [
    "CREATE TABLE digit (d BIGINT PRIMARY KEY); INSERT INTO digit VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    "INSERT INTO punctual_execution (id, kind, scheduled_us, priority, state, fence, attempt, losses, wake_us, slot_key,
       slot_limit, attempts, created_us, due_us)
     SELECT UNHEX(LPAD(HEX(a.d + 10 * b.d + 100 * c.d + 1000 * e.d), 32, '0')), 'test', 0, b.d, 1, 0, 1, 0, 1000 + c.d,
       CONCAT('key', c.d), 1, '[]', 0, 1000 FROM digit a, digit b, digit c, digit e",
    "INSERT INTO punctual_trigger (id, group_name, name, job_id, spec, priority, state, next_fire_us, wake_us, fires,
       fire_seq, generation, rev, slice, hash, created_us, kind, urgency)
     SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 100, 'many', CONCAT(a.d, b.d, c.d, e.d), 1, '{}', 0, 1, 0, c.d, 0,
       0, 1, 1, a.d, 0, 0, 'test', 0 FROM digit a, digit b, digit c, digit e",
    "ANALYZE TABLE punctual_execution; ANALYZE TABLE punctual_trigger",
];

#[tokio::test]
async fn hot_statements_use_the_index_made_for_them() {
    let database = Database::new("plans").await;
    let store = database.open().await;
    put(&store, &job(1, true), &[]).await;
    store.join(node(1)).await.unwrap();
    let mut connection = database.connection().await;
    for sql in FILL {
        connection.batch_execute(sql).await.unwrap();
    }
    let plans = store.plans().await.unwrap();
    for (name, index) in [
        ("READ_DUE", "trigger_due"),
        ("NEXT_WAKE_OF_TRIGGERS", "trigger_due"),
        ("NEXT_WAKE_OF_READY", "execution_ready"),
        ("LEVELS", "execution_ready"),
        ("READY", "execution_ready"),
        ("COMPARE_TRIGGER", "PRIMARY"),
        ("PATCH_TRIGGER", "PRIMARY"),
        ("KNOWS_EXECUTION", "PRIMARY"),
        ("KNOWS_OCCURRENCE", "execution_occurrence"),
        ("KNOWS_OCCURRENCE", "history_occurrence"),
        ("LOCK_READY", "PRIMARY"),
        ("CLAIM_READY", "PRIMARY"),
        ("LOCK_LIVE", "PRIMARY"),
        ("SETTLE_END", "PRIMARY"),
        ("HELD_SLOT", "slot_holder"),
        ("FREE_HELD_SLOT", "slot_holder"),
        ("LOCK_SLOTS", "PRIMARY"),
        ("PARKED_READY", "execution_parked"),
        ("PARKED_TRIGGERS", "trigger_parked"),
        ("WAITING_KEYS", "execution_parked"),
        ("SLOTS_HELD", "execution_parked"),
        ("GLANCE", "trigger_due"),
        ("CHECKED_IN", "execution_owner"),
        ("ORPHANS", "execution_owner"),
        ("GATE_OPEN", "PRIMARY"),
        ("OLD_HISTORY", "history_ended"),
    ] {
        let (_, plan) = plans.iter().find(|(known, _)| *known == name).unwrap();
        assert!(plan.contains(&format!("\"key\": \"{index}\"")), "{name} does not use {index}:\n{plan}");
        // The only lists that are read from end to end are those of the statement itself, and what they were cut to.
        let is_whole = |line: &&str| {
            line.contains("\"access_type\": \"ALL\"") || line.contains("\"access_type\": \"index\"")
        };
        let tables: Vec<&str> =
            plan.lines().filter(|line| line.contains("\"table_name\"") || is_whole(line)).collect();
        for pair in tables.windows(2) {
            if is_whole(&pair[1]) {
                let of = ["\"k\"", "\"v\"", "\"u\"", "\"r\"", "\"due\"", "<"]
                    .iter()
                    .any(|own| pair[0].contains(own));
                assert!(of, "{name} reads all of {}:\n{plan}", pair[0]);
            }
        }
    }
    database.drop().await;
}
