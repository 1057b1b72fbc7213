//! Changes that wait for the catalogue hold up neither their other distributions nor other changes,
//! and none is missed by a distribution that turns up.

use std::time::Duration;

use purgefront::domain::catalogue::Caching;

use crate::support::{
    account::{Account, Running},
    inside::in_front_of,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("k{at}")).collect()
}

async fn many_events(running: &Running, bucket: &str, count: usize) {
    let keys = keys(count);
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    running.events(bucket, &keys).await;
}

#[tokio::test]
async fn changes_that_race_a_reading_reach_a_new_distribution() {
    let running = Running::start(&["E1"]).await;
    running.events("site", &["before"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/before"]);
    // The mapper has taken the catalogue, and is about to look for changes.
    let gate = running.inside.store.tap.hold("unseen_changes");
    running.inside.wake();
    running.inside.settle().await;
    running.account.serve("E2", "site");
    running.refresh().await;
    running.events("site", &["after"]).await;
    // Whatever the clock says.
    running.clock.set_back(HOUR);
    running.events("site", &["later"]).await;
    gate.close();
    running.pass(5 * SECOND).await;
    for id in ["E1", "E2"] {
        let items = running.items(id).await;
        assert_eq!(items, ["/after", "/before", "/later"], "{id}");
    }
    assert_eq!(running.unmapped().await, 0);
    running.end().await;
}

#[tokio::test]
async fn a_reading_says_nothing_of_changes_that_come_while_it_runs() {
    let running = Running::start(&["E1"]).await;
    let gate = running.account.hold_lists();
    running.refresh().await;
    assert_eq!(running.account.reads("list"), 2);
    // The list that is on its way does not have it.
    running.account.serve("E2", "new");
    running.events("new", &["a"]).await;
    gate.close();
    running.pass(10 * SECOND).await;
    assert_eq!(running.items("E2").await, ["/a"]);
    assert_eq!(running.account.reads("list"), 3);
    running.end().await;
}

#[tokio::test]
async fn a_clock_set_back_hides_no_change_from_a_new_distribution() {
    let running = Running::start(&["E1"]).await;
    running.clock.set_back(3 * HOUR);
    // The list is read again, because its time is not believed.
    running.pass(MINUTE).await;
    running.events("site", &["a"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/a"]);
    running.account.serve("E2", "site");
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E2").await, ["/a"]);
    running.end().await;
}

#[tokio::test]
async fn a_new_root_object_reaches_what_came_since_the_reading_before() {
    let running = Running::start(&["E1", "E2"]).await;
    running.events("site", &["index.html"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/index.html"]);
    running.account.set_root("E1", "index.html");
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/", "/index.html"]);
    assert_eq!(running.items("E2").await, ["/index.html"]);
    running.end().await;
}

#[tokio::test]
async fn what_was_accepted_before_the_reading_before_is_left_alone() {
    let running = Running::start(&["E1"]).await;
    running.events("site", &["old"]).await;
    running.pass(5 * SECOND).await;
    running.refresh().await;
    running.events("site", &["new"]).await;
    running.account.serve("E2", "site");
    running.refresh().await;
    running.events("site", &["newest"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E2").await, ["/new", "/newest"]);
    assert_eq!(running.items("E1").await, ["/new", "/newest", "/old"]);
    running.end().await;
}

#[tokio::test]
async fn what_was_noted_for_later_is_looked_for_however_long_the_steps_take() {
    let running = Running::start(&["E1"]).await;
    let tap = &running.inside.store.tap;
    running.events("site", &["first"]).await;
    running.pass(5 * SECOND).await;
    let before = tap.calls("open_waits");
    for key in keys(10) {
        // The time passes while a step is written.
        let gate = tap.hold("record_mapping");
        running.events("site", &[&key]).await;
        running.pass(Duration::from_millis(700)).await;
        gate.close();
        running.inside.settle().await;
    }
    let looks = tap.calls("open_waits") - before;
    assert!(looks >= 4, "{looks} in 7 s");
    running.end().await;
}

#[tokio::test]
async fn a_distribution_whose_details_fail_holds_up_nobody_else() {
    let running = Running::start(&["E1", "E2"]).await;
    running.account.fail("E1");
    running.events("site", &["a"]).await;
    running.pass(2 * SECOND).await;
    assert_eq!(running.items("E2").await, ["/a"]);
    assert!(running.items("E1").await.is_empty());
    running.pass(HOUR).await;
    assert_eq!(running.unmapped().await, 1, "it has not ended");
    // Others need no answer any more.
    running.events("site", &["b"]).await;
    assert_eq!(running.items("E2").await, ["/a", "/b"]);
    running.account.heal();
    running.pass(6 * MINUTE).await;
    for id in ["E1", "E2"] {
        assert_eq!(running.items(id).await, ["/a", "/b"], "{id}");
    }
    assert_eq!(running.unmapped().await, 0);
    running.end().await;
}

#[tokio::test]
async fn what_changes_wait_for_is_asked_again_after_a_restart() {
    let running = Running::start(&["E1", "E2"]).await;
    running.account.fail("E1");
    running.events("site", &["a"]).await;
    running.pass(MINUTE).await;
    running.inside.running.stop().await;
    running.account.heal();
    let inside = &running.inside;
    let dispatch = &inside.dispatch;
    let again = dispatch.start(&inside.tasks, purgefront::ports::dispatch::Epoch(2));
    again.await.unwrap();
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/a"]);
    assert_eq!(running.items("E2").await, ["/a"]);
    assert_eq!(running.unmapped().await, 0);
    running.end().await;
}

#[tokio::test]
async fn a_deleted_distribution_asks_for_a_refresh_at_once() {
    let running = Running::start(&["E1", "E2"]).await;
    running.account.delete("E2");
    running.events("site", &["a"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/a"]);
    assert_eq!(running.account.reads("list"), 2);
    assert_eq!(running.unmapped().await, 0, "it needs nothing there");
    running.pass(MINUTE).await;
    assert_eq!(running.account.reads("list"), 2);
    assert_eq!(running.account.reads("details E2"), 1);
    running.end().await;
}

#[tokio::test]
async fn an_answer_looks_only_at_the_changes_that_wait_for_it() {
    const DISTRIBUTIONS: usize = 30;
    const CHANGES: usize = 40;
    let account = Account::default();
    for at in 0..DISTRIBUTIONS {
        account.serve(&format!("E{at}"), &format!("bucket-{at}"));
    }
    let running = Running::with(account).await;
    for at in 0..DISTRIBUTIONS {
        many_events(&running, &format!("bucket-{at}"), CHANGES).await;
    }
    running.pass(MINUTE).await;
    assert_eq!(running.unmapped().await, 0);
    for at in 0..DISTRIBUTIONS {
        let items = running.items(&format!("E{at}")).await;
        assert_eq!(items.len(), CHANGES);
    }
    let tap = &running.inside.store.tap;
    assert_eq!(tap.changes_read("unseen_changes"), DISTRIBUTIONS * CHANGES);
    let looked_at = tap.changes_read("waiting_changes");
    assert!(
        looked_at <= DISTRIBUTIONS * CHANGES,
        "{looked_at} changes were read"
    );
    running.end().await;
}

#[tokio::test]
async fn a_reading_waits_for_no_more_than_one_answer() {
    let account = Account::default();
    for at in 0..30 {
        account.serve(&format!("E{at}"), "site");
    }
    let running = Running::with(account).await;
    running.events("site", &["a"]).await;
    running.pass(2 * SECOND).await;
    running.account.serve("new", "new");
    let before = running.account.all_reads().len();
    running.events("new", &["b"]).await;
    running.pass(MINUTE).await;
    let reads = running.account.all_reads();
    let waited = reads[before..].iter().position(|read| read == "list");
    assert!(waited.unwrap() <= 2, "{reads:?}");
    assert_eq!(running.items("new").await, ["/b"]);
    running.end().await;
}

#[tokio::test]
async fn mapping_again_goes_beside_new_work_people_first() {
    let running = Running::start(&["E1"]).await;
    many_events(&running, "site", 4_000).await;
    running.pass(5 * SECOND).await;
    let gate = running.inside.store.tap.hold("record_remap");
    running.account.serve("E2", "site");
    running.refresh().await;
    running.pass(5 * SECOND).await;
    running.ask("E1", "/person").await;
    running.events("site", &["event"]).await;
    gate.add_permits(1);
    running.pass(SECOND).await;
    let tap = &running.inside.store.tap;
    assert_eq!(tap.calls("record_remap"), 1, "the next step is held");
    let items = running.items("E1").await;
    assert!(
        items.contains(&"/person".to_owned()),
        "a person does not wait"
    );
    assert!(
        items.contains(&"/event".to_owned()),
        "a change does not wait"
    );
    gate.close();
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E2").await.len(), 4_001);
    assert_eq!(running.unmapped().await, 0);
    running.end().await;
}

#[tokio::test]
async fn changes_of_many_distributions_are_mapped_in_small_steps() {
    let account = Account::default();
    for at in 0..200 {
        account.serve(&format!("E{at}"), "site");
    }
    let running = Running::with(account).await;
    running.events("site", &["first"]).await;
    running.pass(3 * MINUTE).await;
    let tap = &running.inside.store.tap;
    let before = tap.calls("record_mapping");
    many_events(&running, "site", 100).await;
    let steps = tap.calls("record_mapping") - before;
    assert!(steps >= 4, "20,000 items in {steps} steps");
    assert_eq!(running.items("E7").await.len(), 101);
    assert_eq!(running.unmapped().await, 0);
    running.end().await;
}

#[tokio::test]
async fn late_distributions_of_a_reading_share_a_pass_over_the_changes() {
    let running = Running::start(&["E1"]).await;
    many_events(&running, "site", 1_500).await;
    running.pass(5 * SECOND).await;
    for at in 0..5 {
        running.account.serve(&format!("L{at}"), "site");
    }
    for at in 5..50 {
        running.account.serve(&format!("L{at}"), "elsewhere");
    }
    running.refresh().await;
    running.pass(10 * SECOND).await;
    for at in 0..5 {
        assert_eq!(running.items(&format!("L{at}")).await.len(), 1_500);
    }
    let tap = &running.inside.store.tap;
    let read = tap.changes_read("changes_to_remap");
    assert!(read < 10_000, "{read} changes were read");
    running.end().await;
}

#[tokio::test]
async fn mapping_again_does_not_stop_at_what_is_missing() {
    let running = Running::start(&["E1"]).await;
    running.events("site", &["a", "b"]).await;
    running.pass(5 * SECOND).await;
    running.account.serve("E2", "site");
    running.account.fail("E2");
    running.refresh().await;
    running.account.serve("E3", "site");
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert_eq!(
        running.items("E3").await,
        Vec::<String>::new(),
        "accepted before"
    );
    running.events("site", &["c"]).await;
    running.account.serve("E4", "site");
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E4").await, ["/c"]);
    assert_eq!(running.items("E3").await, ["/c"]);
    assert!(running.items("E2").await.is_empty());
    assert_eq!(running.unmapped().await, 3);
    running.account.heal();
    running.pass(6 * MINUTE).await;
    assert_eq!(running.items("E2").await, ["/a", "/b", "/c"]);
    assert_eq!(running.unmapped().await, 0);
    running.end().await;
}

#[tokio::test]
async fn a_clock_set_back_delays_no_reading() {
    let running = Running::start(&["E1"]).await;
    running.account.fail("E1");
    running.events("site", &["a"]).await;
    running.pass(5 * MINUTE).await;
    let lists = running.account.reads("list");
    running.account.heal();
    running.clock.set_back(3 * HOUR);
    running.pass(6 * MINUTE).await;
    assert_eq!(running.items("E1").await, ["/a"]);
    running.pass(5 * MINUTE).await;
    assert!(running.account.reads("list") > lists);
    running.end().await;
}

#[tokio::test]
async fn an_unknown_bucket_of_a_wrong_time_asks_for_one_reading() {
    let running = Running::start(&["E1"]).await;
    let gate = running.inside.store.tap.hold("unseen_changes");
    running.events("nobodys", &["a"]).await;
    // It was accepted by a clock that was wrong.
    running.clock.set_back(3 * HOUR);
    gate.close();
    running.pass(MINUTE).await;
    assert_eq!(running.unmapped().await, 0);
    // One for the bucket, and one because the time of the next is not to be believed.
    let lists = running.account.reads("list");
    assert!(lists <= 3, "{lists} readings");
    running.end().await;
}

#[tokio::test]
async fn a_clock_set_back_does_not_prolong_that_a_bucket_is_unknown() {
    let running = Running::start(&["E1"]).await;
    running.events("new", &["a"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.unmapped().await, 0);
    running.account.serve("E2", "new");
    running.clock.set_back(3 * HOUR);
    running.events("new", &["b"]).await;
    running.pass(5 * SECOND).await;
    let items = running.items("E2").await;
    assert!(items.contains(&"/b".to_owned()), "{items:?}");
    running.end().await;
}

#[tokio::test]
async fn a_cache_policy_that_is_the_same_is_not_saved_again() {
    let account = Account::default();
    let mut site = in_front_of("E1", "site.s3.amazonaws.com");
    site.behaviours[0].caching = Caching::Policy("own".to_owned());
    account.put(site);
    let running = Running::with(account).await;
    running.events("site", &["a"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/a*"]);
    let tap = &running.inside.store.tap;
    let (kept, read) = (
        tap.calls("keep_catalogue"),
        running.account.reads("policy own"),
    );
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.account.reads("policy own"), read + 1);
    assert_eq!(tap.calls("keep_catalogue"), kept + 1, "the list alone");
    running.end().await;
}
