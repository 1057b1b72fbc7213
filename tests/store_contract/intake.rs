//! The contract of [`IntakeStore`](purgefront::ports::intake::IntakeStore).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use jiff::SignedDuration;
use purgefront::domain::change::{Acceptance, Content, DeadContent, NewMessage, Source, Subject};
use uuid::Uuid;

use super::{
    Store,
    fixtures::{ALL, item, keys, notification, object_change},
};

stories!(
    the_signed_timestamp_and_the_id_identify_a_message,
    a_duplicate_adds_nothing,
    copies_in_concurrent_calls_are_kept_once,
    two_hundred_concurrent_calls_are_all_kept,
    each_record_becomes_a_change_in_order,
    unreadable_records_become_dead_letters,
    a_message_may_have_thousands_of_changes,
    each_item_of_a_request_becomes_a_change,
    requests_are_never_duplicates,
    what_was_accepted_is_there_after_a_restart,
    text_is_kept_whatever_characters_it_has,
);

async fn accept(store: &Store, message: &NewMessage) -> Acceptance {
    let accepted = store.ports.accept_message(message.clone()).await;
    accepted.unwrap()
}

async fn the_signed_timestamp_and_the_id_identify_a_message(store: Store) {
    let first = store.message(notification(&["a"]));
    assert_eq!(accept(&store, &first).await, Acceptance::New);
    assert_eq!(accept(&store, &first).await, Acceptance::Duplicate);
    let another_time = NewMessage {
        signed_at: first.signed_at + SignedDuration::from_millis(1),
        ..first.clone()
    };
    assert_eq!(accept(&store, &another_time).await, Acceptance::New);
    let another_id = NewMessage {
        message_id: Uuid::new_v4(),
        ..first.clone()
    };
    assert_eq!(accept(&store, &another_id).await, Acceptance::New);
    store.pass(3_600);
    let later = NewMessage {
        accepted_at: store.now(),
        ..first.clone()
    };
    assert_eq!(accept(&store, &later).await, Acceptance::Duplicate);
    let store = store.reopened().await;
    assert_eq!(accept(&store, &first).await, Acceptance::Duplicate);
    assert_eq!(keys(&store.unseen().await), ["a", "a", "a"]);
}

async fn a_duplicate_adds_nothing(store: Store) {
    let dead = DeadContent {
        why: "no key".to_owned(),
        content: "{}".to_owned(),
    };
    let content = Content::Notification {
        changes: vec![object_change("a")],
        dead: vec![dead],
    };
    let message = store.message(content);
    accept(&store, &message).await;
    accept(&store, &message).await;
    assert_eq!(store.unseen().await.len(), 1);
    assert_eq!(store.ports.count_dead_letters(ALL).await.unwrap(), 1);
    // A duplicate of what has been mapped is not mapped again.
    store.map_all(&["E1"]).await;
    assert_eq!(accept(&store, &message).await, Acceptance::Duplicate);
    assert!(store.unseen().await.is_empty());
}

async fn copies_in_concurrent_calls_are_kept_once(store: Store) {
    let message = store.message(notification(&["a", "b"]));
    let copies = (0..20).map(|_| store.ports.accept_message(message.clone()));
    let answers = join_all(copies).await.into_iter().map(Result::unwrap);
    let new = answers.filter(|answer| *answer == Acceptance::New);
    assert_eq!(new.count(), 1);
    assert_eq!(keys(&store.unseen().await), ["a", "b"]);
}

async fn two_hundred_concurrent_calls_are_all_kept(store: Store) {
    let names: Vec<_> = (0..200).map(|at| format!("k{at}")).collect();
    let messages: Vec<_> = names
        .iter()
        .map(|name| store.message(notification(&[name])))
        .collect();
    let calls = messages
        .iter()
        .map(|message| store.ports.accept_message(message.clone()));
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap(), Acceptance::New);
    }
    let store = store.reopened().await;
    let unseen = keys(&store.unseen().await);
    assert_eq!(unseen.len(), 200);
    assert_eq!(
        unseen.into_iter().collect::<BTreeSet<_>>(),
        names.into_iter().collect()
    );
    let again = messages
        .iter()
        .map(|message| store.ports.accept_message(message.clone()));
    for answer in join_all(again).await {
        assert_eq!(answer.unwrap(), Acceptance::Duplicate);
    }
}

