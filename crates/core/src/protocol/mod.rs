//! The decisions of the cluster, as pure functions: no clock, no store, no executor.
//!
//! A firing lives through four of them.
//!
//! ```text
//! JobStore::read_due ─▶ fire::plan ─▶ JobStore::claim ─▶ body ─▶ finish::settle ─▶ JobStore::settle
//!                                                          │
//!            node dies: membership::Observer ─▶ JobStore::take_over ─▶ recover::settle ─▶ JobStore::settle
//! ```
//!
//! The live row that a claim inserts is at once the claim, the record of its owner and the holder of its slot; there is
//! no "acquired" and no "blocked" that a crash could leave behind.

pub mod define;
pub mod finish;
pub mod fire;
pub mod membership;
pub mod recover;
