//! Two ways to see what a real cluster shows too rarely.
//!
//! [`model`] goes through every state of a small cluster, with the protocol written down anew, statement by statement.
//! [`simulation`] runs the real nodes on real stores under virtual time and injected faults, one seed after the other.

pub mod model;
pub mod simulation;
