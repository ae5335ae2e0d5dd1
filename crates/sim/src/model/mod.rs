//! A model of the protocol, statement by statement, and the checker that goes through all of its states.
//!
//! [`run`] checks models and says what was found.

mod alarm;
#[cfg(test)]
mod beside;
mod decide;
mod engine;
mod firing;
mod lease;
mod migration;
mod mutant;
mod steps;

pub mod run;
