//! The contract of what became of an object's changes.

use jiff::Timestamp;
use purgefront::domain::{
    change::{Asked, Content, NewRequest},
    history::Skipped,
    mapping::Mapping,
    s3_event::ObjectChange,
    story::{
        ChangeQuery, ChangeSource, ChangeState, ChangeStory, EndState, StoryPage, TargetEnd, Viewer,
    },
    tracking::StatusPoll,
    wait::Wait,
};

use super::{
    Store,
    fixtures::{ALL, object_change, skip, to_items, whole},
};

stories!(
    a_change_is_followed_from_the_journal_to_its_completion,
    an_events_own_facts_are_kept,
    a_change_shows_waits_skips_and_dead_letters,
    a_rejected_item_is_a_dead_letter_until_it_is_dropped,
    only_the_changes_of_this_object_are_found,
    changes_are_listed_newest_first_in_pages,
    changes_are_found_in_a_long_journal,
    a_limited_viewer_gets_full_pages_of_what_it_sees,
    a_page_looks_at_a_bounded_number_of_changes,
    a_page_has_a_bounded_number_of_targets,
);

fn query(key: &str) -> ChangeQuery {
    ChangeQuery {
        bucket: "site".to_owned(),
        key: key.to_owned(),
        viewer: None,
        before: None,
        limit: ALL,
    }
}

async fn changes(store: &Store, key: &str) -> Vec<ChangeStory> {
    store.ports.changes(&query(key)).await.unwrap().changes
}

async fn one(store: &Store, key: &str) -> ChangeStory {
    let mut changes = changes(store, key).await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    changes.remove(0)
}

async fn a_change_is_followed_from_the_journal_to_its_completion(store: Store) {
    store.events(&["a", "b"]).await;
    let change = one(&store, "a").await;
    assert_eq!(change.state(), ChangeState::Accepted);
    assert_eq!((change.bucket.as_str(), change.key.as_str()), ("site", "a"));
    assert_eq!(change.accepted_at, store.now());
    store.map_all(&["E1", "E2"]).await;
    assert_eq!(one(&store, "a").await.state(), ChangeState::Waiting);
    let first = store.freeze_all("E1").await;
    store.created(first.id, "I1", true).await;
    assert_eq!(one(&store, "a").await.state(), ChangeState::Waiting);
    let second = store.freeze_all("E2").await;
    assert_eq!(one(&store, "a").await.state(), ChangeState::Pending);
    store.created(second.id, "I2", false).await;
    let change = one(&store, "a").await;
    assert_eq!(change.state(), ChangeState::InProgress);
    let states = change.ends.iter().map(TargetEnd::state);
    let states: Vec<_> = states.collect();
    assert_eq!(states, [EndState::Completed, EndState::InProgress]);
    store.pass(30);
    let poll = store
        .leader
        .record_poll(second.id, StatusPoll::Completed, store.now());
    poll.await.unwrap();
    let now = store.now();
    let store = store.reopened().await;
    let change = one(&store, "a").await;
    assert_eq!(change.state(), ChangeState::Completed);
    let end = &change.ends[1];
    assert_eq!(end.distribution_id.as_deref(), Some("E2"));
    assert_eq!(end.item.as_deref(), Some("/a"));
    assert_eq!(end.because.as_deref(), Some("because of /a"));
    let covering = end.invalidation.as_ref().unwrap();
    assert_eq!(covering.id, second.id);
    assert_eq!(covering.cloudfront_id.as_deref(), Some("I2"));
    assert_eq!(covering.completed_at, Some(now));
    assert!(covering.submitted_at < covering.completed_at);
}

