//! The contract of [`OperationsStore`](purgefront::ports::operations::OperationsStore): dead letters
//! and their replay.

use jiff::Timestamp;
use purgefront::domain::{
    change::{Content, DeadContent, Source},
    history::{DeadLetter, RequestState},
    mapping::Mapping,
    s3_event::ObjectChange,
    wait::{OpenWait, Wait},
};
use uuid::Uuid;

use super::{
    Store,
    fixtures::{ALL, because_of, keys, object_change, only, skip, to_items},
};

stories!(
    dead_letters_come_in_pages_newest_first,
    dead_letters_are_counted_up_to_a_number,
    dead_letters_are_found_by_their_exact_reason,
    a_dead_letter_is_found_by_its_number,
    a_rejected_item_waits_again_for_all_its_changes,
    a_replayed_item_is_sent_under_a_new_reference,
    a_change_without_items_is_mapped_again,
    a_change_with_items_elsewhere_is_mapped_again_for_one_distribution,
    a_change_without_items_that_waits_elsewhere_is_mapped_again,
    a_request_with_items_is_not_mapped_again,
    a_record_becomes_the_change_that_it_now_reads_as,
    each_replay_is_for_its_own_kind,
    a_dropped_dead_letter_is_gone,
    a_number_is_never_given_again,
    a_dead_letter_that_is_gone_cannot_be_replayed_or_dropped,
);

async fn letters(store: &Store) -> Vec<DeadLetter> {
    store.ports.dead_letters(None, ALL).await.unwrap()
}

/// A message whose records cannot be read.
async fn unreadable(store: &Store, contents: &[&str]) -> Uuid {
    store.pass(1);
    let dead = |content: &&str| DeadContent {
        why: "no key".to_owned(),
        content: (*content).to_owned(),
    };
    let message = store.message(Content::Notification {
        changes: Vec::new(),
        dead: contents.iter().map(dead).collect(),
    });
    let id = message.message_id;
    store.ports.accept_message(message).await.unwrap();
    id
}

/// Maps the only unseen change, which ends as a dead letter at E1 and has these items.
async fn cannot_be_mapped(store: &Store, targets: &[(&str, &str)]) {
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        ..to_items(targets)
    };
    store.record(change, mapping).await;
}

async fn dead_letters_come_in_pages_newest_first(store: Store) {
    assert!(letters(&store).await.is_empty());
    unreadable(&store, &["1", "2"]).await;
    let batch = store.frozen("E1", &["3"]).await;
    store.rejected(batch.id).await;
    unreadable(&store, &["4"]).await;
    let store = store.reopened().await;
    let all = letters(&store).await;
    let contents: Vec<_> = all.iter().map(|one| one.content.as_deref()).collect();
    assert_eq!(contents, ["4", "/3", "2", "1"].map(Some));
    let page = async |before| store.ports.dead_letters(before, 3).await.unwrap();
    assert_eq!(page(None).await, all[..3]);
    assert_eq!(page(Some(all[2].id)).await, all[3..]);
    assert!(page(Some(all[3].id)).await.is_empty());
    assert_eq!(page(Some(i64::MAX)).await, all[..3]);
}

async fn dead_letters_are_counted_up_to_a_number(store: Store) {
    let count = async |most| store.ports.count_dead_letters(most).await.unwrap();
    assert_eq!(count(10).await, 0);
    unreadable(&store, &["1", "2", "3"]).await;
    assert_eq!([count(10).await, count(3).await, count(2).await], [3, 3, 2]);
    assert_eq!(count(0).await, 0);
}

