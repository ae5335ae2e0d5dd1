//! Waiting for a server. Not the injected clock: that one is a node's, and a store that shares it with a test must still
//! give up a connection that has died.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::Failure;

/// Since when something is waited for.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits a moment.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Waits for an answer, but no longer than `span`.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub(crate) async fn within<T>(
    span: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(span, answer).await.unwrap_or(Err(Failure::Silent))
}
