//! A million changes wait, and the service stays small and takes more.

use std::{fs, sync::Arc};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    pause,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

const MESSAGES: usize = 5_000;
const RECORDS: usize = 200;
const MOST_MIB: u64 = 150;

/// The most memory that the service ever had resident.
fn peak_mib(service: &Service) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_waiting_changes_fit_and_intake_goes_on() {
    let aws = FakeAws::start().await;
    let signer = Arc::new(Signer::new());
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    // AWS's own pace: a million changes wait for hours.
    setup.set_settings("[limits]\npaths_per_day = 0\n");
    let service = Arc::new(setup.start().await);
    service.knows_the_catalogue().await;
    let senders = (0..8).map(|sender| {
        let (service, signer) = (Arc::clone(&service), Arc::clone(&signer));
        tokio::spawn(async move {
            for at in (sender..MESSAGES).step_by(8) {
                let keys: Vec<_> = (0..RECORDS).map(|nth| format!("dir-{at}/{nth}")).collect();
                let records = keys.iter().map(|key| ("ObjectCreated:Put", key.as_str()));
                let text = s3_records("site", &records.collect::<Vec<_>>());
                let answer = service.sns(signer.notification(&text).body()).await;
                assert_eq!(answer.status(), 200);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let waiting = "purgefront_waiting_items{distribution_id=\"E1\"}";
    let all = MESSAGES * RECORDS;
    let mapped = || async { service.metric(waiting).await };
    let mut patience = 0;
    while mapped().await + (aws.cloudfront.paths("E1").len() as u64) < all as u64 {
        pause().await;
        patience += 1;
        assert!(
            patience < 9_000,
            "not all is mapped: {} of {all}",
            mapped().await
        );
    }
    // It plans while all of that waits,
    let calls = aws.cloudfront.calls().len();
    until("another call", || {
        (aws.cloudfront.calls().len() > calls + 1).then_some(())
    })
    .await;
    // and takes more.
    let text = s3_records("site", &[("ObjectCreated:Put", "one-more")]);
    assert_eq!(
        service
            .sns(signer.notification(&text).body())
            .await
            .status(),
        200
    );
    let peak = peak_mib(&service);
    eprintln!("{all} changes wait; the most memory resident was {peak} MiB");
    assert!(peak < MOST_MIB, "{peak} MiB");
}
