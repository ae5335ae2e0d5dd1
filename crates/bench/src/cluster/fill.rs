//! Rows by the million, which are put in by SQL: through the store each definition costs some statements, and a record of
//! the past cannot be had from it at all.

use std::fmt::Write as _;
use std::time::Duration;

use punctual_core::Entropy;
use punctual_core::entropy::SeededEntropy;
use punctual_core::inspect::FoundTrigger;
use punctual_core::job::JobRecord;
use punctual_core::protocol::define;
use punctual_core::record::TriggerRow;
use punctual_core::store::Change;
use punctual_runtime::Job;
use punctual_tests::place::Kind;

use super::Result;
use super::ground::Ground;
use super::load;
use super::show::progress;
use super::tally::Nothing;

/// How far ahead the first of the far triggers is due.
const FAR: Duration = Duration::from_secs(365 * 86_400);
/// How many triggers one statement writes.
const TRIGGERS: u32 = 1_000;
/// How many rows of history one statement writes: as many as five digits count.
const RECORDS: u32 = 100_000;
/// After how many rows it is said how far it is.
const SAID: u32 = 1_000_000;
/// How long ago the youngest record of the past has ended: a day more than nodes keep history by default.
const AGE: Duration = Duration::from_secs(8 * 86_400);

/// Puts in triggers of one job that are first due in a year, each as the store would write it.
pub(crate) async fn far_triggers(ground: &mut Ground, count: u32) -> Result<()> {
    let store = ground.open().await?.store();
    let (now, entropy) = (store.now().await?, SeededEntropy::new(2));
    let entropy: &dyn Entropy = &entropy;
    let job = load::job("far")?;
    let Some((expect, record)) = define::put_job(None, &job, None, now, entropy)? else { return Ok(()) };
    load::write(&*store, vec![Change::PutJob { expect, job: record.clone() }]).await?;
    let interval = Duration::from_secs(86_400);
    let mut rows = String::new();
    for n in 0..count {
        let anchor = now.plus(FAR).plus(interval.mul_f64(f64::from(n) / f64::from(count)));
        let mut spec = load::spec(interval, anchor)?;
        spec.start = Some(anchor);
        let trigger = load::trigger(&format!("far{n}"), &job, spec)?;
        let nothing = FoundTrigger { trigger: None, mark: None };
        for change in define::put_trigger(&nothing, &trigger, None, record.id, None, now, entropy)? {
            if let Change::PutTrigger { trigger, .. } = change {
                let separator = if rows.is_empty() { "" } else { ", " };
                write!(rows, "{separator}{}", values(&TriggerRow::of(&trigger)?, &record)?)?;
            }
        }
        if (n + 1) % TRIGGERS == 0 || n + 1 == count {
            let table = ground.table("trigger");
            // A reserved word on MySQL.
            let rank = if ground.kind() == Kind::Mysql { "urgency" } else { "rank" };
            ground.run(&format!("INSERT INTO {table} ({COLUMNS}, {rank}) VALUES {rows}")).await?;
            rows.clear();
        }
        say_how_far(n + 1, count, "triggers");
    }
    Ok(())
}

/// The columns that are not empty in a trigger that has never fired. Its rank follows, under each database's own name.
const COLUMNS: &str = "id, group_name, name, job_id, spec, priority, state, next_fire_us, wake_us, fires, fire_seq, \
                       generation, rev, slice, hash, created_us, kind";

/// A row of [`COLUMNS`] and the rank.
fn values(row: &TriggerRow, job: &JobRecord) -> Result<String> {
    let TriggerRow { id, group_name, name, job_id, spec, priority, state, fires, fire_seq, .. } = row;
    let TriggerRow { generation, slice, hash, created_us, .. } = row;
    let due = row.next_fire_us.ok_or("a trigger of the far future is never due")?;
    let (kind, rank) = (job.kind.as_str(), i64::from(job.priority) + priority);
    // Nothing of it has a quotation mark in it: names are this file's, and the document is of instants.
    Ok(format!(
        "({id}, '{group_name}', '{name}', {job_id}, '{spec}', {priority}, {state}, {due}, {due}, {fires}, {fire_seq}, \
         {generation}, 1, {slice}, {hash}, {created_us}, '{kind}', {rank})"
    ))
}

/// Puts in records of firings of the triggers that [`load::triggers`] made, a thousand a second until eight days ago.
pub(crate) async fn history(ground: &mut Ground, rows: u32, triggers: u32) -> Result<()> {
    let last = ground.open().await?.store().now().await?.minus(AGE).as_micros();
    for first in (0..rows).step_by(usize::try_from(RECORDS)?) {
        let end = rows.min(first.saturating_add(RECORDS));
        ground.run(&records(ground, last - i64::from(rows) * 1_000, (first, end), triggers)).await?;
        say_how_far(end, rows, "rows of history");
    }
    Ok(())
}

/// The statement that puts in the records from number `first` up to, not including, `end`.
fn records(ground: &Ground, oldest: i64, (first, end): (u32, u32), triggers: u32) -> String {
    let number = format!("({first} + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d)");
    let (wide, name, key, id) = match ground.kind() {
        // An id begins with its time in milliseconds, in 48 bits.
        Kind::Postgres => (
            "bigint",
            "'t' || (n.n % {T})",
            "'bench/' || t.name",
            "decode(lpad(to_hex(n.at / 1000), 12, '0') || lpad(to_hex(n.n), 20, '0'), 'hex')",
        ),
        Kind::Mysql => (
            "signed",
            "CONCAT('t', n.n % {T})",
            "CONCAT('bench/', t.name)",
            "UNHEX(CONCAT(LPAD(HEX(n.at DIV 1000), 12, '0'), LPAD(HEX(n.n), 20, '0')))",
        ),
        Kind::Sqlite => (
            "integer",
            "'t' || (n.n % {T})",
            "'bench/' || t.name",
            "unhex(printf('%012x%020x', n.at / 1000, n.n))",
        ),
    };
    let name = name.replace("{T}", &triggers.max(1).to_string());
    let (history, trigger, kind) = (ground.table("history"), ground.table("trigger"), Nothing::KIND);
    let digits = (0..10).map(|d| format!("SELECT {d} AS d")).collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "INSERT INTO {history} (id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, outcome, \
         attempt, node_id, fence, started_us, ended_us, attempts) \
         WITH digit AS ({digits}), n AS (SELECT {number} AS n, {oldest} + CAST({number} AS {wide}) * 1000 AS at \
         FROM digit a CROSS JOIN digit b CROSS JOIN digit c CROSS JOIN digit e CROSS JOIN digit f WHERE {number} < {end}) \
         SELECT {id}, t.id, t.generation, {key}, t.job_id, {key}, '{kind}', n.at - 2000, 1, 1, 1, 1, n.at - 1000, n.at, \
         'null' FROM n JOIN {trigger} t ON t.group_name = 'bench' AND t.name = {name} ORDER BY n.n"
    )
}

fn say_how_far(done: u32, all: u32, what: &str) {
    if done.is_multiple_of(SAID) && done < all {
        progress(format_args!("{done} of {all} {what} put in"));
    }
}