async fn each_record_becomes_a_change_in_order(store: Store) {
    let message = store.message(notification(&["ä b", "b", "c", "b"]));
    accept(&store, &message).await;
    let changes = store.unseen().await;
    assert_eq!(keys(&changes), ["ä b", "b", "c", "b"]);
    assert!(changes.is_sorted_by(|one, next| one.seq < next.seq));
    for change in &changes {
        assert_eq!(change.accepted_at, message.accepted_at);
        assert_eq!(change.source, Source::Message(message.message_id));
        assert!(matches!(&change.subject, Subject::Object { bucket, .. } if bucket == "site"));
    }
}

async fn unreadable_records_become_dead_letters(store: Store) {
    let content = Content::Notification {
        changes: vec![object_change("a")],
        dead: vec![DeadContent {
            why: "no key".to_owned(),
            content: "{\"s3\":{}}".to_owned(),
        }],
    };
    accept(&store, &store.message(content)).await;
    assert_eq!(keys(&store.unseen().await), ["a"]);
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    let [letter] = &letters[..] else {
        panic!("one dead letter, not {letters:?}");
    };
    assert_eq!(
        (letter.kind.as_str(), letter.why.as_str()),
        ("record", "no key")
    );
    assert_eq!(letter.content.as_deref(), Some("{\"s3\":{}}"));
    assert_eq!(letter.created_at, store.now());
    assert_eq!((&letter.distribution_id, &letter.key), (&None, &None));
}

async fn a_message_may_have_thousands_of_changes(store: Store) {
    let names: Vec<_> = (0..5_001).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    accept(&store, &store.message(notification(&names))).await;
    assert_eq!(keys(&store.unseen().await), names);
}

async fn each_item_of_a_request_becomes_a_change(store: Store) {
    let request = store.new_request("E1", &["/a", "/b/*", "#tag"]);
    store.ports.accept_request(request.clone()).await.unwrap();
    let changes = store.unseen().await;
    assert_eq!(changes.len(), 3);
    for (change, text) in changes.iter().zip(["/a", "/b/*", "#tag"]) {
        let subject = Subject::Item {
            distribution_id: "E1".to_owned(),
            item: item(text),
        };
        assert_eq!(change.subject, subject);
        assert_eq!(change.source, Source::Request(request.id));
        assert_eq!(change.accepted_at, request.accepted_at);
    }
}

async fn requests_are_never_duplicates(store: Store) {
    let [first, second] = [(); 2].map(|()| store.new_request("E1", &["/a"]));
    let calls = [first, second].map(|request| store.ports.accept_request(request));
    for answer in join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(keys(&store.unseen().await), ["/a", "/a"]);
}

async fn what_was_accepted_is_there_after_a_restart(store: Store) {
    store.events(&["a"]).await;
    let request = store.manual("E1", &["/b"]).await;
    let before = store.unseen().await;
    let store = store.reopened().await;
    assert_eq!(store.unseen().await, before);
    assert!(store.ports.request(request).await.unwrap().is_some());
}

/// One that cannot be kept would fail all that share its commit.
async fn text_is_kept_whatever_characters_it_has(store: Store) {
    let odd = [
        "a\0b",
        "\u{10FFFF}0",
        "\u{10FFFF}\0\u{10FFFF}",
        "\u{1}\u{FFFD}\u{FEFF}'\"\\ \u{202E}",
    ];
    let mut dead = Vec::new();
    for text in odd {
        dead.push(DeadContent {
            why: text.to_owned(),
            content: text.to_owned(),
        });
    }
    let message = store.message(Content::Notification {
        changes: odd.iter().map(|key| object_change(key)).collect(),
        dead,
    });
    assert_eq!(accept(&store, &message).await, Acceptance::New);
    let mut request = store.new_request("E\0", &["/b"]);
    request.reason = Some("\0".to_owned());
    store.ports.accept_request(request).await.unwrap();
    let unseen = store.unseen().await;
    assert_eq!(keys(&unseen[1..]), odd);
    let Subject::Item {
        distribution_id, ..
    } = &unseen[0].subject
    else {
        panic!("a request's item comes first");
    };
    assert_eq!(distribution_id, "E\0");
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    let contents = letters.iter().rev().map(|one| one.content.as_deref());
    assert_eq!(contents.collect::<Vec<_>>(), odd.map(Some));
}
