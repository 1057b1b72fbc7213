//! A million changes wait.

use super::Pace;
use crate::memory::wait_while_intake_goes_on;

const MESSAGES: usize = 5_000;
const MOST_MIB: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn a_million_waiting_changes_fit_and_intake_goes_on() {
    a_million_fit(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn a_million_waiting_changes_are_merged_within_as_little() {
    a_million_fit(true).await;
}

async fn a_million_fit(listed: bool) {
    let pace = Pace::watch();
    match tokio::spawn(wait_while_intake_goes_on(MESSAGES, listed)).await {
        Ok(peak) => {
            eprintln!("the most memory resident was {peak} MiB");
            assert!(peak < MOST_MIB, "{peak} MiB");
        }
        Err(error) => pace.assert(false, error),
    }
}
