//! The consistency check: what should not be there, and its repair.

use async_trait::async_trait;
use punctual_core::check::{Check, DefinitionRow, Definitions, Finding, Mended, Place, RepairRecord, Rule};
use punctual_core::{JobId, NodeId, Result, Timestamp, TriggerId};
use sqlx::postgres::PgRow;

use super::{PostgresStore, slots};
use crate::rows::{Args, Columns, params, plain};
use crate::sql;
use crate::step::{News, Outcome, Shape, Step};

#[async_trait]
impl Check for PostgresStore {
    async fn contradictions(&self, limit: u32) -> Result<Vec<Finding>> {
        self.step("check", Shape::Snapshot, limit, |step, limit| Box::pin(contradictions(step, *limit))).await
    }

    async fn definitions(&self, after: Option<TriggerId>, limit: u32) -> Result<Definitions> {
        let page = (after.map_or(i64::MIN, TriggerId::get), i64::from(limit));
        self.step("check", Shape::One, page, |step, (after, limit)| {
            Box::pin(async move {
                let rows = definition_rows(step, sql::CHECK_DEFINITIONS, params![*after, *limit]).await?;
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
        self.step("repair", Shape::Many, request, |step, (finding, by)| Box::pin(repair(step, finding, by)))
            .await
    }

    async fn repairs(&self, before: Option<Timestamp>, limit: u32) -> Result<Vec<RepairRecord>> {
        let page = (before.map_or(i64::MAX, Timestamp::as_micros), i64::from(limit));
        self.step("repairs", Shape::One, page, |step, (before, limit)| {
            Box::pin(async move {
                let rows = step.all(sql::REPAIRS, params![*before, *limit]).await?;
                Ok(rows.iter().map(record).collect())
            })
        })
        .await
    }
}

fn record(row: &PgRow) -> RepairRecord {
    let c = Columns::of(row);
    RepairRecord {
        at: Timestamp::from_micros(c.int()),
        rule: c.text().into(),
        place: c.text().into(),
        detail: c.text().into(),
        by: c.text().into(),
    }
}

/// Which live row: the first three columns.
fn live(c: &Columns<'_>) -> ([u8; 16], Option<i64>, i64) {
    (c.id(), c.int_or_null(), c.int())
}

/// A statement, and what a row of it is.
type Look = (&'static str, fn(&Columns<'_>) -> Finding);

async fn contradictions(step: &mut Step<'_>, limit: u32) -> Outcome<Vec<Finding>> {
    let rules: [Look; 8] = [
        (sql::CHECK_SLOTS, slot),
        (sql::CHECK_UNSLOTTED, |c| Finding::without_slot(live(c), &c.text())),
        (sql::CHECK_ENDED, |c| Finding::ended(live(c), c.int())),
        (sql::CHECK_OWNERS, |c| Finding::orphan(live(c), c.int_or_null())),
        (sql::CHECK_HELD, |c| Finding::held(live(c), c.text_or_null().as_deref())),
        (sql::WAITING_KEYS, |c| Finding::waiting(&c.text())),
        (sql::CHECK_BEATS, |c| Finding::beat(c.int(), c.int())),
        (sql::CHECK_BEATLESS, |c| Finding::beatless(c.int(), &c.text())),
    ];
    let mut found = Vec::new();
    for (sql, finding) in rules {
        let rows = step.all(sql, params![i64::from(limit)]).await?;
        found.extend(rows.iter().map(|row| finding(&Columns::of(row))));
    }
    Ok(found)
}

fn slot(c: &Columns<'_>) -> Finding {
    let (key, n) = (c.text(), c.int());
    let holder = (c.id(), c.int());
    let is_live: bool = c.get();
    let of = c.text_or_null();
    Finding::slot(&key, n, holder, is_live.then_some(of.as_deref()))
}

async fn definition_rows(step: &mut Step<'_>, sql: &'static str, args: Args) -> Outcome<Vec<DefinitionRow>> {
    let rows = step.rows::<DefinitionRow>(sql, args).await?;
    Ok(rows.into_iter().map(|read| DefinitionRow { bad: read.bad, ..read.row }).collect())
}

async fn repair(step: &mut Step<'_>, finding: &Finding, by: &str) -> Outcome<Mended> {
    let is_mended = match (finding.rule, &finding.place) {
        (Rule::SlotOfNobody, Place::Slot { key, n, holder, fence }) => {
            let args = params![&**key, *n, holder.to_bytes(), fence.get()];
            let is_free = step.run(sql::FREE_SLOT_OF_NOBODY, args).await? > 0;
            if is_free {
                step.freed(key.to_string());
            }
            is_free
        }
        (Rule::LiveAndEnded, Place::Execution { id, owner, fence }) => {
            let args = params![id.to_bytes(), owner.map(NodeId::get), fence.get()];
            let is_gone = step.run(sql::DELETE_ENDED, args).await? > 0;
            if is_gone {
                for row in step.all(sql::FREE_HELD_SLOT, params![[id.to_bytes()].to_vec()]).await? {
                    step.freed(Columns::of(&row).text());
                }
            }
            is_gone
        }
        (Rule::WaitsForNothing, Place::Key { key }) => wake_for(step, key).await?,
        (Rule::BeatWithoutNode, Place::Beat { node, beat }) => {
            step.run(sql::DELETE_STRAY_BEAT, params![node.get(), *beat]).await? > 0
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
    let (given, place, detail) =
        (step.given(), plain(&place.to_string()).into_owned(), plain(detail).into_owned());
    let args = params![given, rule.as_str(), place, detail, plain(by).into_owned()];
    step.run(sql::PUT_REPAIR, args).await?;
    slots::wake_freed(step).await?;
    Ok(Mended::Done)
}

/// Wakes those who wait for a key, as many as it has free slots; `false` if nobody could be woken.
async fn wake_for(step: &mut Step<'_>, key: &str) -> Outcome<bool> {
    let rows = step.all(sql::WAITING_KEYS, params![i64::MAX]).await?;
    let free = rows.iter().find_map(|row| {
        let c = Columns::of(row);
        (c.text() == key).then(|| c.int())
    });
    let Some(free) = free else { return Ok(false) };
    step.has_free(key.to_owned(), free);
    slots::wake_freed(step).await?;
    Ok(step.idle_slots().get(key).is_none_or(|idle| *idle < free))
}

/// Its job is locked first, as whoever writes the job does, so that its copies are not those of a moment ago.
async fn mend_trigger(step: &mut Step<'_>, finding: &Finding, id: TriggerId, rev: i64) -> Outcome<bool> {
    let seen = definition_rows(step, sql::CHECK_DEFINITION, params![id.get()]).await?;
    for row in seen {
        step.all(sql::LOCK_JOB, params![row.trigger.job_id]).await?;
    }
    let rows = definition_rows(step, sql::CHECK_DEFINITION, params![id.get()]).await?;
    let Some(copies) = rows.iter().find_map(|row| row.mend(finding)) else { return Ok(false) };
    // It may be due, and nobody could see that.
    step.tell(News::Everywhere);
    let args = params![id.get(), rev, copies.kind, copies.rank, copies.calendar];
    Ok(step.run(sql::MEND_TRIGGER, args).await? > 0)
}

async fn mend_job(step: &mut Step<'_>, finding: &Finding, id: JobId, rev: i64) -> Outcome<bool> {
    step.all(sql::LOCK_JOB, params![id.get()]).await?;
    let rows = definition_rows(step, sql::CHECK_DEFINITIONS_OF, params![id.get()]).await?;
    let Some(copies) = rows.iter().find_map(|row| row.mend(finding)) else { return Ok(false) };
    let args = params![id.get(), rev, copies.slot_key, copies.slot_limit];
    Ok(step.run(sql::MEND_JOB, args).await? > 0)
}
