//! purgefront invalidates in CloudFront exactly what changed in S3.
//!
//! # The way of a change
//!
//! SNS posts a message to [`http`], which parses it as a [`domain::sns_message`] and verifies its
//! certificate and signature ([`aws`], behind [`ports::SnsTrust`]). Its text is a
//! [`domain::s3_event`], whose records become [`domain::change`]s in the journal of the [`store`].
//! SNS gets a 2xx only when these are committed and synced. `POST /invalidate` adds its changes to
//! the same journal.
//!
//! After the 2xx, [`dispatch`] takes over. It maps each change with the account's
//! [`domain::catalogue`] to items ([`domain::mapping`], spelled by [`domain::path`]), waits until
//! the distribution is due, plans ([`domain::consolidate`]) and freezes a [`domain::batch`], and
//! sends it to CloudFront ([`aws`], behind [`ports::Cdn`]). [`domain::resolution`] decides what
//! follows from the answer, and the invalidation is tracked until it completes. Whoever wants to be told
//! of that gets a [`domain::notice`] ([`webhook`], behind [`ports::NoticeSender`]).
//!
//! Before any of it, [`connect`] makes S3 and SNS send a bucket's changes here, and [`doctor`] checks
//! whether all of it is in place. After an outage, [`recovery`] makes up for what did not arrive.
//!
//! [`app`] builds all of this from the [`config`], [`shutdown`] supervises its tasks, and [`cli`]
//! has the commands. `docs/architecture.md` has a drawing, what each step guarantees, and where to
//! look when something is wrong.
//!
//! # Imports
//!
//! Imports run downwards only: `cli` → `app` → `http` | `dispatch` | `store` | `aws` → `ports` →
//! `domain`. `http` and `dispatch` use neither each other nor `store` and `aws`: they meet in the
//! [`ports`].

pub mod addresses;
pub mod app;
pub mod aws;
pub mod cli;
pub mod config;
pub mod connect;
pub mod dispatch;
pub mod doctor;
pub mod domain;
pub mod http;
pub mod ports;
pub mod printable;
pub mod recovery;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod webhook;
