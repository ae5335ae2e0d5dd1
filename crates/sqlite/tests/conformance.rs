//! The conformance kit on this store.

mod common;

punctual_conformance::conformance!(common::Sqlite);
