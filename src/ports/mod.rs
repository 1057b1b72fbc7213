//! The ports: what the service needs of a store, of AWS and of a clock, as traits.
//!
//! The store has one port per kind of user: the request path ([`intake`]), the background work
//! through the leader's handle ([`dispatch`]), operators ([`operations`]), and the API's reads
//! ([`history`]). All of them use the saved [`catalogue`]. Each method is one transaction: when it
//! returns `Ok`, its writes are committed and synced to disk.

pub mod catalogue;
mod cdn;
mod clock;
pub mod connection;
pub mod coverage;
pub mod dead_letter_queue;
pub mod dispatch;
pub mod doctor;
mod error;
mod free_space;
pub mod history;
pub mod intake;
pub mod key_listing;
pub mod leadership;
mod notices;
pub mod object_listing;
pub mod operations;
mod sns_trust;
mod wakeups;

pub use self::{
    cdn::Cdn,
    clock::Clock,
    error::StoreError,
    free_space::FreeSpace,
    notices::{NoticeSender, NoticeStore},
    sns_trust::{CertificateCache, ConfirmError, SnsTrust},
    wakeups::{Wakeup, Wakeups},
};
