//! The memory store says what the contract means; no other store may drift away from it.

use crate::case::cases;
use crate::sequence;

cases! {
    A "sequences";

    /// Whatever steps come one after the other, each is answered as the memory store answers it, and leaves the same behind.
    [Clock]
    async fn are_answered_as_by_the_memory_store(bench) {
        sequence::compare_many(bench).await;
    }
}
