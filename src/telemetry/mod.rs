//! Logs, health and metrics. Health and metrics are values that are passed to their users.

mod gauges;
mod health;
mod logs;
mod metrics;
mod series;

pub use self::{
    health::{Check, CheckState, Health},
    logs::init,
    metrics::Metrics,
    series::{NOT_ALLOWED, UNREADABLE},
};
