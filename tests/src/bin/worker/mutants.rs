//! Stores that break one rule, so that the harness can show that it would notice.

use std::sync::Arc;

use punctual::JobStore;
use punctual_conformance::faulty::{Broken, Fault};

use crate::blind::{Blind, What};

/// Breaks a store.
///
/// # Errors
/// If there is no such mutant, or the store does not answer.
pub(crate) async fn broken(store: Arc<dyn JobStore>, name: &str) -> crate::Result<Arc<dyn JobStore>> {
    let fault = match name {
        "recovery-ignores-the-beat" => return Ok(Arc::new(Blind::new(store, What::Beats))),
        "check-in-hides-a-rollback" => return Ok(Arc::new(Blind::new(store, What::Rollback))),
        // It is whoever puts the store back that forgets something.
        "epoch-not-raised" => return Ok(store),
        "settle-ignores-the-fence" => Fault::SettleIgnoresTheFence,
        "claim-ignores-the-revision" => Fault::ClaimIgnoresTheRevision,
        "check-in-revives-the-dead" => Fault::CheckInRevivesTheDead,
        "check-in-forgets-owned-rows" => Fault::CheckInForgetsOwnedRows,
        _ => return Err(format!("there is no mutant {name}").into()),
    };
    Ok(Arc::new(Broken::open(store, fault).await?))
}