async fn dead_letters_are_found_by_their_exact_reason(store: Store) {
    for why in ["no key", "no key\nat all", "no", "no key", "no key"] {
        let dead = DeadContent {
            why: why.to_owned(),
            content: why.to_owned(),
        };
        let message = store.message(Content::Notification {
            changes: Vec::new(),
            dead: vec![dead],
        });
        store.ports.accept_message(message).await.unwrap();
    }
    let all = letters(&store).await;
    let [newest, second, _, broken, oldest] = &all[..] else {
        panic!("{all:?}");
    };
    let page = async |why, before, limit| {
        let read = store.ports.dead_letters_because(why, before, limit);
        read.await.unwrap()
    };
    let three = [newest, second, oldest].map(DeadLetter::clone);
    assert_eq!(page("no key", None, ALL).await, three);
    assert_eq!(page("no key", None, 2).await, three[..2]);
    assert_eq!(page("no key", Some(second.id), 2).await, three[2..]);
    let exactly = page("no key\nat all", None, ALL).await;
    assert_eq!(exactly, std::slice::from_ref(broken));
    assert!(page("no k", None, ALL).await.is_empty());
    let count = async |before, most| {
        let count = store
            .ports
            .count_dead_letters_because("no key", before, most);
        count.await.unwrap()
    };
    assert_eq!((count(None, ALL).await, count(None, 2).await), (3, 2));
    assert_eq!(count(Some(second.id), ALL).await, 1);
}

async fn a_dead_letter_is_found_by_its_number(store: Store) {
    unreadable(&store, &["1", "2"]).await;
    for letter in letters(&store).await {
        let found = store.ports.dead_letter(letter.id).await.unwrap();
        assert_eq!(found, Some(letter));
    }
    let newest = letters(&store).await[0].id;
    for unknown in [newest + 1, i64::MAX, -1] {
        assert_eq!(store.ports.dead_letter(unknown).await.unwrap(), None);
    }
}

async fn a_rejected_item_waits_again_for_all_its_changes(store: Store) {
    store.wait_at("E1", &["a", "b"]).await;
    store.wait_at("E1", &["a"]).await;
    store.wait_at("E2", &["a"]).await;
    let request = store.manual("E1", &["/a"]).await;
    store.map_all(&[]).await;
    let before = store.waiting("E1").await;
    let batch = store.freeze_all("E1").await;
    store.rejected(batch.id).await;
    let state = async |store: &Store| {
        let request = store.ports.request(request).await.unwrap();
        request.unwrap().state
    };
    assert_eq!(state(&store).await, RequestState::Failed);
    let all = letters(&store).await;
    let of_a = all.iter().find(|one| one.content.as_deref() == Some("/a"));
    let of_a = of_a.unwrap().id;
    assert!(store.ports.replay_item(of_a).await.unwrap());
    let store = store.reopened().await;
    let of_a = before.into_iter().filter(|one| one.item.as_str() == "/a");
    assert_eq!(store.waiting("E1").await, of_a.collect::<Vec<_>>());
    assert_eq!(store.waiting_items("E2").await, ["/a"]);
    assert_eq!(letters(&store).await.len(), 1);
    assert_eq!(state(&store).await, RequestState::Accepted);
    store.assert_backlogs(&["E1", "E2"]).await;
}

async fn a_replayed_item_is_sent_under_a_new_reference(store: Store) {
    let batch = store.frozen("E1", &["a"]).await;
    store.rejected(batch.id).await;
    let letter = letters(&store).await.remove(0);
    assert!(store.ports.replay_item(letter.id).await.unwrap());
    let next = store.freeze_all("E1").await;
    assert_ne!(next.caller_reference, batch.caller_reference);
    assert_eq!(store.unresolved().await.len(), 1);
    let detail = store.invalidation(next.id).await;
    assert_eq!(because_of(&detail.items[0].why), ["a"]);
    // It may be rejected again.
    store.rejected(next.id).await;
    let again = letters(&store).await;
    assert_eq!(again.len(), 1);
    assert!(store.ports.replay_item(again[0].id).await.unwrap());
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
}

