//! The store on a real server: each trap of MySQL, MariaDB and their driver that it was built around.
// `cfg(test)` says to clippy what cargo knows already: all of this is a test.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod server;

mod cancelled;
mod cuts;
mod keys;
mod locks;
mod migrations;
mod plans;
mod sessions;
mod smoke;
mod support;
mod within;
