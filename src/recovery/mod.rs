//! Making good what an outage has kept from the service: messages that SNS could not deliver, and
//! changes of objects that it never heard of.

mod redrive;
mod resync;

pub use redrive::{Delivery, Redrive, Redriven, Refused};
pub use resync::Resync;
