//! The domain logic, as pure functions: no I/O, no clock, no framework.
//!
//! A verified [`sns_message`] (a [`json`] object) contains an [`s3_event`], whose records become [`change`]s. The
//! [`catalogue`] finds the distributions that serve a bucket by their [`origin`]s. [`mapping`]
//! turns a key into items, using the cache [`behaviour`] of each path and the configured
//! [`rules`] (whose patterns are [`glob`]s); [`path`] spells the items. Where the catalogue knows too
//! little, the change has to [`wait`]. [`consolidate`] merges paths into wildcards where that costs less, and
//! selects the items of one call, which are frozen into a [`batch`]; [`economy`] says what an eviction may cost, and
//! the [`ledger`] what the month has cost already. A [`survey`] finds out what
//! there is that has not changed. [`limits`] decides when it may be sent, and [`resolution`] what follows from
//! CloudFront's answer ([`cdn`]). [`tracking`] selects the invalidations that are polled until they
//! complete, at the times that are [`due`], and [`subscription`] describes those of a [`topic`].
//! [`operations`] is what holds back sending, [`hold`] what gathers the changes of a deployment (for a
//! [`duration`]), and [`status`] the state of the work. [`history`] shows what happened, [`story`] what
//! became of one object's changes, [`overview`] how each distribution stands. A [`notice`] tells what
//! happened, [`preview`] shows what would happen, and [`store_check`] whether the store is sound.
//! [`connection`] is what makes S3 and SNS send a bucket's changes, and [`doctor`] judges whether all of
//! it is in place. A [`queue`] has the messages that SNS could not deliver, and a [`resync`] finds what
//! may be stale after an outage.

pub mod batch;
pub mod behaviour;
pub mod catalogue;
pub mod cdn;
pub mod change;
pub mod connection;
pub mod consolidate;
pub mod doctor;
pub mod due;
pub mod duration;
pub mod economy;
mod event_filter;
pub mod event_names;
pub mod glob;
pub mod history;
pub mod hold;
pub mod json;
pub mod ledger;
pub mod limits;
pub mod mapping;
pub mod notice;
pub mod operations;
pub mod origin;
pub mod overview;
pub mod path;
pub mod preview;
pub mod propagation;
pub mod queue;
pub mod resolution;
pub mod resync;
pub mod rules;
pub mod s3_event;
pub mod skip_label;
pub mod sns_message;
pub mod status;
pub mod store_check;
pub mod store_location;
pub mod story;
pub mod subscription;
pub mod survey;
pub mod topic;
pub mod tracking;
pub mod unused;
pub mod wait;
