//! How the server would run the hot statements, for tests that look which indexes serve them.

use punctual_core::Result;

use super::{MysqlStore, Outcome};
use crate::query::{Sql, Value, values};
use crate::rows::Columns;
use crate::sql;
use crate::step::Step;

/// Statements by their names, with values of the right types.
fn hot() -> Vec<(&'static str, String, Vec<Value>)> {
    let ids = || values!["[\"00000000000000000000000000000001\"]"];
    let numbers = || values!["[1]"];
    let one = |text| sql::each(text, 1);
    let with = |mut list: Vec<Value>, more: Vec<Value>| {
        list.extend(more);
        list
    };
    vec![
        ("READ_DUE", one(sql::READ_DUE), values!["k", 1_i64, 1_i64, 0_i64, 9_i64, 10_i64, 10_i64]),
        ("NEXT_WAKE_OF_TRIGGERS", one(sql::NEXT_WAKE_OF_TRIGGERS), values!["k", 1_i64]),
        ("NEXT_WAKE_OF_READY", one(sql::NEXT_WAKE_OF_READY), values!["k", 0_i64, 1_i64]),
        ("LEVELS", one(sql::LEVELS), values!["k", 0_i64]),
        ("READY", one(sql::READY), values!["k", 0_i64, 1_i64, 10_i64, 10_i64]),
        ("COMPARE_TRIGGER", one(sql::COMPARE_TRIGGER), with(numbers(), values![1_i64])),
        (
            "COMPARE_ONE_TRIGGER",
            one(sql::COMPARE_ONE_TRIGGER),
            values![[0; 16], 100_i64, 1_i64, 1_i64, 1_i64, 0_i64, 100_i64, 1_i64],
        ),
        ("PATCH_TRIGGER", one(sql::PATCH_TRIGGER), values!["[[1,1,1,1,1,1,null,null]]", 1_i64]),
        ("KNOWS_EXECUTION", one(sql::KNOWS_EXECUTION), ids()),
        ("KNOWS_OCCURRENCE", one(sql::KNOWS_OCCURRENCE), values!["[[1,1,1]]"]),
        ("FIRED_BEFORE", one(sql::FIRED_BEFORE), values!["[[\"00000000000000000000000000000001\",1,1,1]]"]),
        ("LOCK_READY", one(sql::LOCK_READY), with(ids(), values![1_i64, 10_i64])),
        ("CLAIM_READY", one(sql::CLAIM_READY), values!["[[\"00000000000000000000000000000001\",1]]", 1_i64]),
        ("WORK", one(sql::WORK), ids()),
        ("LOCK_LIVE", one(sql::LOCK_LIVE), ids()),
        ("SETTLE_END", one(sql::SETTLE_END), ids()),
        ("HELD_SLOT", one(sql::HELD_SLOT), ids()),
        ("FREE_HELD_SLOT", one(sql::FREE_HELD_SLOT), ids()),
        ("LOCK_SLOTS", one(sql::LOCK_SLOTS), values!["[\"k\"]"]),
        ("PARKED_READY", one(sql::PARKED_READY), values!["k", 1_i64]),
        ("PARKED_TRIGGERS", one(sql::PARKED_TRIGGERS), values!["k", 1_i64]),
        ("WAITING_KEYS", one(sql::WAITING_KEYS), values![""]),
        ("SLOTS_HELD", one(sql::SLOTS_HELD), values!["[\"k\"]"]),
        ("GLANCE", one(sql::GLANCE), values![1_i64, "k", "k"]),
        ("CHECKED_IN", one(sql::CHECKED_IN), values![1_i64, 1_i64]),
        ("ORPHANS", one(sql::ORPHANS), values![1_i64, 10_i64]),
        ("GATE_OPEN", one(sql::GATE_OPEN), values![1_i64, 0_i64]),
        ("OLD_HISTORY", one(sql::OLD_HISTORY), values![1_i64, 10_i64]),
    ]
}

async fn explain(step: &mut Step<'_>) -> Outcome<Vec<(&'static str, String)>> {
    let mut plans = Vec::new();
    for (name, text, values) in hot() {
        let text = Sql::once(format!("EXPLAIN FORMAT = JSON {text}"));
        let plan = step.first(text, values, Columns::text).await?;
        plans.push((name, plan.unwrap_or_default()));
    }
    Ok(plans)
}

impl MysqlStore {
    /// The plans of the hot statements as the server's JSON, by the names of the statements.
    #[doc(hidden)]
    pub async fn plans(&self) -> Result<Vec<(&'static str, String)>> {
        self.read("plans", (), |step, ()| Box::pin(explain(step))).await
    }
}
