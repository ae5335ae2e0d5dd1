//! The kit on the memory store.

mod common;

punctual_conformance::conformance!(common::Memory::default());
