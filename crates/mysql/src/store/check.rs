//! The consistency check: what should not be there, and its repair.

use std::collections::BTreeSet;

use async_trait::async_trait;
use punctual_core::check::{Check, DefinitionRow, Definitions, Finding, Mended, Place, RepairRecord, Rule};
use punctual_core::{ExecutionId, JobId, NodeId, Result, Timestamp, TriggerId};

use super::{MysqlStore, Outcome, slots};
use crate::query::{Value, values};
use crate::rows::Columns;
use crate::sql;
use crate::step::{News, Step};

#[async_trait]
impl Check for MysqlStore {
    async fn contradictions(&self, limit: u32) -> Result<Vec<Finding>> {
        self.read("check", limit, |step, limit| Box::pin(contradictions(step, *limit))).await
    }

    async fn definitions(&self, after: Option<TriggerId>, limit: u32) -> Result<Definitions> {
        let page = (after.map_or(i64::MIN, TriggerId::get), limit);
        self.read("check", page, |step, (after, limit)| {
            Box::pin(async move {
                let rows = definition_rows(step, sql::CHECK_DEFINITIONS, values![*after, *limit]).await?;
                Ok(Definitions {
                    findings: rows.iter().flat_map(DefinitionRow::findings).collect(),
                    last: rows.last().map(|row| TriggerId::from_stored(row.trigger.id)),
                })
            })
        })
        .await
    }

    async fn repair(&self, finding: &Finding, by: &str) -> Result<Mended> {
        let request = (finding.clone(), by.to_owned());
        self.write("repair", request, |step, (finding, by)| Box::pin(repair(step, finding, by))).await
    }

    async fn repairs(&self, before: Option<Timestamp>, limit: u32) -> Result<Vec<RepairRecord>> {
        let page = (before.map_or(i64::MAX, Timestamp::as_micros), limit);
        self.read("repairs", page, |step, (before, limit)| {
            Box::pin(async move { step.all(sql::REPAIRS, values![*before, *limit], record).await })
        })
        .await
    }
}

fn record(c: &Columns) -> RepairRecord {
    RepairRecord {
        at: Timestamp::from_micros(c.int()),
        rule: c.text().into(),
        place: c.text().into(),
        detail: c.text().into(),
        by: c.text().into(),
    }
}

/// Which live row: the first three columns.
fn live(c: &Columns) -> ([u8; 16], Option<i64>, i64) {
    (c.id(), c.int_or_null(), c.int())
}

