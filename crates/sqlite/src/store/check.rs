//! The consistency check: what should not be there, and its repair.

use async_trait::async_trait;
use punctual_core::check::{Check, DefinitionRow, Definitions, Finding, Mended, Place, RepairRecord, Rule};
use punctual_core::{JobId, Result, Timestamp, TriggerId};
use rusqlite::types::FromSql;
use rusqlite::{Row, params};

use super::{Outcome, SqliteStore, slots};
use crate::sql;
use crate::step::{News, Step};

#[async_trait]
impl Check for SqliteStore {
    async fn contradictions(&self, limit: u32) -> Result<Vec<Finding>> {
        self.read("check", move |step| contradictions(step, limit)).await
    }

    async fn definitions(&self, after: Option<TriggerId>, limit: u32) -> Result<Definitions> {
        self.read("check", move |step| {
            let after = after.map_or(i64::MIN, TriggerId::get);
            let rows = definition_rows(step, sql::CHECK_DEFINITIONS, params![after, limit])?;
            Ok(Definitions {
                findings: rows.iter().flat_map(DefinitionRow::findings).collect(),
                last: rows.last().map(|row| TriggerId::from_stored(row.trigger.id)),
            })
        })
        .await
    }

    async fn repair(&self, finding: &Finding, by: &str) -> Result<Mended> {
        let (finding, by) = (finding.clone(), by.to_owned());
        self.write("repair", move |step| repair(step, &finding, &by)).await
    }

    async fn repairs(&self, before: Option<Timestamp>, limit: u32) -> Result<Vec<RepairRecord>> {
        self.read("repairs", move |step| {
            let text = |row: &Row<'_>, at| row.get::<_, String>(at).map(String::into_boxed_str);
            let read = |row: &Row<'_>| {
                Ok(RepairRecord {
                    at: Timestamp::from_micros(row.get(0)?),
                    rule: text(row, 1)?,
                    place: text(row, 2)?,
                    detail: text(row, 3)?,
                    by: text(row, 4)?,
                })
            };
            let before = before.map_or(i64::MAX, Timestamp::as_micros);
            step.all(sql::REPAIRS, params![before, limit], read)
        })
        .await
    }
}

/// A column that has another type than it should is `None`, so that one row does not stop the look.
fn column<T: FromSql>(row: &Row<'_>, at: usize) -> Option<T> {
    row.get(at).ok()
}

/// Which live row: the first three columns.
fn live(row: &Row<'_>) -> ([u8; 16], Option<i64>, i64) {
    (column(row, 0).unwrap_or_default(), column(row, 1), column(row, 2).unwrap_or_default())
}

fn contradictions(step: &Step<'_>, limit: u32) -> Outcome<Vec<Finding>> {
    let mut found = step.all(sql::CHECK_SLOTS, [limit], |row| {
        let key: String = row.get(0)?;
        let holder = (column(row, 2).unwrap_or_default(), row.get(3)?);
        let is_live: bool = row.get(4)?;
        let of: Option<String> = row.get(5)?;
        Ok(Finding::slot(&key, row.get(1)?, holder, is_live.then_some(of.as_deref())))
    })?;
    found.extend(step.all(sql::CHECK_UNSLOTTED, [limit], |row| {
        Ok(Finding::without_slot(live(row), &row.get::<_, String>(3)?))
    })?);
    found.extend(step.all(sql::CHECK_ENDED, [limit], |row| Ok(Finding::ended(live(row), row.get(3)?)))?);
    found.extend(step.all(sql::CHECK_OWNERS, [limit], |row| Ok(Finding::orphan(live(row), row.get(3)?)))?);
    found.extend(step.all(sql::CHECK_HELD, [limit], |row| {
        Ok(Finding::held(live(row), row.get::<_, Option<String>>(3)?.as_deref()))
    })?);
    found
        .extend(step.all(sql::WAITING_KEYS, [limit], |row| Ok(Finding::waiting(&row.get::<_, String>(0)?)))?);
    found.extend(step.all(sql::CHECK_BEATS, [limit], |row| Ok(Finding::beat(row.get(0)?, row.get(1)?)))?);
    found.extend(step.all(sql::CHECK_BEATLESS, [limit], |row| {
        Ok(Finding::beatless(row.get(0)?, &row.get::<_, String>(1)?))
    })?);
    Ok(found)
}

