//! Collects what mapping needs from CloudFront and the catalogue does not contain.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{domain::wait::Wait, ports::catalogue::Wanted};

/// Information that is read from CloudFront only when a change needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// The details of the distribution with this id.
    Details(String),
    /// The cache policy with this id.
    Policy(String),
}

impl Question {
    /// The call that answers it.
    pub(super) fn call(&self) -> &'static str {
        match self {
            Self::Details(_) => "GetDistributionConfig",
            Self::Policy(_) => "GetCachePolicy",
        }
    }

    /// What it is about.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Details(id) | Self::Policy(id) => id,
        }
    }
}

/// The questions since the last [`Questions::take`]. They are lost in a restart: what changes wait for
/// is in the store, and is asked again.
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
    /// Distributions of which everything is being invalidated after a change of their origins, with
    /// when that was seen.
    pub(super) cleared: BTreeSet<(String, Timestamp)>,
}

impl Questions {
    pub(super) fn refresh(&self) {
        self.lock().refresh = true;
        self.notify.notify_one();
    }

    /// Asks for what a change waits for.
    pub(super) fn ask(&self, wait: &Wait) {
        let question = match wait {
            Wait::Bucket(_) => return self.refresh(),
            Wait::Details(id) => Question::Details(id.clone()),
            Wait::Policy { policy_id, .. } => Question::Policy(policy_id.clone()),
            Wait::Again(_) => return,
        };
        self.lock().questions.insert(question);
        self.notify.notify_one();
    }

    /// Asks for what the request path wants to know. If it says nothing, it wants the list.
    pub(super) fn ask_wanted(&self, wanted: Wanted) {
        let Wanted { details, policies } = wanted;
        if details.is_empty() && policies.is_empty() {
            return self.refresh();
        }
        let details = details.into_iter().map(Question::Details);
        let policies = policies.into_iter().map(Question::Policy);
        self.lock().questions.extend(details.chain(policies));
        self.notify.notify_one();
    }

    /// Reports that everything of a distribution is being invalidated, so that the change of its
    /// origins which was seen at this time needs nothing more.
    pub(super) fn report_cleared(&self, distribution_id: &str, seen_at: Timestamp) {
        let cleared = (distribution_id.to_owned(), seen_at);
        self.lock().cleared.insert(cleared);
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