/// A statement, and what a row of it is.
type Look = (&'static str, fn(&Columns) -> Finding);

async fn contradictions(step: &mut Step<'_>, limit: u32) -> Outcome<Vec<Finding>> {
    let rules: [Look; 7] = [
        (sql::CHECK_SLOTS, slot),
        (sql::CHECK_UNSLOTTED, |c| Finding::without_slot(live(c), &c.text())),
        (sql::CHECK_ENDED, |c| Finding::ended(live(c), c.int())),
        (sql::CHECK_OWNERS, |c| Finding::orphan(live(c), c.int_or_null())),
        (sql::CHECK_HELD, |c| Finding::held(live(c), c.text_or_null().as_deref())),
        (sql::CHECK_BEATS, |c| Finding::beat(c.int(), c.int())),
        (sql::CHECK_BEATLESS, |c| Finding::beatless(c.int(), &c.text())),
    ];
    let mut found = Vec::new();
    for (sql, finding) in rules {
        found.extend(step.all(sql, values![limit], finding).await?);
    }
    let waiting = slots::waiting_keys(step, limit).await?;
    found.extend(waiting.keys().map(|key| Finding::waiting(key)));
    Ok(found)
}

fn slot(c: &Columns) -> Finding {
    let (key, n) = (c.text(), c.int());
    let holder = (c.id(), c.int());
    let is_live = c.int() != 0;
    let of = c.text_or_null();
    Finding::slot(&key, n, holder, is_live.then_some(of.as_deref()))
}

async fn definition_rows(
    step: &mut Step<'_>,
    sql: &'static str,
    values: Vec<Value>,
) -> Outcome<Vec<DefinitionRow>> {
    let rows = step.rows::<DefinitionRow>(sql, values).await?;
    Ok(rows.into_iter().map(|read| DefinitionRow { bad: read.bad, ..read.row }).collect())
}

async fn repair(step: &mut Step<'_>, finding: &Finding, by: &str) -> Outcome<Mended> {
    let is_mended = match (finding.rule, &finding.place) {
        (Rule::SlotOfNobody, Place::Slot { key, n, holder, fence }) => {
            slots::lock(step, &BTreeSet::from([key.to_string()])).await?;
            let id = holder.to_bytes();
            let values = values![&**key, *n, id, fence.get(), id, &**key];
            let is_free = step.run(sql::FREE_SLOT_OF_NOBODY, values).await? > 0;
            if is_free {
                slots::wake(step, key, 1).await?;
            }
            is_free
        }
        (Rule::LiveAndEnded, Place::Execution { id, owner, fence }) => {
            delete_ended(step, *id, *owner, fence.get()).await?
        }
        (Rule::WaitsForNothing, Place::Key { key }) => {
            let mut waiting = slots::waiting_keys(step, u32::MAX).await?;
            waiting.retain(|known, _| *known == **key);
            slots::wake_up_to(step, waiting, u32::MAX).await? > 0
        }
        (Rule::BeatWithoutNode, Place::Beat { node, beat }) => {
            let values = values![node.get(), *beat, node.get()];
            step.run(sql::DELETE_STRAY_BEAT, values).await? > 0
        }
        (Rule::TriggerCopies, Place::Trigger { id, rev, .. }) => {
            mend_trigger(step, finding, *id, *rev).await?
        }
        (Rule::JobCopies, Place::Job { id, rev, .. }) => mend_job(step, finding, *id, *rev).await?,
        _ => false,
    };
    if !is_mended {
        return Ok(Mended::Changed);
    }
    let Finding { rule, place, detail } = finding;
    let now = step.now().await?.as_micros();
    step.run(sql::PUT_REPAIR, values![now, rule.as_str(), place.to_string(), &**detail, by]).await?;
    Ok(Mended::Done)
}

async fn delete_ended(
    step: &mut Step<'_>,
    id: ExecutionId,
    owner: Option<NodeId>,
    fence: i64,
) -> Outcome<bool> {
    let id = id.to_bytes();
    slots::lock_live(step, &[id]).await?;
    let values = values![id, owner.map(NodeId::get), fence, id];
    if step.run(sql::DELETE_ENDED, values).await? == 0 {
        return Ok(false);
    }
    slots::free(step, &[id]).await?;
    Ok(true)
}

/// Its job is locked first, as whoever writes the job does, so that its copies are not those of a moment ago.
async fn mend_trigger(step: &mut Step<'_>, finding: &Finding, id: TriggerId, rev: i64) -> Outcome<bool> {
    for row in definition_rows(step, sql::CHECK_DEFINITION, values![id.get()]).await? {
        step.number(sql::LOCK_JOB, values![row.trigger.job_id]).await?;
    }
    let rows = definition_rows(step, sql::CHECK_DEFINITION, values![id.get()]).await?;
    let Some(copies) = rows.iter().find_map(|row| row.mend(finding)) else { return Ok(false) };
    // It may be due, and nobody could see that.
    step.tell(News::Everywhere);
    let values = values![copies.kind, copies.rank, copies.calendar, copies.slot_key, id.get(), rev];
    Ok(step.run(sql::MEND_TRIGGER, values).await? > 0)
}

async fn mend_job(step: &mut Step<'_>, finding: &Finding, id: JobId, rev: i64) -> Outcome<bool> {
    step.number(sql::LOCK_JOB, values![id.get()]).await?;
    let rows = definition_rows(step, sql::CHECK_DEFINITIONS_OF, values![id.get()]).await?;
    let Some(copies) = rows.iter().find_map(|row| row.mend(finding)) else { return Ok(false) };
    let values = values![copies.slot_key, copies.slot_limit, id.get(), rev];
    Ok(step.run(sql::MEND_JOB, values).await? > 0)
}
