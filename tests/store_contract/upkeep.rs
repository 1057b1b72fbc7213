//! The contract of [`UpkeepStore`](purgefront::ports::dispatch::UpkeepStore): subscriptions, and the
//! verb `ended_subscriptions`.

use std::time::Duration;

use purgefront::domain::{
    change::{Acceptance, Content, NewMessage},
    sns_message::Token,
    subscription::{ConfirmationResult, PendingConfirmation},
};

use super::{Store, fixtures::notification};

stories!(
    a_subscription_waits_for_its_confirmation,
    the_same_token_is_confirmed_once,
    confirmations_are_ordered_by_their_due_time,
    a_confirmed_subscription_waits_no_more,
    a_subscription_is_given_up,
    an_ended_subscription_is_known_until_a_later_message_comes,
    an_ended_subscription_is_forgotten_once_it_is_confirmed_again,
    a_message_from_before_the_end_does_not_continue_a_subscription,
    a_later_message_that_shares_the_commit_of_the_end_continues_a_subscription,
);

const TOPICS: [&str; 3] = [
    "arn:aws:sns:us-east-1:123456789012:one",
    "arn:aws:sns:us-east-1:123456789012:three",
    "arn:aws:sns:us-east-1:123456789012:two",
];

fn token(digit: char) -> Token {
    Token::new(digit.to_string().repeat(224)).unwrap()
}

async fn accept(store: &Store, topic: &str, content: Content) -> NewMessage {
    let message = NewMessage {
        topic: topic.parse().unwrap(),
        ..store.message(content)
    };
    let accepted = store.ports.accept_message(message.clone()).await;
    accepted.unwrap();
    message
}

async fn invite(store: &Store, topic: &str, digit: char) -> NewMessage {
    store.pass(1);
    let content = Content::SubscriptionConfirmation(token(digit));
    accept(store, topic, content).await
}

async fn pending(store: &Store) -> Vec<PendingConfirmation> {
    store.leader.pending_confirmations().await.unwrap()
}

async fn pending_topics(store: &Store) -> Vec<String> {
    let pending = pending(store).await;
    let topics = pending.iter().map(|one| one.topic.as_str().to_owned());
    topics.collect()
}

async fn record(store: &Store, confirmation: &PendingConfirmation, result: ConfirmationResult) {
    let recorded = store.leader.record_confirmation(confirmation, result);
    recorded.await.unwrap();
}

async fn ended(store: &Store) -> Vec<String> {
    store.ports.ended_subscriptions().await.unwrap()
}

fn confirmed() -> ConfirmationResult {
    ConfirmationResult::Confirmed("arn:aws:sns:us-east-1:123456789012:one:1".to_owned())
}

async fn a_subscription_waits_for_its_confirmation(store: Store) {
    assert!(pending(&store).await.is_empty());
    let message = invite(&store, TOPICS[0], 'a').await;
    let store = store.reopened().await;
    let pending = pending(&store).await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].topic, message.topic);
    assert_eq!(pending[0].token, token('a'));
    assert_eq!(pending[0].signed_at, message.signed_at);
    assert_eq!(pending[0].failures, 0);
    assert!(pending[0].due_at <= store.now(), "it is due at once");
    assert!(store.unseen().await.is_empty());
}

async fn the_same_token_is_confirmed_once(store: Store) {
    invite(&store, TOPICS[0], 'a').await;
    // Another message with the same token, and the same token for another topic.
    invite(&store, TOPICS[0], 'a').await;
    assert_eq!(pending(&store).await.len(), 1);
    invite(&store, TOPICS[1], 'a').await;
    invite(&store, TOPICS[0], 'b').await;
    assert_eq!(pending(&store).await.len(), 3);
    for one in pending(&store).await {
        record(&store, &one, confirmed()).await;
    }
    invite(&store, TOPICS[0], 'a').await;
    assert!(pending(&store).await.is_empty());
}

