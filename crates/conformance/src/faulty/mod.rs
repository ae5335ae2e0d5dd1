//! Stores that are broken on purpose, each by a mistake that somebody might make: the kit must reject every one, by the
//! case that was made for it.

mod fault;
mod harness;
mod locks;
mod migrations;
mod store;

pub use self::fault::Fault;
pub use self::harness::BrokenHarness;
pub use self::locks::BrokenLocks;
pub use self::migrations::BrokenTarget;
pub use self::store::Broken;
use crate::harness::Harness;
use crate::runner;

/// Asks of each fault whether the case made for it rejects a store with it, and accepts the sound store. Answers how many
/// were rejected.
///
/// `sound` makes a harness of the sound store, with data of its own.
///
/// # Errors
/// A sentence for each fault for which that is not so.
pub fn reject_all<H: Harness>(faults: &[Fault], sound: impl Fn() -> H) -> Result<usize, Vec<String>> {
    let mut wrong = Vec::new();
    for fault in faults {
        let case = fault.caught_by();
        match runner::check(BrokenHarness::new(sound(), *fault), case) {
            Ok(()) => wrong.push(format!("{fault:?} was not rejected by {case}")),
            Err(why) if !why.contains(runner::SENTENCE) => wrong.push(format!("{fault:?}: {why}")),
            Err(_) => {}
        }
        if let Err(why) = runner::check(sound(), case) {
            wrong.push(format!("{case} rejects the sound store: {why}"));
        }
    }
    if wrong.is_empty() { Ok(faults.len()) } else { Err(wrong) }
}
