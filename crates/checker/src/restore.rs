//! What a restored store means for the rest: what it has lost did not happen, but its tokens were seen elsewhere (G2).
//!
//! A line of after the backup may be of something that the backup has: then it is as if its writer had died before it
//! could tell. A line of before the backup was written after the commit that it tells of, so the backup has that.

use punctual_core::time::BootInstant;

use crate::history::{History, Token, line};
use crate::spans::Span;
use crate::verdict::{Rule, Verdict};

/// A store that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restore {
    /// From the beginning of the backup until nodes could start again.
    pub(crate) lost: Span,
}

impl Restore {
    /// Whether the store knows nothing of what was written down at `at`.
    pub(crate) fn has_lost(&self, at: BootInstant) -> bool {
        self.lost.from < at && at < self.lost.to
    }
}

/// Judges the tokens of bodies: each of after a restore is larger than all of before.
pub(crate) fn judge_tokens(history: &History, restores: &[Restore], verdict: &mut Verdict) {
    for Restore { lost } in restores {
        let (before, after): (Vec<&Token>, Vec<&Token>) =
            history.tokens.iter().partition(|token| token.fact.boot < lost.to);
        let Some(largest) = before.into_iter().max_by_key(|token| token.token) else { continue };
        for Token { token, id, fact } in after.into_iter().filter(|token| token.token <= largest.token) {
            let text = format!("{id} was given token {token} after a restore, and {} before", largest.token);
            verdict.broke(Rule::TokenBackwards, 1, text, || {
                vec![line(largest.id, &largest.fact), line(*id, fact)]
            });
        }
    }
}
