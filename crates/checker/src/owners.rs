//! Who owned what in the order of time: fences that grow with every hand-over (G2), and one owner at a time for each
//! exclusive key (G3a).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use punctual_core::key::{ExecutionId, Fence};
use punctual_core::time::Timestamp;

use crate::claims::Claims;
use crate::effects::Effects;
use crate::history::{Fact, History, Trail, What, line};
use crate::spans::Span;
use crate::verdict::{Rule, Verdict};

/// How much later than another claim of a key one must be, by the store, to be certainly the later one: the time is read
/// within the claim, a little before its commit.
const CERTAIN: Duration = Duration::from_secs(1);

/// Judges fences. `steady` says that nobody set the store's clock, so that its times can be compared.
pub(crate) fn judge_fences(history: &History, claims: &Claims, steady: bool, verdict: &mut Verdict) {
    let mut before: Option<(ExecutionId, u32)> = None;
    for ((id, fence), (_, attempt)) in claims.iter() {
        if let Some((_, earlier)) = before.filter(|(of, earlier)| of == id && attempt < earlier) {
            let text =
                format!("attempt {attempt} of {id} has fence {fence}, above that of attempt {earlier}");
            verdict.broke(Rule::FenceBackwards, 1, text, || history.show(&[*id]));
        }
        before = Some((*id, *attempt));
    }
    let mut keys: BTreeMap<&str, Vec<(Timestamp, ExecutionId, &Fact)>> = BTreeMap::new();
    for (id, trail) in history.trails.iter().filter(|(_, trail)| steady && trail.exclusive) {
        let Some(slot) = trail.slot.as_deref() else { continue };
        let claimed = trail.facts.iter().filter_map(|fact| Some((fact.claimed_at()?, *id, fact)));
        keys.entry(slot).or_default().extend(claimed);
    }
    for (slot, mut claimed) in keys {
        claimed.sort_by_key(|(at, id, fact)| (*at, *id, fact.fence));
        let mut certain = claimed.iter().peekable();
        let mut highest: Option<(ExecutionId, &Fact)> = None;
        for (at, id, fact) in &claimed {
            while let Some((_, id, earlier)) = certain.next_if(|(earlier, ..)| earlier.plus(CERTAIN) < *at) {
                if highest.is_none_or(|(_, highest)| highest.fence < earlier.fence) {
                    highest = Some((*id, earlier));
                }
            }
            // Two claims under one fence are another rule's.
            if let Some((other, earlier)) = highest.filter(|(_, highest)| highest.fence > fact.fence) {
                let text = format!(
                    "{id} was claimed under fence {} of {slot:?}, after fence {}",
                    fact.fence, earlier.fence
                );
                verdict.broke(Rule::FenceBackwards, 1, text, || vec![line(other, earlier), line(*id, fact)]);
            }
        }
    }
}

/// Judges exclusive keys by the stretches in which work was owned for certain: from when its node had heard of its claim
/// until its node knew that its body had ended, if the store took the result. The row lived and named that owner
/// through all of it. Work that was completed in a transaction of its body's own may have ended earlier.
pub(crate) fn judge_keys(history: &History, effects: &Effects, verdict: &mut Verdict) {
    let completed: BTreeSet<ExecutionId> = effects.rows.iter().map(|effect| effect.execution).collect();
    let mut keys: BTreeMap<&str, Vec<(Span, ExecutionId, Fence)>> = BTreeMap::new();
    for (id, trail) in &history.trails {
        let exclusive = trail.exclusive && !completed.contains(id);
        let Some(slot) = trail.slot.as_deref().filter(|_| exclusive) else { continue };
        keys.entry(slot).or_default().extend(owned(trail).map(|(span, fence)| (span, *id, fence)));
    }
    for (slot, mut held) in keys {
        held.sort_unstable();
        let mut longest: Option<(Span, ExecutionId, Fence)> = None;
        for (span, id, fence) in held {
            if let Some((_, other, _)) = longest.filter(|(earlier, ..)| earlier.to > span.from) {
                let text = format!("{other} and {id} were owned at once under {slot:?}");
                verdict.broke(Rule::SharedSlot, 1, text, || history.show(&[other, id]));
            }
            if longest.is_none_or(|(earlier, ..)| earlier.to < span.to) {
                longest = Some((span, id, fence));
            }
        }
    }
}

fn owned(trail: &Trail) -> impl Iterator<Item = (Span, Fence)> {
    let ended: BTreeMap<Fence, &Fact> = facts(trail, |what| matches!(what, What::Ended(_)));
    let settled: BTreeMap<Fence, &Fact> = facts(trail, |what| matches!(what, What::Settled(_)));
    let claimed = trail.facts.iter().filter(|fact| fact.is_claim());
    claimed.filter_map(move |claim| {
        settled.get(&claim.fence)?;
        Some((Span { from: claim.boot, to: ended.get(&claim.fence)?.boot }, claim.fence))
    })
}

fn facts(trail: &Trail, wanted: impl Fn(&What) -> bool) -> BTreeMap<Fence, &Fact> {
    trail.facts.iter().filter(|fact| wanted(&fact.what)).map(|fact| (fact.fence, fact)).collect()
}
