//! The requests that are sent.

use std::{sync::Arc, time::Duration};

use crate::{
    driver::{self, Pace},
    support::signer::{Signer, s3_records},
};

pub use crate::driver::{Requests, uploads};

/// The messages of a run.
pub const MESSAGES: usize = 20_000;

/// Signs messages of 200 changes each, of different objects.
pub fn crowded(signer: &Signer, bucket: &str, changes: usize) -> Requests {
    let all: Vec<_> = (0..changes)
        .map(|at| format!("dir-{}/{at}", at % 50))
        .collect();
    let request = |keys: &[String]| {
        let records = keys.iter().map(|key| ("ObjectCreated:Put", key.as_str()));
        let text = s3_records(bucket, &records.collect::<Vec<_>>());
        driver::request(&signer.notification(&text).body())
    };
    all.chunks(200).map(request).collect()
}

/// Sends all requests, one at a time on each connection, and insists on 200. Returns how long it took.
pub async fn send(url: &str, requests: &Requests, connections: usize) -> Duration {
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let requests = Arc::clone(requests);
    let sent = driver::send(address, requests, connections, Pace::Closed).await;
    sent.took
}
