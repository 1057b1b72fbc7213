//! Changes wait for hours, and the service stays small and takes more. Here twenty thousand;
//! `soak::memory` has a million.

use std::{fs, sync::Arc};

use crate::support::{
    Patience,
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
};

const SENDERS: usize = 8;
const RECORDS: usize = 200;

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

/// Sends so many messages of 200 changes each, of which hardly any can go out yet, and returns
/// the most memory that the service took. With `listed`, the bucket can be listed, and paths are merged.
pub async fn wait_while_intake_goes_on(messages: usize, listed: bool) -> u64 {
    let aws = FakeAws::start().await;
    let signer = Arc::new(Signer::new());
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    if listed {
        let unchanged =
            (0..messages).flat_map(|at| (0..40).map(move |nth| format!("dir-{at}/old-{nth}")));
        aws.s3.put("site", unchanged);
    }
    let mut setup = Setup::new(&aws);
    // AWS's own pace: a million changes wait for hours, unless they are merged.
    setup.set_settings("[limits]\npaths_per_day = 0\n");
    let service = Arc::new(setup.start().await);
    service.knows_the_catalogue().await;
    let senders = (0..SENDERS).map(|sender| {
        let (service, signer) = (Arc::clone(&service), Arc::clone(&signer));
        tokio::spawn(async move {
            for at in (sender..messages).step_by(SENDERS) {
                send(&service, &signer, at).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    until_mapped(&service).await;
    // It plans while all of that waits, or while what is left of it does,
    let calls = aws.cloudfront.calls().len();
    let waiting = "purgefront_waiting_items{distribution_id=\"E1\"}";
    let patience = Patience::new();
    while aws.cloudfront.calls().len() <= calls + 1 && service.metric(waiting).await > 0 {
        patience
            .pause("another call, or the end of what waits")
            .await;
    }
    // and takes more.
    let text = s3_records("site", &[("ObjectCreated:Put", "one-more")]);
    let one_more = service.sns(signer.notification(&text).body()).await;
    assert_eq!(one_more.status(), 200);
    peak_mib(&service)
}

async fn send(service: &Service, signer: &Signer, at: usize) {
    let keys: Vec<_> = (0..RECORDS).map(|nth| format!("dir-{at}/{nth}")).collect();
    let records = keys.iter().map(|key| ("ObjectCreated:Put", key.as_str()));
    let text = s3_records("site", &records.collect::<Vec<_>>());
    let answer = service.sns(signer.notification(&text).body()).await;
    assert_eq!(answer.status(), 200);
}

/// Waits for as long as ever more is mapped.
async fn until_mapped(service: &Service) {
    let (mut least, mut patience) = (u64::MAX, Patience::new());
    loop {
        let unmapped = service.metric("purgefront_unmapped_changes").await;
        if unmapped == 0 {
            return;
        }
        if unmapped < least {
            (least, patience) = (unmapped, Patience::new());
        }
        patience.pause(&format!("{unmapped} are not mapped")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_waiting_changes_fit_and_intake_goes_on() {
    let peak = wait_while_intake_goes_on(100, false).await;
    assert!(peak < 100, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_waiting_changes_are_merged_within_as_little() {
    let peak = wait_while_intake_goes_on(100, true).await;
    assert!(peak < 100, "{peak} MiB");
}
