//! Judges the history of a run: nothing twice, nothing lost, nothing at once, nothing early.
//!
//! A run leaves these things behind, and the verdict is computed from them alone:
//!
//! | source | form | handed in by |
//! |---|---|---|
//! | node journals | JSON lines of [`punctual_core::event::Stamped`], one file a process | [`Checker::journal`] |
//! | the bodies' own logs | JSON lines of [`BodyEvent`] | [`Checker::bodies`] |
//! | faults that the driver caused | JSON lines of [`FaultEvent`] | [`Checker::faults`] |
//! | the final tables | values | [`Checker::tables`] |
//! | what bodies committed with their end | values, if there is such work | [`Checker::effects`] |
//! | the history of migrations | versions, if that is to be judged | [`Checker::migrations`] |
//!
//! All stamps are readings of the boot-time clock of one host, so that the order of events in two processes, a frozen
//! one included, is measured and not guessed. Sources may come in any order; nothing is judged before [`Checker::verdict`].
//!
//! A node never testifies for itself alone: starts and overlaps come from the bodies' logs, what is owed comes from the
//! schedules, and what became of it from the tables.
//!
//! # Adding a guarantee
//! A check is a function from the gathered history to [`Rule`]s it found broken, in a module of its own. A new one needs
//! a `Rule`, its [`Guarantee`], a count in [`Verdict`], and at least two forged histories that break it.

mod account;
mod at_most_once;
mod checker;
mod claims;
mod cluster;
mod commands;
mod effects;
mod history;
mod lateness;
mod lines;
mod overlap;
mod owners;
mod quiet;
mod record;
mod restore;
mod schema;
mod spans;
mod takeover;
mod verdict;

pub use self::checker::{Checker, Options, Tables, Window};
pub use self::effects::{Effect, Effects};
pub use self::lines::InputError;
pub use self::record::{BodyEvent, BodyStart, FaultEvent, Pausable};
pub use self::verdict::{Guarantee, Rule, Verdict, Violation};
