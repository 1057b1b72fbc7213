//! SNS's one request to confirm a subscription may be lost: `purgefront connect` has it sent again.

use crate::support::connecting::{Account, TOPIC};

const ENDPOINT: &str = "https://purge.example/sns";

fn connect(account: &Account, more: &[&str]) -> (Option<i32>, String, String) {
    let words = [&["connect", "site", "--topic", TOPIC], more].concat();
    account.setup().run(&words)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_confirmation_is_sent_again() {
    let account = Account::start().await;
    let more = ["--endpoint", ENDPOINT, "--yes"];
    let (code, said, complaint) = connect(&account, &more);
    assert_eq!(code, Some(0), "{said}{complaint}");
    let there = account.things();
    let subscribes = |account: &Account| {
        let calls = account.calls().into_iter();
        calls.filter(|call| call == "sns:Subscribe").count()
    };
    assert_eq!(subscribes(&account), 1);
    assert_eq!(account.state().confirmations, 1);
    // With the same attributes, or, if it was subscribed with others, without any.
    let slower = [&more[..], &["--max-receives-per-second", "7"]].concat();
    for (again, more, calls) in [(2, &more[..], 1), (3, &slower[..], 2)] {
        let (code, said, complaint) = connect(&account, more);
        assert_eq!(code, Some(0), "{said}{complaint}");
        let todo = format!("to do    ask SNS to send the confirmation to {ENDPOINT} again\n");
        assert_eq!(said.matches("to do ").count(), 1, "{said}");
        assert!(said.contains(&todo), "{said}");
        assert_eq!(account.things(), there);
        assert_eq!(account.state().confirmations, again);
        assert_eq!(subscribes(&account), calls);
    }
}
