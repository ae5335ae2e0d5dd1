//! The traps of PostgreSQL, of its driver and of poolers, one by one.

#[path = "../common/database.rs"]
mod database;

mod cancelled;
mod faults;
mod plans;
mod sessions;
mod support;
mod within;
