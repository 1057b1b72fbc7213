//! Applies deploy windows to the queues.

use jiff::Timestamp;

use super::queues::Queues;
use crate::{
    domain::{
        catalogue::Catalogue,
        hold::{DeployHold, HeldNow},
    },
    ports::{StoreError, dispatch::BatchStore},
};

/// Sets what holds do now, resolved through the catalogue of this moment.
pub(super) async fn apply(
    holds: &[DeployHold],
    catalogue: Option<&Catalogue>,
    now: Timestamp,
    queues: &Queues,
    store: &dyn BatchStore,
) -> Result<(), StoreError> {
    let held_now = HeldNow::resolve(holds, catalogue, now);
    for id in queues.set_holds(held_now) {
        tracing::info!(
            distribution_id = id,
            "no deploy window is open any more: what was gathered is sent"
        );
    }
    for hold in holds.iter().filter(|hold| hold.has_lost_its_end(now)) {
        tracing::warn!(hold = %hold.id, "a deploy window ends: the clock was set back");
        store.end_hold(hold.id, now).await?;
    }
    Ok(())
}
