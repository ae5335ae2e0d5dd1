//! The checker on forged histories: bad ones that it must reject, odd ones that it must accept, and the words that both are
//! told in.
// `cfg(test)` says to clippy what cargo knows already: all of this is a test.
#![cfg(test)]

mod bad_commands;
mod bad_ends;
mod bad_instants;
mod bad_owners;
mod calendars;
mod common;
mod deaths;
mod lateness;
mod odd_but_legal;
mod odd_under_chaos;
mod restored;
mod shapes;