async fn confirmations_are_ordered_by_their_due_time(store: Store) {
    for topic in TOPICS {
        invite(&store, topic, 'a').await;
    }
    assert_eq!(pending_topics(&store).await, TOPICS);
    let first = pending(&store).await.remove(0);
    let due_at = store.now() + Duration::from_mins(5);
    let why = "throttled".to_owned();
    record(&store, &first, ConfirmationResult::Retry { due_at, why }).await;
    let store = store.reopened().await;
    let order = [TOPICS[1], TOPICS[2], TOPICS[0]];
    assert_eq!(pending_topics(&store).await, order);
    let last = pending(&store).await.remove(2);
    assert_eq!((last.failures, last.due_at), (1, due_at));
    assert_eq!(last.signed_at, first.signed_at);
    let due_at = store.now();
    let why = "throttled".to_owned();
    record(&store, &last, ConfirmationResult::Retry { due_at, why }).await;
    let again = pending(&store).await;
    let again = again.iter().find(|one| one.topic == last.topic).unwrap();
    assert_eq!((again.failures, again.due_at), (2, due_at));
}

async fn a_confirmed_subscription_waits_no_more(store: Store) {
    invite(&store, TOPICS[0], 'a').await;
    invite(&store, TOPICS[1], 'a').await;
    let first = pending(&store).await.remove(0);
    record(&store, &first, confirmed()).await;
    let store = store.reopened().await;
    assert_eq!(pending_topics(&store).await, [TOPICS[1]]);
}

async fn a_subscription_is_given_up(store: Store) {
    invite(&store, TOPICS[0], 'a').await;
    let first = pending(&store).await.remove(0);
    let expired = ConfirmationResult::GivenUp("the token has expired".to_owned());
    record(&store, &first, expired).await;
    assert!(pending(&store).await.is_empty());
    // The owner may subscribe again, with another token.
    invite(&store, TOPICS[0], 'b').await;
    let store = store.reopened().await;
    assert_eq!(pending(&store).await[0].token, token('b'));
}

async fn an_ended_subscription_is_known_until_a_later_message_comes(store: Store) {
    assert!(ended(&store).await.is_empty());
    accept(&store, TOPICS[2], Content::UnsubscribeConfirmation).await;
    accept(&store, TOPICS[0], Content::UnsubscribeConfirmation).await;
    accept(&store, TOPICS[1], notification(&["a"])).await;
    let store = store.reopened().await;
    let mut topics = ended(&store).await;
    topics.sort_unstable();
    assert_eq!(topics, [TOPICS[0], TOPICS[2]]);
    store.pass(1);
    accept(&store, TOPICS[0], notification(&["a"])).await;
    assert_eq!(ended(&store).await, [TOPICS[2]]);
}

async fn an_ended_subscription_is_forgotten_once_it_is_confirmed_again(store: Store) {
    accept(&store, TOPICS[0], Content::UnsubscribeConfirmation).await;
    invite(&store, TOPICS[0], 'a').await;
    assert_eq!(ended(&store).await, [TOPICS[0]]);
    let first = pending(&store).await.remove(0);
    record(&store, &first, confirmed()).await;
    assert!(ended(&store).await.is_empty());
}

async fn a_message_from_before_the_end_does_not_continue_a_subscription(store: Store) {
    store.pass(100);
    let end = accept(&store, TOPICS[0], Content::UnsubscribeConfirmation).await;
    // Both were published before, and delivered late.
    let published = end.signed_at - Duration::from_secs(50);
    for content in [notification(&["a"]), Content::UnsubscribeConfirmation] {
        let late = NewMessage {
            topic: end.topic.clone(),
            signed_at: published,
            ..store.message(content)
        };
        store.ports.accept_message(late).await.unwrap();
        assert_eq!(ended(&store).await, [TOPICS[0]]);
    }
    let between = NewMessage {
        topic: end.topic.clone(),
        signed_at: end.signed_at - Duration::from_secs(10),
        ..store.message(notification(&["b"]))
    };
    store.ports.accept_message(between).await.unwrap();
    assert_eq!(ended(&store).await, [TOPICS[0]]);
}

async fn a_later_message_that_shares_the_commit_of_the_end_continues_a_subscription(store: Store) {
    let end = NewMessage {
        topic: TOPICS[0].parse().unwrap(),
        ..store.message(Content::UnsubscribeConfirmation)
    };
    let later = NewMessage {
        topic: end.topic.clone(),
        signed_at: end.signed_at + Duration::from_secs(1),
        ..store.message(notification(&["a"]))
    };
    let ports = &store.ports;
    let (later, end) = tokio::join!(ports.accept_message(later), ports.accept_message(end));
    assert_eq!(
        (later.unwrap(), end.unwrap()),
        (Acceptance::New, Acceptance::New)
    );
    assert!(ended(&store).await.is_empty());
}
