//! The state of each part of the process, as reported by readiness.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    /// An operator should look, but accepted work is safe.
    Warn,
    /// The service cannot accept anything.
    Fail,
}

/// A part's state, and what an operator should know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub state: CheckState,
    /// The reason and what to do; empty if the state is `Ok`. May name resources of the account, so it
    /// is only shown to operators.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Check {
    pub fn ok() -> Self {
        Self {
            state: CheckState::Ok,
            detail: String::new(),
        }
    }

    pub fn warn(detail: impl Into<String>) -> Self {
        Self {
            state: CheckState::Warn,
            detail: detail.into(),
        }
    }
}

/// The states of all parts. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Check>>>);

impl Health {
    pub fn ok(&self, part: &'static str) {
        self.report(part, Check::ok());
    }

    pub fn warn(&self, part: &'static str, detail: impl Into<String>) {
        self.report(part, Check::warn(detail));
    }

    /// Reports that the service cannot accept anything.
    pub fn fail(&self, part: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        let state = CheckState::Fail;
        self.report(part, Check { state, detail });
    }

    pub fn checks(&self) -> BTreeMap<&'static str, Check> {
        self.lock().clone()
    }

    fn report(&self, part: &'static str, check: Check) {
        self.lock().insert(part, check);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Check>> {
        // Poisoning is harmless: the only change is an insert.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