fn definition_rows(
    step: &Step<'_>,
    sql: &'static str,
    params: impl rusqlite::Params,
) -> Outcome<Vec<DefinitionRow>> {
    let rows = step.rows::<DefinitionRow>(sql, params)?;
    Ok(rows.into_iter().map(|read| DefinitionRow { bad: read.bad, ..read.row }).collect())
}

fn repair(step: &Step<'_>, finding: &Finding, by: &str) -> Outcome<Mended> {
    let is_mended = match (finding.rule, &finding.place) {
        (Rule::SlotOfNobody, Place::Slot { key, n, holder, fence }) => {
            let values = params![&**key, n, holder.to_bytes(), fence.get()];
            let is_free = step.run(sql::FREE_SLOT_OF_NOBODY, values)? > 0;
            if is_free {
                slots::wake_one(step, key)?;
            }
            is_free
        }
        (Rule::LiveAndEnded, Place::Execution { id, owner, fence }) => {
            let owner = owner.map(punctual_core::NodeId::get);
            let is_gone = step.run(sql::DELETE_ENDED, params![id.to_bytes(), owner, fence.get()])? > 0;
            if is_gone {
                slots::free(step, &id.to_bytes())?;
            }
            is_gone
        }
        (Rule::WaitsForNothing, Place::Key { key }) => wake_for(step, key)?,
        (Rule::BeatWithoutNode, Place::Beat { node, beat }) => {
            step.run(sql::DELETE_STRAY_BEAT, params![node.get(), beat])? > 0
        }
        (Rule::TriggerCopies, Place::Trigger { id, rev, .. }) => mend_trigger(step, finding, *id, *rev)?,
        (Rule::JobCopies, Place::Job { id, rev, .. }) => mend_job(step, finding, *id, *rev)?,
        _ => false,
    };
    if !is_mended {
        return Ok(Mended::Changed);
    }
    let Finding { rule, place, detail } = finding;
    let values = params![step.now().as_micros(), rule.as_str(), place.to_string(), detail, by];
    step.run(sql::PUT_REPAIR, values)?;
    Ok(Mended::Done)
}

/// Wakes those who wait for a key, as many as it has free slots; `false` if there are none.
fn wake_for(step: &Step<'_>, key: &str) -> Outcome<bool> {
    let keys: Vec<(String, i64)> =
        step.all(sql::WAITING_KEYS, [u32::MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((_, free)) = keys.iter().find(|(waiting, _)| waiting == key) else { return Ok(false) };
    for _ in 0..*free {
        if !slots::wake_one(step, key)? {
            break;
        }
    }
    Ok(true)
}

fn mend_trigger(step: &Step<'_>, finding: &Finding, id: TriggerId, rev: i64) -> Outcome<bool> {
    let rows = definition_rows(step, sql::CHECK_DEFINITION, [id.get()])?;
    let Some(copies) = rows.iter().find_map(|row| row.mend(finding)) else { return Ok(false) };
    // It may be due, and nobody could see that.
    step.tell(News::Everywhere);
    let values = params![id.get(), rev, copies.kind, copies.rank, copies.calendar];
    Ok(step.run(sql::MEND_TRIGGER, values)? > 0)
}

fn mend_job(step: &Step<'_>, finding: &Finding, id: JobId, rev: i64) -> Outcome<bool> {
    let rows = definition_rows(step, sql::CHECK_DEFINITIONS_OF, [id.get()])?;
    let Some(copies) = rows.iter().find_map(|row| row.mend(finding)) else { return Ok(false) };
    let values = params![id.get(), rev, copies.slot_key, copies.slot_limit];
    Ok(step.run(sql::MEND_JOB, values)? > 0)
}
