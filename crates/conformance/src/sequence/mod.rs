//! Sequences of steps, done side by side by a store and by the memory store: answers and what is left behind must be
//! the same after each.
//!
//! A sequence is drawn as moves, which are small numbers. The scribe makes a step of each by what the memory store shows
//! at that moment, so that a sequence that is shortened still makes sense. Ids, delays and random numbers are given, and
//! both stores go by one clock that stands still; so nothing may differ but what the contract leaves open, which the view
//! takes out.

mod definitions;
mod moves;
mod normal;
mod scribe;
mod sights;
mod view;
mod work;

use std::sync::{Arc, Mutex, PoisonError};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use punctual_core::check::{Rule, look};
use punctual_core::{ErrorKind, JobStore, MemoryStore, Result};

use self::moves::{CLOSE, Move, OPEN, What, any_moves};
use self::scribe::Scribe;
use self::sights::Sights;
use self::view::View;
use crate::bench::Bench;
use crate::step::Answer;

/// The environment variable that says how many sequences are tried.
const COUNT: &str = "PUNCTUAL_CONFORMANCE_SEQUENCES";

/// How many are tried where nobody says so, and how many moves each has between its opening and its close.
const SEQUENCES: u64 = 20;
const MOVES: usize = 120;

/// How many shorter sequences are tried for one that differs.
const SHORTENINGS: u32 = 60;

/// Draws sequences, and does each on an empty space beside `bench`. The first that shows a difference is shortened.
///
/// # Panics
/// If there is a difference, with the shortest sequence that shows one; or if too little happened to show anything.
pub(crate) async fn compare_many(bench: Bench) {
    let bench = Arc::new(bench);
    let executor = tokio::runtime::Handle::current();
    let work = move || {
        let count = std::env::var(COUNT).ok().and_then(|count| count.parse().ok()).unwrap_or(SEQUENCES);
        let mut spaces = 0;
        let mut sights = Sights::default();
        for number in 0..count {
            let mut attempt = |moves: Vec<Move>| {
                spaces += 1;
                let name = format!("s{spaces}");
                executor.block_on(async {
                    let beside = bench.beside(&name, "sequence").await;
                    compare(&beside, &moves, &mut sights).await
                })
            };
            if let Err((why, moves)) = shortest(number, &mut attempt) {
                let moves: String = moves.iter().map(|one| format!("    {one:?},\n")).collect();
                panic!("sequence {number}, shortened to [\n{moves}]: {why}");
            }
        }
        let missing = sights.missing();
        assert!(count < SEQUENCES || missing.is_empty(), "{count} sequences never came past {missing:?}");
    };
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Where a sequence shows a difference, and which.
struct Difference {
    /// The number of the step, that of the last move and more if it shows at the end.
    step: usize,
    what: String,
}

/// Tries the sequence of a number. If it fails, answers why, and the shortest one found that fails too.
fn shortest(
    number: u64,
    attempt: &mut dyn FnMut(Vec<Move>) -> std::result::Result<(), Difference>,
) -> std::result::Result<(), (String, Vec<Move>)> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let config =
        Config { cases: 1, failure_persistence: None, max_shrink_iters: SHORTENINGS, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let attempt = Mutex::new((attempt, usize::MAX));
    let tried = runner.run(&any_moves(MOVES), |moves| {
        let mut guard = attempt.lock().unwrap_or_else(PoisonError::into_inner);
        let (attempt, failed_at) = &mut *guard;
        attempt(moves).map_err(|Difference { step, what }| {
            *failed_at = step;
            TestCaseError::fail(what)
        })
    });
    let (_, failed_at) = attempt.into_inner().unwrap_or_else(PoisonError::into_inner);
    match tried {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, mut moves)) => {
            // The one that is answered failed last; what came after that step says nothing.
            moves.truncate(failed_at.saturating_sub(OPEN.len()).saturating_add(1));
            Err((why.to_string(), moves))
        }
        Err(TestError::Abort(why)) => Err((why.to_string(), Vec::new())),
    }
}

/// Does a sequence on the empty store of `bench` and on a memory store.
async fn compare(bench: &Bench, moves: &[Move], sights: &mut Sights) -> std::result::Result<(), Difference> {
    let clock = bench.space().clock();
    let model = MemoryStore::new(Arc::clone(&clock));
    // Each goes by what its own store shows, because fences may differ.
    let (mut ours, mut theirs) = (Scribe::new(clock.wall()), Scribe::new(clock.wall()));
    let (mut wanted_view, mut view) = (View::of(&model).await, View::of(&*bench.store).await);
    for (n, next) in OPEN.iter().chain(moves).chain(CLOSE).enumerate() {
        if let What::Advance | What::SetBack = next.what {
            let span = next.span();
            match next.what {
                What::Advance => bench.advance(span),
                _ => bench.set_clock(clock.wall().minus(span)),
            }
            continue;
        }
        let now = clock.wall();
        let steps = (ours.step(*next, &wanted_view, now), theirs.step(*next, &view, now));
        let (Some(step), Some(their_step)) = steps else { continue };
        let (wanted, got) = (step.run(&model).await, their_step.run(&*bench.store).await);
        let wrong = |what: &str| {
            let what = format!("step {n}, {next:?}: {step:#?}\n{what}");
            Difference { step: n, what }
        };
        if !same(&wanted, &got) {
            return Err(wrong(&format!("memory answers {wanted:#?}\nthe store answers {got:#?}")));
        }
        (wanted_view, view) = (View::of(&model).await, View::of(&*bench.store).await);
        if let Some(difference) = wanted_view.difference(&view) {
            return Err(wrong(&format!("memory (-) and the store (+) show{difference}")));
        }
        if let (Ok(wanted), Ok(got)) = (wanted, got) {
            sights.saw(&wanted);
            ours.learn(&step, wanted, now);
            theirs.learn(&their_step, got, now);
        }
    }
    let at_the_end = |what| Difference { step: OPEN.len() + moves.len(), what };
    contradictions(&*bench.store).await.map_err(at_the_end)
}

/// Whether two answers are the same but for what the contract leaves open: the order of lists about members, and the
/// words of errors.
fn same(wanted: &Result<Answer>, got: &Result<Answer>) -> bool {
    let kind =
        |answer: &Result<Answer>| answer.as_ref().err().map(|error: &punctual_core::Error| error.kind());
    match (wanted, got) {
        (Ok(wanted), Ok(got)) => normal::answer(wanted.clone()) == normal::answer(got.clone()),
        _ => kind(wanted) == kind(got) && kind(got) != Some(ErrorKind::Unavailable),
    }
}

/// What the store's own check finds, but for what a person may cause.
async fn contradictions(store: &dyn JobStore) -> std::result::Result<(), String> {
    let Some(check) = store.checks() else { return Ok(()) };
    let found = look(check, 100).await.map_err(|error| error.chain())?;
    let is_wrong = |rule: Rule| !rule.passes() && !matches!(rule, Rule::Held | Rule::TriggerInError);
    let wrong: Vec<_> = found.into_iter().filter(|finding| is_wrong(finding.rule)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("the check finds {wrong:#?}")) }
}
