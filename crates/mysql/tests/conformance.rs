//! The conformance kit on this store: each case has a database of its own.

mod kit;
mod support;

use std::process::ExitCode;

use punctual_core::store::ClaimShape;

fn main() -> ExitCode {
    kit::run("mysql", ClaimShape::SkipLocked)
}
