//! Collects what mapping needs from CloudFront and the catalogue does not contain.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::domain::mapping::MissingKnowledge;

/// Information that is read from CloudFront only when a change needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// The details of the distribution with this id.
    Details(String),
    /// The cache policy with this id.
    Policy(String),
}

/// The questions since the last [`Questions::take`]. They are lost in a restart: the changes that
/// need the answers are still parked, and ask again.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<Asked>,
    notify: Notify,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Whether to read the list of distributions again.
    pub(super) refresh: bool,
    pub(super) questions: BTreeSet<Question>,
}

impl Questions {
    pub(super) fn refresh(&self) {
        self.lock().refresh = true;
        self.notify.notify_one();
    }

    pub(super) fn ask(&self, missing: MissingKnowledge) {
        let details = missing.details.into_iter().map(Question::Details);
        let policies = missing.policies.into_iter().map(Question::Policy);
        self.lock().questions.extend(details.chain(policies));
        self.notify.notify_one();
    }

    pub(super) fn take(&self) -> Asked {
        mem::take(&mut self.lock())
    }

    /// Returns when there are new questions.
    pub(super) async fn asked(&self) {
        self.notify.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