async fn a_change_without_items_is_mapped_again(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await;
    let both = Mapping {
        dead: vec![
            skip(Some("E1"), "no wildcard allowed"),
            skip(Some("E2"), "no wildcard allowed"),
        ],
        ..Mapping::default()
    };
    store.record(change[0].clone(), both).await;
    let all = letters(&store).await;
    assert_eq!(all.len(), 2);
    assert!(store.ports.replay_item(all[1].id).await.unwrap());
    let store = store.reopened().await;
    assert_eq!(store.unseen().await, change);
    // Mapping decides for every distribution again.
    assert!(letters(&store).await.is_empty());
    assert!(!store.ports.replay_item(all[0].id).await.unwrap());
    cannot_be_mapped(&store, &[]).await;
    assert_eq!(letters(&store).await.len(), 1);
}

/// Only for that of the dead letter, and no other change with it.
async fn a_change_with_items_elsewhere_is_mapped_again_for_one_distribution(store: Store) {
    store.wait_at("E2", &["before"]).await;
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![
            skip(Some("E1"), "no wildcard allowed"),
            skip(Some("E3"), "no wildcard allowed"),
        ],
        ..to_items(&[("E2", "/a")])
    };
    store.record(change.clone(), mapping).await;
    store.wait_at("E2", &["after"]).await;
    let [of_e3, of_e1]: [DeadLetter; 2] = letters(&store).await.try_into().unwrap();
    assert_eq!(of_e1.distribution_id.as_deref(), Some("E1"));
    assert!(store.ports.replay_item(of_e1.id).await.unwrap());
    let store = store.reopened().await;
    assert!(!store.ports.replay_item(of_e1.id).await.unwrap());
    assert!(store.unseen().await.is_empty());
    assert_eq!(letters(&store).await, std::slice::from_ref(&of_e3));
    assert_eq!(store.waiting_items("E2").await, ["/before", "/a", "/after"]);
    let again = Wait::Again("E1".to_owned());
    let open = OpenWait {
        wait: again.clone(),
        first: change.seq,
    };
    assert_eq!(store.leader.open_waits().await.unwrap(), [open]);
    let waiting = store.leader.waiting_changes(&again, i64::MAX, ALL);
    assert_eq!(waiting.await.unwrap(), std::slice::from_ref(&change));
    assert_eq!(store.leader.unmapped().await.unwrap().changes, 1);
    // It has items there now.
    let mapping = to_items(&[("E1", "/a*")]);
    store.record_all(vec![only("E1", change, mapping)]).await;
    assert_eq!(store.waiting_items("E1").await, ["/a*"]);
    assert_eq!(store.waiting_items("E2").await, ["/before", "/a", "/after"]);
    assert_eq!(letters(&store).await, [of_e3]);
    store.assert_backlogs(&["E1", "E2"]).await;
    assert_eq!(store.leader.open_waits().await.unwrap(), []);
    assert_eq!(store.leader.unmapped().await.unwrap().changes, 0);
}

/// Also what it waits for, which mapping finds out again.
async fn a_change_without_items_that_waits_elsewhere_is_mapped_again(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        waits: vec![Wait::Details("E2".to_owned())],
        ..Mapping::default()
    };
    store.record(change.clone(), mapping).await;
    let letter = letters(&store).await.remove(0);
    assert!(store.ports.replay_item(letter.id).await.unwrap());
    assert_eq!(store.leader.open_waits().await.unwrap(), []);
    assert_eq!(store.unseen().await, std::slice::from_ref(&change));
    // The answer that it waited for may have been on its way.
    let late = only("E2", change.clone(), to_items(&[("E2", "/a")]));
    store.record_all(vec![late]).await;
    assert_eq!(store.unseen().await, std::slice::from_ref(&change));
    assert!(store.backlogs(None).await.is_empty());
}

