//! The consistency check: what should not be there, and its repair.

use async_trait::async_trait;
use punctual_core::check::{Check, DefinitionRow, Definitions, Finding, Mended, Place, RepairRecord, Rule};
use punctual_core::{JobId, Result, Timestamp, TriggerId};
use rusqlite::params;

use super::{Outcome, SqliteStore, slots};
use crate::rows::Columns;
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
            let before = before.map_or(i64::MAX, Timestamp::as_micros);
            step.all(sql::REPAIRS, params![before, limit], |row| Ok(record(&Columns::of(row))))
        })
        .await
    }
}

fn record(c: &Columns<'_, '_>) -> RepairRecord {
    RepairRecord {
        at: Timestamp::from_micros(c.int()),
        rule: c.shown().into(),
        place: c.shown().into(),
        detail: c.shown().into(),
        by: c.shown().into(),
    }
}

/// Which live row: the first three columns.
fn live(c: &Columns<'_, '_>) -> ([u8; 16], Option<i64>, i64) {
    (c.id(), c.int_or_null(), c.int())
}

/// A statement, and what a row of it is. A column that cannot be read is shown as far as it can be, so that one row does
/// not stop the look.
type Look = (&'static str, fn(&Columns<'_, '_>) -> Finding);

fn contradictions(step: &Step<'_>, limit: u32) -> Outcome<Vec<Finding>> {
    let rules: [Look; 8] = [
        (sql::CHECK_SLOTS, slot),
        (sql::CHECK_UNSLOTTED, |c| Finding::without_slot(live(c), &c.shown())),
        (sql::CHECK_ENDED, |c| Finding::ended(live(c), c.int())),
        (sql::CHECK_OWNERS, |c| Finding::orphan(live(c), c.int_or_null())),
        (sql::CHECK_HELD, |c| Finding::held(live(c), c.shown_or_null().as_deref())),
        (sql::WAITING_KEYS, |c| Finding::waiting(&c.shown())),
        (sql::CHECK_BEATS, |c| Finding::beat(c.int(), c.int())),
        (sql::CHECK_BEATLESS, |c| Finding::beatless(c.int(), &c.shown())),
    ];
    let mut found = Vec::new();
    for (sql, finding) in rules {
        found.extend(step.all(sql, [limit], |row| Ok(finding(&Columns::of(row))))?);
    }
    Ok(found)
}

fn slot(c: &Columns<'_, '_>) -> Finding {
    let (key, n) = (c.shown(), c.int());
    let holder = (c.id(), c.int());
    let is_live = c.int() != 0;
    let of = c.shown_or_null();
    Finding::slot(&key, n, holder, is_live.then_some(of.as_deref()))
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

/// Wakes those who wait for a key, as many as it has free slots; `false` if nobody could be woken.
fn wake_for(step: &Step<'_>, key: &str) -> Outcome<bool> {
    let keys = slots::waiting_keys(step, u32::MAX)?;
    let Some((_, free)) = keys.iter().find(|(waiting, _)| waiting == key) else { return Ok(false) };
    let mut woken = false;
    for _ in 0..*free {
        if !slots::wake_one(step, key)? {
            break;
        }
        woken = true;
    }
    Ok(woken)
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
