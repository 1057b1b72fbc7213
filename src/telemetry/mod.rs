//! What the service says of itself: logs, and health and metrics as values that are handed down.

mod health;
mod logs;
mod metrics;

pub use self::{
    health::{Check, Health, State},
    logs::init,
    metrics::{CallOutcome, Metrics},
};
