//! For tests: what the planner makes of the hot statements, and what the sessions of the store are like.

use punctual_core::Result;
use sqlx::Row;

use crate::error::Failure;
use crate::rows::{Columns, params};
use crate::sql;
use crate::step::{Outcome, Shape, Step};
use crate::store::PostgresStore;

/// The statements that run for each firing, for each look at what is due, or once an interval.
const HOT: &[&str] = &[
    "READ_DUE",
    "CLAIM",
    "CLAIM_READY",
    "CLAIM_READY_CAS",
    "BEGIN",
    "SETTLE",
    "KNOWS_END",
    "ENQUEUE",
    "CHECK_IN",
    "TAKE_OVER",
    "SET_STANDBY",
    "ORPHANS",
    "WAKE_READY",
    "WAKE_TRIGGER",
    "WAITING_KEYS",
    "FREE_HELD_SLOT",
    "PRUNE_HISTORY",
];

impl PostgresStore {
    /// The generic plans of the hot statements as JSON, by the names of their constants, as they would be on tables that
    /// are too large to go through.
    ///
    /// # Errors
    /// As any step.
    #[doc(hidden)]
    pub async fn plans(&self) -> Result<Vec<(&'static str, String)>> {
        self.step("plans", Shape::Many, (), |step, ()| Box::pin(plans(step))).await
    }

    /// The settings that a step sees, by their names.
    ///
    /// # Errors
    /// As any step.
    #[doc(hidden)]
    pub async fn settings(&self) -> Result<Vec<(String, String)>> {
        self.step("settings", Shape::One, (), |step, ()| Box::pin(settings(step))).await
    }
}

async fn plans(step: &mut Step<'_>) -> Outcome<Vec<(&'static str, String)>> {
    step.do_now(sql::PLAN_AS_LARGE).await?;
    let mut plans = Vec::new();
    for (name, text) in sql::ALL.iter().filter(|(name, _)| HOT.contains(name)) {
        let parameters = (1..).take_while(|n| text.contains(&format!("${n}"))).count();
        let nulls = vec!["NULL"; parameters].join(", ");
        step.say(step.render(&format!("PREPARE punctual_plan AS {text}"))).await?;
        let explain = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
        let rows =
            step.ask(step.render(&format!("EXPLAIN (FORMAT JSON) EXECUTE punctual_plan{explain}"))).await?;
        let row = rows.first().ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?;
        plans.push((*name, row.try_get_unchecked(0)?));
        step.say(step.render("DEALLOCATE punctual_plan")).await?;
    }
    step.undo();
    Ok(plans)
}

async fn settings(step: &mut Step<'_>) -> Outcome<Vec<(String, String)>> {
    let rows = step.all(sql::SETTINGS, params![]).await?;
    Ok(rows.iter().map(Columns::of).map(|row| (row.text(), row.text())).collect())
}
