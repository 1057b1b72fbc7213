//! Measures how many signed notifications per second the service accepts, commits and answers.
//!
//! `make bench` prints the rate. The sender runs on the same machine as the service, signs messages
//! in advance, and waits for each response.

#![expect(
    clippy::unwrap_used,
    clippy::doc_markdown,
    clippy::needless_pass_by_value,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    clippy::disallowed_methods,
    dead_code,
    reason = "a benchmark measures real time, prints results, and shares the tests' support code"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
};

const MESSAGES: usize = 20_000;

#[tokio::main]
async fn main() {
    let signer = Signer::new();
    for connections in [1, 8, 64, 256] {
        let messages = if connections == 1 {
            MESSAGES / 10
        } else {
            MESSAGES
        };
        let bodies: Vec<_> = (0..messages).map(|at| body(&signer, at)).collect();
        let aws = FakeAws::start().await;
        aws.sns.serve(&signer.file_name, signer.certificate());
        aws.cloudfront.put(Distribution::of("E1", "site"));
        let service = Arc::new(Setup::new(&aws).start().await);
        service.knows_the_catalogue().await;
        let begin = Instant::now();
        let mut times = send(&service, bodies, connections).await;
        let took = begin.elapsed();
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!(
            "{connections:>4} connections: {:>6.0} messages/s; answered within {:.1?} (median), \
             {:.1?} (99 %), {:.1?} (all)",
            f64::from(u32::try_from(messages).unwrap()) / took.as_secs_f64(),
            at(50),
            at(99),
            at(100)
        );
    }
}

fn body(signer: &Signer, at: usize) -> String {
    let text = s3_records("site", &[("ObjectCreated:Put", &format!("key-{at}"))]);
    signer.notification(&text).body()
}

/// Sends all bodies over a number of connections, one at a time on each. Returns the latencies.
async fn send(service: &Arc<Service>, bodies: Vec<String>, connections: usize) -> Vec<Duration> {
    let share = bodies.len().div_ceil(connections);
    let mut senders = Vec::new();
    for bodies in bodies.chunks(share).map(<[String]>::to_vec) {
        let service = Arc::clone(service);
        senders.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(bodies.len());
            for body in bodies {
                let begin = Instant::now();
                let answer = service.sns(body).await;
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
                times.push(begin.elapsed());
            }
            times
        }));
    }
    let times = join_all(senders).await;
    times.into_iter().flat_map(Result::unwrap).collect()
}
