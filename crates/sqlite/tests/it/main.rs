//! The store on real files: what it does with bad ones, and what several handles and processes see of each other.
// `cfg(test)` says to clippy what cargo knows already: all of this is a test.
#![cfg(test)]

mod bad_files;
mod handles;
mod migrations;
mod poison;
mod processes;
mod smoke;
mod support;
mod within;
