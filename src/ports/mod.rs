//! The seams: what the service needs of a store, of AWS and of time, as traits.
//!
//! The store's port is split by who uses it. The request path takes in ([`intake`]); the work
//! behind the 2xx writes through a leader's handle ([`dispatch`]); operators change what is held
//! and look after dead letters ([`operations`]); people read ([`history`]); everybody knows the
//! account by the kept catalogue ([`catalogue`]). Each verb is one transaction: when it returns
//! `Ok`, what it wrote is committed and synced.

pub mod catalogue;
mod cdn;
mod clock;
pub mod dispatch;
mod error;
pub mod history;
pub mod intake;
pub mod operations;
mod sns_trust;
mod wakeups;

pub use self::{
    cdn::Cdn,
    clock::Clock,
    error::StoreError,
    sns_trust::{CertificateCache, ConfirmError, SnsTrust},
    wakeups::{Wakeup, Wakeups},
};
