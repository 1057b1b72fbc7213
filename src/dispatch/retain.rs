//! Forgets history that was kept long enough, in small steps.

use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::{Context, STORE_PAUSE};

/// How often it looks for something to forget.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// The worker that forgets.
pub(super) struct Retainer {
    context: Context,
    keep: SignedDuration,
}

impl Retainer {
    pub(super) fn new(context: Context, keep: Duration) -> Self {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        Self { context, keep }
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(async move {
            loop {
                let now = self.context.clock.now();
                // More than there is time: nothing is old enough.
                let more = match now.checked_sub(self.keep) {
                    Ok(cutoff) => self.context.store.prune(cutoff).await,
                    Err(_) => Ok(false),
                };
                let pause = match more {
                    Ok(true) => STORE_PAUSE,
                    Ok(false) => LOOK_EVERY,
                    Err(error) => {
                        tracing::warn!(%error, "history is kept a little longer");
                        LOOK_EVERY
                    }
                };
                self.context.clock.sleep_until(now + pause).await;
            }
        })
        .await;
    }
}
