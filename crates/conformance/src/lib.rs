//! The conformance kit of Punctual: named cases, each of which asserts one sentence of the contract of a store.
//!
//! A store opts in with a [`Harness`] and one line:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use async_trait::async_trait;
//! # use punctual_conformance::{Harness, Space, StoreClock};
//! # use punctual_core::{JobStore, MemoryStore, Result};
//! # struct Memory;
//! # #[async_trait]
//! # impl Harness for Memory {
//! #     fn name(&self) -> &'static str { "memory" }
//! #     fn clock(&self) -> StoreClock { StoreClock::Settable }
//! #     async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
//! #         Ok(Arc::new(MemoryStore::new(space.clock())))
//! #     }
//! # }
//! // tests/conformance.rs, with `harness = false` in Cargo.toml
//! punctual_conformance::conformance!(Memory);
//! ```
//!
//! The kit knows no store: it branches on what a harness can do, never on a name. Cases do not sleep, are not run
//! again when they fail, and run side by side, each in a space of its own.
//!
//! With `PUNCTUAL_CONFORMANCE_REPORT=path` in the environment, a JSON report is written to that path.

mod bench;
mod case;
mod cases;
mod child;
mod contradiction;
pub mod faulty;
mod harness;
mod meeting;
mod mutants;
mod probe;
pub mod report;
mod runner;
pub mod sample;
mod scene;
mod schema;
mod sequence;
mod state;
mod step;
mod target;

pub use self::case::{Case, Need, Section, all_cases};
pub use self::contradiction::Contradiction;
pub use self::harness::{Harness, Plan, Space, Spoil, StoreClock};
pub use self::runner::{check, run};
pub use self::target::{MigrationTarget, Tamper};

/// Makes the `main` of a test target that runs all cases on one harness.
#[macro_export]
macro_rules! conformance {
    ($harness:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run($harness)
        }
    };
}
