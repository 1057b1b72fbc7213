//! What readiness says: the state of each part of the service, as a value that any layer
//! may receive.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// How a part of the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Somebody should look, but what is accepted is safe.
    Warn,
    /// The service cannot take anything in.
    Fail,
}

/// A part's state, and what an operator should know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it is.
    pub state: State,
    /// Why, and what to do; empty where all is well. May name things of the account, so it
    /// is shown to operators only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Check {
    /// As it should be.
    pub fn ok() -> Self {
        Self {
            state: State::Ok,
            detail: String::new(),
        }
    }

    /// Something that an operator should look at.
    pub fn warn(detail: impl Into<String>) -> Self {
        Self {
            state: State::Warn,
            detail: detail.into(),
        }
    }
}

/// The state of every part, shared by all who report and all who ask.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Check>>>);

impl Health {
    /// Reports that a part is as it should be.
    pub fn ok(&self, part: &'static str) {
        self.report(part, Check::ok());
    }

    /// Reports something that an operator should look at.
    pub fn warn(&self, part: &'static str, detail: impl Into<String>) {
        self.report(part, Check::warn(detail));
    }

    /// Reports that nothing can be taken in.
    pub fn fail(&self, part: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        let state = State::Fail;
        self.report(part, Check { state, detail });
    }

    /// All parts and their states.
    pub fn checks(&self) -> BTreeMap<&'static str, Check> {
        self.lock().clone()
    }

    fn report(&self, part: &'static str, check: Check) {
        self.lock().insert(part, check);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Check>> {
        // A map insert leaves nothing half done, whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