async fn an_events_own_facts_are_kept(store: Store) {
    let time = Timestamp::from_second(1_700_000_000).ok();
    let change = ObjectChange {
        time,
        sequencer: Some("0055AED6DCD90281E5".to_owned()),
        event: "ObjectRemoved:Delete".to_owned(),
        ..object_change("a")
    };
    let message = store.message(Content::Notification {
        changes: vec![change],
        dead: Vec::new(),
    });
    let message_id = message.message_id;
    store.ports.accept_message(message).await.unwrap();
    let expected = ChangeSource::Event {
        event: "ObjectRemoved:Delete".to_owned(),
        message_id,
        sequencer: Some("0055AED6DCD90281E5".to_owned()),
        time,
    };
    assert_eq!(one(&store, "a").await.source, expected);
    // A manual request for the key, after it.
    let request = NewRequest {
        asked: Asked::Keys {
            bucket: "site".to_owned(),
            keys: vec!["a".to_owned()],
            distributions: Some(vec!["E1".to_owned()]),
        },
        ..store.new_request("E1", &[])
    };
    store.ports.accept_request(request.clone()).await.unwrap();
    let newest = changes(&store, "a").await.remove(0);
    let expected = ChangeSource::Manual {
        request_id: request.id,
        token: request.token,
        reason: request.reason,
    };
    assert_eq!(newest.source, expected);
    assert_eq!(newest.only_at.unwrap(), ["E1"]);
}

async fn a_change_shows_waits_skips_and_dead_letters(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        skipped: vec![skip(Some("E2"), "it is disabled")],
        dead: vec![skip(Some("E3"), "only /* would do")],
        waits: vec![Wait::Details("E4".to_owned())],
        ..to_items(&[("E1", "/a")])
    };
    store.record_all(vec![whole(change, mapping)]).await;
    let change = one(&store, "a").await;
    assert_eq!(change.state(), ChangeState::Accepted);
    assert_eq!(change.waits, [Wait::Details("E4".to_owned())]);
    let skipped = Skipped {
        distribution_id: Some("E2".to_owned()),
        why: "it is disabled".to_owned(),
    };
    assert_eq!(change.skipped, [skipped]);
    let ends = change.ends.iter();
    let ends = ends.map(|end| (end.distribution_id.as_deref(), end.state()));
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [
            (Some("E1"), EndState::Waiting),
            (Some("E3"), EndState::DeadLetter)
        ]
    );
    let letter = change.ends[1].dead_letter.as_ref().unwrap();
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    assert_eq!(
        (letter.id, letter.why.as_str()),
        (letters[0].id, "only /* would do")
    );
}

async fn a_rejected_item_is_a_dead_letter_until_it_is_dropped(store: Store) {
    let batch = store.frozen("E1", &["a", "b"]).await;
    store.rejected(batch.id).await;
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    for key in ["a", "b"] {
        let change = one(&store, key).await;
        assert_eq!(change.state(), ChangeState::Failed);
        let letter = change.ends[0].dead_letter.as_ref().unwrap();
        assert_eq!(letter.why, "invalid: a bad path");
        let known = letters.iter().find(|one| one.id == letter.id).unwrap();
        assert_eq!(known.content.as_deref(), change.ends[0].item.as_deref());
        store.ports.drop_dead_letter(letter.id).await.unwrap();
        assert_eq!(one(&store, key).await.ends[0].state(), EndState::Failed);
    }
}

async fn only_the_changes_of_this_object_are_found(store: Store) {
    store
        .events(&["a", "a ", "A", "a%20b", "a b", "é\u{301}", "a"])
        .await;
    store.manual("E1", &["/a"]).await;
    for (key, count) in [
        ("a", 2),
        ("A", 1),
        ("a b", 1),
        ("é\u{301}", 1),
        ("é", 0),
        ("", 0),
    ] {
        assert_eq!(changes(&store, key).await.len(), count, "{key:?}");
    }
    let elsewhere = ChangeQuery {
        bucket: "other".to_owned(),
        ..query("a")
    };
    let elsewhere = store.ports.changes(&elsewhere).await.unwrap();
    assert_eq!(elsewhere, StoryPage::default());
}

