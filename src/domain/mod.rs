//! The rules, as pure functions: no I/O, no clock, no framework.
//!
//! A verified [`sns_message`] holds an [`s3_event`]; each of its records is a [`change`]. The
//! [`catalogue`] knows, by [`origin`], which distributions have the bucket; [`mapping`] gives
//! the items, by the [`behaviour`] that answers for a path, by the owner's [`rules`] (in the
//! language of [`glob`]), spelled by [`path`]; [`consolidate`] picks those of one call, which
//! are frozen into a [`batch`]; [`limits`] says when it may leave, [`resolution`] what follows
//! from CloudFront's answer ([`cdn`]), [`tracking`] what is followed to its end. [`operations`]
//! is what holds sending back, [`status`] what moves and what does not, [`history`] what people
//! are shown afterwards and [`preview`] what they may see before.

pub mod batch;
pub mod behaviour;
pub mod catalogue;
pub mod cdn;
pub mod change;
pub mod consolidate;
pub mod glob;
pub mod history;
pub mod limits;
pub mod mapping;
pub mod operations;
pub mod origin;
pub mod path;
pub mod preview;
pub mod resolution;
pub mod rules;
pub mod s3_event;
pub mod sns_message;
pub mod status;
pub mod subscription;
pub mod topic;
pub mod tracking;
