//! Putting work in, and asking it to stop.

use punctual_core::execution::{MAX_ERROR_BYTES, clip};
use punctual_core::record::ExecutionRow;
use punctual_core::store::{Applied, Cancelled, Enqueue, PARK};
use punctual_core::time::micros;
use punctual_core::{Error, ErrorKind, ExecutionId, Timestamp};

use crate::error::Failure;
use crate::rows::{Columns, ToArrays, params, plain};
use crate::sql;
use crate::step::{News, Outcome, Step};

pub(super) async fn enqueue(step: &mut Step<'_>, work: &[Enqueue]) -> Outcome<Applied> {
    if work.is_empty() {
        return Ok(Applied::All);
    }
    // The time of creation comes from the statement.
    let row = |work: &Enqueue| ExecutionRow::ready(&work.execution, Timestamp::EPOCH);
    let rows = work.iter().map(row).collect::<punctual_core::Result<Vec<_>>>()?;
    let delays: Vec<Option<i64>> = work.iter().map(|work| work.delay.map(micros)).collect();
    let given = step.given();
    let mut args = params![given];
    ExecutionRow::push_arrays(&rows, &mut args)?;
    args.push(delays)?;
    args.push(micros(PARK))?;
    let answer = match step.first(sql::ENQUEUE, args).await {
        Ok(answer) => answer.ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?,
        Err(failure) if failure.is_breach() => return Err(known(None)),
        Err(failure) => return Err(failure),
    };
    let columns = Columns::of(&answer);
    let at = |ord: Option<i64>| ord.and_then(|ord| usize::try_from(ord - 1).ok());
    let (lost, twice, put) = (at(columns.int_or_null()), at(columns.int_or_null()), columns.int());
    match (lost, twice) {
        (Some(lost), twice) if twice.is_none_or(|twice| lost < twice) => Ok(Applied::Lost { at: lost }),
        (_, Some(twice)) => Err(known(rows.get(twice))),
        _ => {
            if put > 0 {
                // What is due later must be known too: it may be earlier than what others sleep for.
                step.tell(News::Everywhere);
            }
            Ok(Applied::All)
        }
    }
}

/// The error of an occurrence that is there already.
fn known(row: Option<&ExecutionRow>) -> Failure {
    let of = row.and_then(|row| row.trigger_key.as_deref()).unwrap_or("of the batch");
    let why = format!("trigger {of} has an execution of that instant already");
    Error::new(ErrorKind::AlreadyExists, "enqueue", why).into()
}

pub(super) async fn cancel(step: &mut Step<'_>, ids: &[ExecutionId], why: &str) -> Outcome<Cancelled> {
    let ids: Vec<[u8; 16]> = ids.iter().map(|id| id.to_bytes()).collect();
    let why = clip(&plain(why), MAX_ERROR_BYTES);
    step.all(sql::LOCK_EXECUTIONS, params![&ids]).await?;
    let ended = end_cancelled(step, &ids, &why).await?;
    let asked = step.run(sql::CANCEL_OWNED, params![&ids, &*why]).await?;
    let count = |rows: u64| u32::try_from(rows).unwrap_or(u32::MAX);
    Ok(Cancelled { ended: count(ended), asked: count(asked) })
}

/// Ends rows that nobody owns as cancelled; they are locked already. Answers how many. Copied by SQL, so that a row that
/// cannot be understood can be cancelled too.
pub(super) async fn end_cancelled(step: &mut Step<'_>, ids: &[[u8; 16]], why: &str) -> Outcome<u64> {
    let given = step.given();
    step.run(sql::RECORD_CANCELLED, params![given, ids, why]).await?;
    let gone = step.all(sql::DELETE_UNOWNED, params![ids]).await?;
    let gone: Vec<[u8; 16]> = gone.iter().map(|row| Columns::of(row).id()).collect();
    for row in step.all(sql::FREE_HELD_SLOT, params![&gone]).await? {
        step.freed(Columns::of(&row).text());
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}
