//! purgefront makes `CloudFront` drop exactly what changed in S3.
//!
//! # The way of a change
//!
//! SNS posts a message to [`http`], which reads it as a [`domain::sns_message`] and believes
//! it only when the certificate and signature say so ([`aws`], behind [`ports::SnsTrust`]).
//! Its text is a [`domain::s3_event`]; every record becomes a [`domain::change`] in the
//! journal of the [`store`]. Only when that is committed and synced does SNS hear 2xx.
//! `POST /invalidate` enters the journal by the same door.
//!
//! Behind the 2xx, [`dispatch`] takes over: it maps the change by the account's
//! [`domain::catalogue`] to items ([`domain::mapping`], spelled by [`domain::path`]), waits
//! until the distribution is due, freezes what waits into a [`domain::batch`], and makes
//! `CloudFront` an invalidation of it ([`aws`], behind [`ports::Cdn`]), which it follows until
//! it is completed.
//!
//! [`app`] puts the parts together by the [`config`]; [`cli`] is what people type.
//!
//! Imports run downwards only: `cli` → `app` → `http` | `dispatch` → `store` | `aws` →
//! `ports` → `domain`. `http` and `dispatch` never meet: they share the store and
//! [`signals`].

pub mod app;
pub mod aws;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod domain;
pub mod http;
pub mod ports;
pub mod printable;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod telemetry;