async fn changes_are_listed_newest_first_in_pages(store: Store) {
    for _ in 0..5 {
        store.events(&["x", "a", "y"]).await;
    }
    let all = changes(&store, "a").await;
    assert!(all.is_sorted_by(|one, next| one.id > next.id));
    let page = async |before| {
        let query = ChangeQuery {
            before,
            limit: 3,
            ..query("a")
        };
        store.ports.changes(&query).await.unwrap()
    };
    let first = page(None).await;
    assert_eq!(first.changes, all[..3]);
    let rest = page(first.next).await;
    assert_eq!((&rest.changes[..], rest.next), (&all[3..], None));
    // Exactly as many as are left.
    let last = page(Some(all[1].id)).await;
    assert_eq!((&last.changes[..], last.next), (&all[2..], None));
    for before in [all[4].id, -1, i64::MIN] {
        assert_eq!(page(Some(before)).await, StoryPage::default());
    }
}

async fn changes_are_found_in_a_long_journal(store: Store) {
    // More than a search looks at in one step, with the object in several places.
    let others: Vec<_> = (0..10_000).map(|at| format!("other/{at}")).collect();
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    let mut ids = Vec::new();
    for round in 0..15 {
        store.events(&others).await;
        if round % 7 == 0 {
            store.events(&["a"]).await;
            ids.insert(0, store.leader.journal_end().await.unwrap());
        }
    }
    let found = changes(&store, "a").await;
    let found: Vec<_> = found.iter().map(|one| one.id).collect();
    assert_eq!(found, ids);
    assert_eq!(changes(&store, "other/7").await.len(), 15);
}

async fn a_limited_viewer_gets_full_pages_of_what_it_sees(store: Store) {
    for round in 0..12 {
        let id = if round % 3 == 0 { "E1" } else { "E2" };
        store.wait_at(id, &["a"]).await;
    }
    let viewer = Viewer {
        distributions: ["E1".to_owned()].into(),
        serves: false,
    };
    let page = async |before| {
        let query = ChangeQuery {
            viewer: Some(viewer.clone()),
            before,
            limit: 3,
            ..query("a")
        };
        store.ports.changes(&query).await.unwrap()
    };
    let first = page(None).await;
    assert_eq!(first.changes.len(), 3);
    let rest = page(first.next).await;
    assert_eq!((rest.changes.len(), rest.next), (1, None));
    let mut ends = first
        .changes
        .iter()
        .chain(&rest.changes)
        .flat_map(|one| &one.ends);
    assert!(ends.all(|end| end.distribution_id.as_deref() == Some("E1")));
}

/// However many there are that the viewer may not see: what it may see comes on a later page.
async fn a_page_looks_at_a_bounded_number_of_changes(store: Store) {
    store.wait_at("E1", &["a"]).await;
    store.wait_at("E2", &vec!["a"; 2_500]).await;
    let mut query = ChangeQuery {
        viewer: Some(Viewer {
            distributions: ["E1".to_owned()].into(),
            serves: false,
        }),
        limit: 3,
        ..query("a")
    };
    let mut pages = Vec::new();
    loop {
        let page = store.ports.changes(&query).await.unwrap();
        pages.push(page.changes.len());
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(pages, [0, 0, 1]);
}

async fn a_page_has_a_bounded_number_of_targets(store: Store) {
    store.events(&["a"; 10]).await;
    for (at, change) in store.unseen().await.into_iter().enumerate() {
        let count = if at == 0 { 6_000 } else { 900 };
        let ids: Vec<_> = (0..count).map(|id| format!("E{id}")).collect();
        let targets: Vec<_> = ids.iter().map(|id| (id.as_str(), "/a")).collect();
        store.record(change, to_items(&targets)).await;
    }
    let mut query = query("a");
    let mut pages = Vec::new();
    loop {
        let page = store.ports.changes(&query).await.unwrap();
        pages.push(page.changes.iter().map(|one| one.ends.len()).sum::<usize>());
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(pages, [5 * 900, 4 * 900, 6_000]);
}
