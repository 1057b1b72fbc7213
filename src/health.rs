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

/// The state of every part, shared by all who report and all who ask.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Check>>>);

impl Health {
    /// Reports that a part is as it should be.
    pub fn ok(&self, part: &'static str) {
        self.report(part, State::Ok, String::new());
    }

    /// Reports something that an operator should look at.
    pub fn warn(&self, part: &'static str, detail: impl Into<String>) {
        self.report(part, State::Warn, detail.into());
    }

    /// Reports that nothing can be taken in.
    pub fn fail(&self, part: &'static str, detail: impl Into<String>) {
        self.report(part, State::Fail, detail.into());
    }

    /// All parts and their states.
    pub fn checks(&self) -> BTreeMap<&'static str, Check> {
        self.lock().clone()
    }

    fn report(&self, part: &'static str, state: State, detail: String) {
        self.lock().insert(part, Check { state, detail });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Check>> {
        // A map insert leaves nothing half done, whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
