//! What the service says of itself: logs, and metrics as a value that is handed down.

mod logs;
mod metrics;

pub use self::{
    logs::init,
    metrics::{CallOutcome, Metrics},
};
