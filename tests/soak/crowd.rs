//! 200 senders that dawdle, 200 that ask for certificates which do not exist, each time another,
//! and 1,000 that all ask for the same ones, at the default rates.

#![expect(
    clippy::disallowed_methods,
    reason = "senders come and wait in real time"
)]

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::Pace;
use crate::{
    crowd::{Counts, Crowd, client, deliver},
    support::{signer::Signer, world::World},
};

/// What SNS gives a delivery, and how long it waits between its default retries, of which there
/// are three (Amazon SNS Developer Guide, "Message delivery retries").
const SNS_WAITS: Duration = Duration::from_secs(15);
const SNS_RETRIES: Duration = Duration::from_secs(20);
const SNS_TRIES: usize = 4;
const CROWD: Crowd = Crowd {
    slow: 200,
    junk: 200,
    // With the others more than `server.max_requests`.
    sharing: 1_000,
    good: 8,
    pause: Duration::ZERO,
    waits: SNS_WAITS,
};
/// How long the crowd is there before somebody comes whose certificate is not known yet.
const BEFORE: Duration = Duration::from_secs(12);
/// README's `sns.cert_fetch_burst`, and `sns.cert_fetches_per_minute` a second.
const BURST: usize = 50;
const PER_SECOND: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn a_crowd_of_hundreds_does_not_keep_others_out() {
    // Every connection has two ends, and one of them is ours.
    rlimit::increase_nofile_limit(8_192).unwrap();
    let world = World::start().await;
    let known = Arc::new(Signer::new());
    world.aws.sns.serve(&known.file_name, known.certificate());
    let url = format!("{}/sns", world.service.url);
    let client = client(SNS_WAITS);
    let deliver =
        async |signer: &Signer| deliver(&client, signer, &url, SNS_TRIES, SNS_RETRIES).await;
    assert_eq!(deliver(&known).await, [200]);

    let counts = Arc::new(Counts::default());
    let pace = Pace::watch();
    let began = Instant::now();
    let mut senders = CROWD.gather(&world, &known, &counts);
    let check = async {
        sleep(BEFORE).await;
        // The world's signer has not sent anything yet.
        let answers = deliver(&world.signer).await;
        let is_in = answers.last() == Some(&200);
        pace.assert(is_in, format!("a new certificate met {answers:?}"));
    };
    tokio::select! {
        () = check => {}
        met = senders.join_next() => pace.assert(false, format!("a sender met {met:?}")),
    }
    let lasted = began.elapsed();
    senders.shutdown().await;

    let seconds = usize::try_from(lasted.as_secs()).unwrap() + 1;
    let most = BURST + PER_SECOND * seconds;
    let fetches = world.aws.sns.all_fetches();
    assert!(fetches <= most, "{fetches} fetches in {lasted:?}");
    assert_eq!(world.service.ready().await.0, 200);
    assert_eq!(world.aws.sns.fetches(&world.signer.file_name), 1);
    let (refused, hung_up_on, taken) = (
        Counts::of(&counts.refused),
        Counts::of(&counts.hung_up_on),
        Counts::of(&counts.taken),
    );
    eprintln!("{fetches} fetches, {refused} refused, {hung_up_on} hung up on, {taken} taken");
    // The crowd was one.
    let crowded = fetches > 2 * BURST && refused > CROWD.junk && hung_up_on >= CROWD.slow / 4;
    pace.assert(crowded, "it was no crowd");
    pace.assert(taken > 100, format!("{taken} taken"));
}
