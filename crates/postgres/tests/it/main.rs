//! The traps of PostgreSQL, of its driver and of poolers, one by one.
// `cfg(test)` says to clippy what cargo knows already: all of this is a test.
#![cfg(test)]

#[path = "../common/database.rs"]
mod database;

mod cancelled;
mod faults;
mod histories;
mod migrating;
mod migrations;
mod plans;
mod sessions;
mod support;
mod within;
