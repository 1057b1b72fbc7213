//! Wake-ups within one process, with one `Notify` per kind.

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::ports::{Wakeup, Wakeups};

#[derive(Debug, Default)]
pub struct LocalWakeups([Notify; Wakeup::ALL.len()]);

impl LocalWakeups {
    fn of(&self, wakeup: Wakeup) -> &Notify {
        &self.0[wakeup as usize]
    }
}

#[async_trait]
impl Wakeups for LocalWakeups {
    fn wake(&self, wakeup: Wakeup) {
        self.of(wakeup).notify_one();
    }

    async fn woken(&self, wakeup: Wakeup) {
        self.of(wakeup).notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn each_kind_wakes_only_its_waiter_and_only_once() {
        let wakeups = LocalWakeups::default();
        for given in Wakeup::ALL {
            wakeups.wake(given);
            wakeups.wake(given);
            for waited_for in Wakeup::ALL {
                let woken = poll!(wakeups.woken(waited_for)).is_ready();
                assert_eq!(woken, waited_for == given, "{given:?}, {waited_for:?}");
            }
            assert!(poll!(wakeups.woken(given)).is_pending(), "once");
        }
    }
}
