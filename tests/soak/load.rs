//! 20,000 notifications over 64 connections.

use super::Pace;
use crate::load::is_taken_kept_and_covered;

const MESSAGES: u32 = 20_000;
const CONNECTIONS: u32 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn twenty_thousand_messages_are_taken_kept_and_covered() {
    let pace = Pace::watch();
    let load = tokio::spawn(is_taken_kept_and_covered(
        MESSAGES as usize,
        CONNECTIONS as usize,
    ));
    let achieved = match load.await {
        Ok(achieved) => achieved,
        Err(error) => return pace.assert(false, error),
    };
    eprintln!(
        "{:.0} messages a second, {:.0} of {CONNECTIONS} requests under way at once",
        f64::from(MESSAGES) / achieved.took.as_secs_f64(),
        achieved.under_way
    );
    assert!(
        achieved.under_way > f64::from(CONNECTIONS) / 2.0,
        "NOT SHOWN: the senders left half of their connections idle"
    );
}