async fn a_request_with_items_is_not_mapped_again(store: Store) {
    store.manual("E2", &["/a"]).await;
    cannot_be_mapped(&store, &[("E2", "/a")]).await;
    let letter = letters(&store).await.remove(0);
    assert!(!store.ports.replay_item(letter.id).await.unwrap());
    assert_eq!(store.leader.open_waits().await.unwrap(), []);
    assert!(store.unseen().await.is_empty());
    assert_eq!(letters(&store).await, [letter]);
    assert_eq!(store.waiting_items("E2").await, ["/a"]);
}

async fn a_record_becomes_the_change_that_it_now_reads_as(store: Store) {
    let message = unreadable(&store, &["1", "2"]).await;
    store.pass(60);
    let time = Some(Timestamp::UNIX_EPOCH);
    let change = ObjectChange {
        time,
        ..object_change("ä b")
    };
    let all = letters(&store).await;
    assert!(store.ports.replay_record(all[1].id, change).await.unwrap());
    let store = store.reopened().await;
    let unseen = store.unseen().await;
    assert_eq!(keys(&unseen), ["ä b"]);
    assert_eq!(unseen[0].source, Source::Message(message));
    // It has to be covered by what is sent from now on.
    assert_eq!(unseen[0].accepted_at, store.now());
    assert_eq!(letters(&store).await, all[..1]);
}

async fn each_replay_is_for_its_own_kind(store: Store) {
    unreadable(&store, &["1"]).await;
    let batch = store.frozen("E1", &["a"]).await;
    store.rejected(batch.id).await;
    let all = letters(&store).await;
    let (item, record) = (all[0].id, all[1].id);
    assert!(!store.ports.replay_item(record).await.unwrap());
    let change = object_change("a");
    assert!(!store.ports.replay_record(item, change).await.unwrap());
    assert_eq!(letters(&store).await, all);
    assert!(store.unseen().await.is_empty());
    assert!(store.backlogs(None).await.is_empty());
}

async fn a_dropped_dead_letter_is_gone(store: Store) {
    unreadable(&store, &["1"]).await;
    let batch = store.frozen("E1", &["a", "b"]).await;
    store.rejected(batch.id).await;
    let all = letters(&store).await;
    assert!(store.ports.drop_dead_letter(all[0].id).await.unwrap());
    assert_eq!(letters(&store).await, all[1..]);
    assert!(store.ports.drop_dead_letter(all[2].id).await.unwrap());
    let store = store.reopened().await;
    assert_eq!(letters(&store).await, all[1..2]);
    assert!(store.backlogs(None).await.is_empty());
    assert!(store.unseen().await.is_empty());
}

async fn a_number_is_never_given_again(store: Store) {
    unreadable(&store, &["1", "2"]).await;
    let dropped = letters(&store).await;
    for letter in &dropped {
        assert!(store.ports.drop_dead_letter(letter.id).await.unwrap());
    }
    let store = store.reopened().await;
    unreadable(&store, &["3"]).await;
    let newer = letters(&store).await;
    assert!(newer[0].id > dropped[0].id, "{newer:?} after {dropped:?}");
}

async fn a_dead_letter_that_is_gone_cannot_be_replayed_or_dropped(store: Store) {
    unreadable(&store, &["1"]).await;
    let batch = store.frozen("E1", &["a"]).await;
    store.rejected(batch.id).await;
    store.events(&["c"]).await;
    cannot_be_mapped(&store, &[]).await;
    let all = letters(&store).await;
    for letter in &all {
        assert!(store.ports.drop_dead_letter(letter.id).await.unwrap());
    }
    for id in all.iter().map(|letter| letter.id).chain([i64::MAX, -1]) {
        assert!(!store.ports.drop_dead_letter(id).await.unwrap());
        assert!(!store.ports.replay_item(id).await.unwrap());
        let change = object_change("a");
        assert!(!store.ports.replay_record(id, change).await.unwrap());
    }
    assert!(store.unseen().await.is_empty());
    assert!(store.backlogs(None).await.is_empty());
}
