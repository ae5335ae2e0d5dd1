//! The conformance kit on this store where conditional writes decide about claims.

mod kit;
mod support;

use std::process::ExitCode;

use punctual_core::store::ClaimShape;

fn main() -> ExitCode {
    kit::run("mysql-cas", ClaimShape::Cas)
}
