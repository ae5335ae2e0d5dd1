//! For tests: what the planner makes of the hot statements, and what the sessions of the store are like.

use punctual_core::Result;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::error::Failure;
use crate::rows::{Columns, params};
use crate::sql;
use crate::step::{Outcome, Shape, Step};
use crate::store::PostgresStore;

/// The statements that run for each firing, for each look at what is due, or once an interval.
const HOT: &[&str] = &[
    "READ_DUE",
    "CLAIM",
    "CLAIM_PLAIN",
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
    "WAKE",
    "WAKE_AGAIN",
    "WAKE_WAITING",
    "FREE_HELD_SLOT",
    "PRUNE_HISTORY",
];

impl PostgresStore {
    /// The plans of the hot statements as JSON, by the names of their constants, as a step of this store would run them on
    /// the tables as they are now.
    ///
    /// # Errors
    /// As any step.
    #[doc(hidden)]
    pub async fn plans(&self) -> Result<Vec<(&'static str, String)>> {
        self.step("plans", Shape::Many, (), |step, ()| Box::pin(plans(step))).await
    }

    /// The plans of rendered statements, as a step of this store would run them on the tables as they are now: with the
    /// settings that it brings along, whatever kind of session it has.
    ///
    /// # Errors
    /// As any step.
    #[doc(hidden)]
    pub async fn explain(&self, statements: Vec<String>) -> Result<Vec<Vec<String>>> {
        self.step("explain", Shape::Many, statements, |step, statements| Box::pin(explain(step, statements)))
            .await
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
    let mut plans = Vec::new();
    for (name, text) in sql::ALL.iter().filter(|(name, _)| HOT.contains(name)) {
        let rows = plan(step, "FORMAT JSON", text).await?;
        let row = rows.first().ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?;
        plans.push((*name, row.try_get_unchecked(0)?));
    }
    step.undo();
    Ok(plans)
}

async fn explain(step: &mut Step<'_>, statements: &[String]) -> Outcome<Vec<Vec<String>>> {
    let mut plans = Vec::new();
    for text in statements {
        let rows = plan(step, "COSTS OFF", text).await?;
        plans.push(rows.iter().map(|row| row.try_get_unchecked(0)).collect::<std::result::Result<_, _>>()?);
    }
    step.undo();
    Ok(plans)
}

/// Asks for the plan of a statement as the step's session makes it, without running it.
async fn plan(step: &mut Step<'_>, form: &str, text: &str) -> Outcome<Vec<PgRow>> {
    let parameters = (1..).take_while(|n| text.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    step.say(step.render(&format!("PREPARE punctual_plan AS {text}"))).await?;
    let arguments = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
    let rows = step.ask(step.render(&format!("EXPLAIN ({form}) EXECUTE punctual_plan{arguments}"))).await?;
    step.say(step.render("DEALLOCATE punctual_plan")).await?;
    Ok(rows)
}

async fn settings(step: &mut Step<'_>) -> Outcome<Vec<(String, String)>> {
    let rows = step.all(sql::SETTINGS, params![]).await?;
    Ok(rows.iter().map(Columns::of).map(|row| (row.text(), row.text())).collect())
}
