//! Measures how long an idle service takes from its 2xx to CloudFront.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use jiff::Timestamp;

use crate::{
    driver::{self, Pace},
    servers::PINNED,
    support::{aws::FakeAws, cloudfront::Distribution, service::Setup, signer::Signer},
};

/// Sends the messages one by one, each when the one before it has reached CloudFront, and returns the times
/// from the response to the arrival of CreateInvalidation, in microseconds.
///
/// `batching.quiet` is 0, and the quotas leave room. CloudFront's stand-in speaks TLS, as CloudFront does,
/// and runs in this process.
pub async fn measure(signer: &Signer, requests: &[Vec<u8>]) -> Histogram<u64> {
    let aws = FakeAws::start().await;
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    setup.set_settings(
        "[batching]\nquiet = \"0s\"\n[limits]\ncalls_per_second = 100\ncall_burst = 100\n\
         paths_in_progress = 100000\n",
    );
    setup.set_env("RUST_LOG", "info");
    setup.set_wrapper(&PINNED);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let address: SocketAddr = service
        .url
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let mut times = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
    for (at, request) in requests.iter().enumerate() {
        let one: Arc<[_]> = Arc::from(vec![request.clone()]);
        driver::send(address, one, 1, Pace::Closed).await;
        let answered = Timestamp::now();
        let calls = loop {
            let calls = aws.cloudfront.calls();
            if calls.len() > at {
                break calls;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let took = calls[at].at.duration_since(answered);
        let micros = u64::try_from(took.as_micros()).unwrap_or(0);
        times.record(micros).unwrap();
        // Nothing is left to do, and the next call's rate is open.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}
