//! Making good what an outage has kept from the service: messages that SNS could not deliver, and
//! changes of objects that it never heard of.

mod redrive;

pub use redrive::{Delivery, Redrive, Redriven, Refused};
