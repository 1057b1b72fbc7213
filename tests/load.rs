//! Notifications over many connections: all answered 2xx, all journalled, all covered. Here some
//! hundred; `soak::load` sends twenty thousand.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

/// What the senders of a load achieved.
pub struct Achieved {
    pub took: Duration,
    /// How many requests were under way, on average.
    pub under_way: f64,
}

/// Sends so many messages over so many connections, one after the other on each, and returns
/// when all of them are covered. The limits are the tests' own, so that this is about intake and
/// not about CloudFront's patience.
pub async fn is_taken_kept_and_covered(messages: usize, connections: usize) -> Achieved {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Arc::new(Setup::new(&aws).start().await);
    // Signed before, so that what is measured is what the service takes.
    let bodies = (0..messages).map(|at| {
        let text = s3_records("site", &[("ObjectCreated:Put", &format!("key-{at}"))]);
        signer.notification(&text).body()
    });
    let bodies: Vec<_> = bodies.collect();
    let began = now();
    let shares = bodies.chunks(messages.div_ceil(connections));
    let senders = shares.map(|share| tokio::spawn(send(Arc::clone(&service), share.to_vec())));
    let mut under_way = Duration::ZERO;
    for sender in senders.collect::<Vec<_>>() {
        under_way += sender.await.unwrap();
    }
    let took = began.elapsed();
    let accepted = "purgefront_sns_messages_total{outcome=\"accepted\"}";
    assert_eq!(service.metric(accepted).await, messages as u64);
    let covered = until("all paths", || {
        let paths = aws.cloudfront.paths("E1");
        (paths.len() >= messages).then_some(paths)
    })
    .await;
    assert_eq!(covered.len(), messages, "no path goes out twice");
    let expected: BTreeSet<_> = (0..messages).map(|at| format!("/key-{at}")).collect();
    assert!(covered.into_iter().collect::<BTreeSet<_>>() == expected);
    Achieved {
        took,
        under_way: under_way.as_secs_f64() / took.as_secs_f64(),
    }
}

/// How long its requests were under way.
async fn send(service: Arc<Service>, bodies: Vec<String>) -> Duration {
    let mut under_way = Duration::ZERO;
    for body in bodies {
        let sent = now();
        let answer = service.sns(body).await;
        assert_eq!(answer.status(), 200);
        // So that the connection is kept.
        answer.bytes().await.unwrap();
        under_way += sent.elapsed();
    }
    under_way
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_taken_kept_and_covered() {
    is_taken_kept_and_covered(400, 8).await;
}
