//! 20,000 notifications over 64 connections: all answered 2xx, all journalled, all covered.

use std::{collections::BTreeSet, sync::Arc};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::Setup,
    signer::{Signer, s3_records},
    until,
};

const MESSAGES: usize = 20_000;
const CONNECTIONS: usize = 64;

/// The limits of this test, so that it is about intake and not about CloudFront's patience:
/// 50 calls a second of 1,000 items each, due after 50 ms of quiet or 500 ms, and more items in
/// progress than there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_taken_kept_and_covered() {
    let aws = FakeAws::start().await;
    let signer = Arc::new(Signer::new());
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Arc::new(Setup::new(&aws).start().await);
    let senders = (0..CONNECTIONS).map(|sender| {
        let (service, signer) = (Arc::clone(&service), Arc::clone(&signer));
        tokio::spawn(async move {
            // One sender sends one after the other, over one connection that is kept.
            for at in (sender..MESSAGES).step_by(CONNECTIONS) {
                let text = s3_records("site", &[("ObjectCreated:Put", &format!("key-{at}"))]);
                let answer = service.sns(signer.notification(&text).body()).await;
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let accepted = "purgefront_sns_messages_total{outcome=\"accepted\"}";
    assert_eq!(service.metric(accepted).await, MESSAGES as u64);
    let covered = until("all paths", || {
        let paths = aws.cloudfront.paths("E1");
        (paths.len() >= MESSAGES).then_some(paths)
    })
    .await;
    assert_eq!(covered.len(), MESSAGES, "no path goes out twice");
    let expected: BTreeSet<_> = (0..MESSAGES).map(|at| format!("/key-{at}")).collect();
    assert!(covered.into_iter().collect::<BTreeSet<_>>() == expected);
}
