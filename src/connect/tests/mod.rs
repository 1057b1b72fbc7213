//! What is done in which order, and what others may do meanwhile.

mod model;

use proptest::prelude::*;

use self::model::{Model, OWNERS, connector};
use super::*;
use crate::domain::connection::{
    notification::{
        Entry, Kind,
        testing::{entry, of_others},
    },
    plan::testing::connect,
    policy,
};

/// Plans, and does it. Returns what was done, in words.
async fn run(model: &Arc<Model>, wish: &Wish) -> Result<Vec<String>, Error> {
    let connector = connector(model);
    let plan = wish.plan(&connector.look(wish).await?)?;
    let mut told = Vec::new();
    let mut tell = |step: Step<'_>| {
        told.push(match step {
            Step::Done(action) => action.to_string(),
            Step::Waiting(why) => format!("waiting: {why}"),
            Step::Checked => "checked".to_owned(),
        });
    };
    connector.carry_out(wish, &plan, &mut tell).await?;
    Ok(told)
}

fn create() -> Wish {
    Wish::Connect(Connect {
        create_topic: true,
        ..connect()
    })
}

fn remove(all: bool) -> Wish {
    let connect = connect();
    Wish::Disconnect(Disconnect {
        bucket: connect.bucket,
        topic: Some(connect.topic),
        endpoint: connect.endpoint.filter(|_| all),
        delete_queue: all,
        delete_topic: all,
        queue: connect.queue,
    })
}

fn topic() -> SeenTopic {
    SeenTopic {
        policy: Some(OWNERS.to_owned()),
        signature_version: Some("1".to_owned()),
        key: None,
    }
}

fn with_topic() -> Seen {
    let queue = entry(Kind::Queue, "q", "arn:queue", &["s3:LifecycleTransition"]);
    Seen {
        notification: Notification {
            entries: vec![queue],
            event_bridge: true,
        },
        topic: Some(topic()),
        ..Seen::default()
    }
}

#[tokio::test]
async fn everything_is_made_in_order_and_a_second_run_does_nothing() {
    let model = Model::of(Seen::default());
    let told = run(&model, &create()).await.unwrap();
    let starts = [
        "create the topic",
        "set the topic's policy",
        "set the topic's SignatureVersion to 2",
        "create the dead-letter queue site-changes-dead-letters",
        "subscribe https://purge.example/sns, DeliveryPolicy",
        "save the bucket's notifications",
        "checked",
    ];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}");
    }
    // The policy that SNS gave the topic is still there.
    let policy = model.seen().topic.unwrap().policy.unwrap();
    assert!(policy.contains("__default_statement_ID") && policy.contains("PurgefrontS3site"));
    assert_eq!(run(&model, &create()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_topic_is_only_created_when_asked_for() {
    let model = Model::of(Seen::default());
    let refused = run(&model, &Wish::Connect(connect())).await;
    let topic = connect().topic;
    assert_eq!(refused, Err(Error::Refused(Refusal::NoTopic(topic))));
    assert!(model.acts().is_empty());
}

#[tokio::test]
async fn what_has_changed_since_it_was_shown_is_not_overwritten() {
    let model = Model::of(with_topic());
    let wish = create();
    let connector = connector(&model);
    let plan = wish.plan(&connector.look(&wish).await.unwrap()).unwrap();
    model.set(|state| state.seen.notification.event_bridge = false);
    let result = connector.carry_out(&wish, &plan, &mut |_| {}).await;
    assert_eq!(result, Err(Error::Meanwhile));
    assert!(model.acts().is_empty());
}

#[tokio::test]
async fn somebody_who_writes_at_the_same_time_is_noticed() {
    let model = Model::of(with_topic());
    let theirs = entry(Kind::Function, "f", "arn:f", &["s3:ObjectTagging:*"]);
    let theirs = Notification {
        entries: vec![theirs],
        event_bridge: true,
    };
    model.set(|state| state.race = Some(theirs));
    match run(&model, &create()).await {
        Err(Error::Race(lines)) => {
            let added = "\"f\": function arn:f: s3:ObjectTagging:*".to_owned();
            assert!(lines.contains(&Line::Added(added)), "{lines:?}");
            let lost =
                |line: &Line| matches!(line, Line::Removed(text) if text.contains("arn:aws"));
            assert!(lines.iter().any(lost), "{lines:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_s3_shows_late_is_waited_for_but_not_for_ever() {
    for (looks, expected) in [(3, None), (9, Some(Error::NotVisible))] {
        let before = with_topic();
        let model = Model::of(before.clone());
        // Two looks come before the write.
        model.set(|state| state.stale = vec![before.notification; looks + 2]);
        assert_eq!(run(&model, &create()).await.err(), expected);
    }
}

#[tokio::test]
async fn a_new_policy_may_need_a_moment() {
    let model = Model::of(with_topic());
    model.set(|state| state.unsettled = 2);
    let told = run(&model, &create()).await.unwrap();
    let waits = told.iter().filter(|told| *told == "waiting: not yet");
    assert_eq!(waits.count(), 2);
    let model = Model::of(with_topic());
    model.set(|state| state.unsettled = 9);
    match run(&model, &create()).await {
        Err(Error::Call(why)) => assert!(why.starts_with("not yet; S3 tests all"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_out_by_looking() {
    for (done, expected) in [(true, None), (false, Some("no answer"))] {
        let model = Model::of(with_topic());
        model.set(|state| state.lost = Some(done));
        let result = run(&model, &create()).await;
        if let Ok(told) = &result {
            assert_eq!(told[told.len() - 2..], ["waiting: no answer", "checked"]);
        }
        let error = expected.map(|why| Error::Call(why.to_owned()));
        assert_eq!(result.err(), error);
    }
}

#[tokio::test]
async fn disconnecting_takes_away_what_is_ours_alone() {
    let before = with_topic();
    let model = Model::of(before.clone());
    run(&model, &create()).await.unwrap();
    run(&model, &remove(false)).await.unwrap();
    let after = model.seen();
    assert_eq!(after.notification, before.notification);
    let json = |seen: &Seen| {
        let policy = seen.topic.as_ref().unwrap().policy.clone().unwrap();
        serde_json::from_str::<serde_json::Value>(&policy).unwrap()
    };
    assert_eq!(json(&after), json(&before));
    assert!(after.subscription.is_some() && after.queue.is_some());
    assert_eq!(run(&model, &remove(false)).await, Ok(Vec::new()));
    // The rest is ours to delete only when asked.
    run(&model, &remove(true)).await.unwrap();
    let after = model.seen();
    assert_eq!(
        (after.topic, after.subscription, after.queue),
        (None, None, None)
    );
    assert_eq!(run(&model, &remove(true)).await, Ok(Vec::new()));
}

/// Whoever keeps the topic's policy in a template would remove ours.
#[tokio::test]
async fn a_statement_of_others_that_suffices_is_left_alone() {
    let mut template = policy::topic_statement(&connect().topic, "site", "123456789012");
    template["Sid"] = "BucketsPublish".into();
    let mut seen = with_topic();
    let there = seen.topic.as_mut().unwrap();
    there.policy = policy::with(None, &template).unwrap();
    let before = there.policy.clone();
    let model = Model::of(seen);
    let told = run(&model, &create()).await.unwrap();
    assert!(!told.contains(&"set the topic's policy".to_owned()));
    let plan = create().plan(&model.seen()).unwrap();
    assert!(plan.actions.is_empty());
    let notes = plan.notes.join("\n");
    assert!(notes.contains("BucketsPublish"), "{notes}");
    run(&model, &remove(false)).await.unwrap();
    assert_eq!(model.seen().topic.unwrap().policy, before);
}

type Change = fn(&mut Seen, &serde_json::Value);

/// What others use is not deleted, and nothing else is done then.
#[tokio::test]
async fn what_others_use_is_not_deleted() {
    let other_bucket = policy::topic_statement(&connect().topic, "other", "123456789012");
    let cases: [(&str, Change); 5] = [
        ("lets S3 publish for 1 other bucket", |seen, other| {
            let topic = seen.topic.as_mut().unwrap();
            topic.policy = policy::with(topic.policy.as_deref(), other).unwrap();
        }),
        ("the topic: it has 1 other subscription", |seen, _| {
            seen.other_endpoints.push("mail@example.org".to_owned());
        }),
        ("the topic: another entry of the bucket", |seen, _| {
            let theirs = entry(Kind::Topic, "t", connect().topic.as_str(), &["s3:New"]);
            seen.notification.entries.push(theirs);
        }),
        ("it holds about 3 messages", |seen, _| {
            seen.queue.as_mut().unwrap().messages = 3;
        }),
        (
            "the subscription of https://hooks.example may use it",
            |seen, _| {
                let secret = "https://hooks.example/s3cret?t=s3cret".to_owned();
                seen.other_endpoints.push(secret);
            },
        ),
    ];
    for (why, change) in cases {
        let model = Model::of(with_topic());
        run(&model, &create()).await.unwrap();
        model.set(|state| {
            change(&mut state.seen, &other_bucket);
            state.acts.clear();
        });
        let refused = run(&model, &remove(true)).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("cannot delete ") && refused.contains(why),
            "{refused}"
        );
        assert!(!refused.contains("s3cret") && model.acts().is_empty());
    }
}

/// SNS would create it under the same name in the account of the credentials.
#[tokio::test]
async fn a_topic_of_another_account_is_not_created_here() {
    let model = Model::of(Seen::default());
    let wish = Wish::Connect(Connect {
        create_topic: true,
        topic: "arn:aws:sns:us-east-1:210987654321:site-changes"
            .parse()
            .unwrap(),
        ..connect()
    });
    let refused = run(&model, &wish).await.unwrap_err();
    let own = "123456789012".to_owned();
    assert!(
        matches!(&refused, Error::OtherAccount { own: found, .. } if *found == own),
        "{refused}"
    );
    assert!(model.acts().is_empty());
    // Where it is there, the other account has let us use it.
    model.set(|state| state.seen.topic = Some(topic()));
    run(&model, &wish).await.unwrap();
}

#[tokio::test]
async fn our_entry_keeps_its_filter_until_another_one_is_asked_for() {
    let model = Model::of(with_topic());
    let wish = |prefix: Option<&str>, suffix: Option<&str>| {
        Wish::Connect(Connect {
            create_topic: true,
            prefix: prefix.map(str::to_owned),
            suffix: suffix.map(str::to_owned),
            ..connect()
        })
    };
    let filter = || {
        let there = model.seen().notification;
        let ours = there.ours().unwrap();
        (ours.prefix().to_owned(), ours.suffix().to_owned())
    };
    let pair = |prefix: &str, suffix: &str| (prefix.to_owned(), suffix.to_owned());
    run(&model, &wish(Some("docs/"), Some(".html")))
        .await
        .unwrap();
    // What another fault has taken away is mended by a connect without a filter.
    model.set(|state| state.seen.topic = Some(topic()));
    let plan = wish(None, None).plan(&model.seen()).unwrap();
    assert_eq!(
        plan.notes[..2],
        [
            "our entry keeps its prefix \"docs/\"; --prefix \"\" removes it",
            "our entry keeps its suffix \".html\"; --suffix \"\" removes it",
        ]
    );
    run(&model, &wish(None, None)).await.unwrap();
    assert_eq!(filter(), pair("docs/", ".html"));
    run(&model, &wish(Some(""), None)).await.unwrap();
    assert_eq!(filter(), pair("", ".html"));
    run(&model, &wish(Some("a/"), Some(""))).await.unwrap();
    assert_eq!(filter(), pair("a/", ""));
    let plan = wish(Some("a/"), Some("")).plan(&model.seen()).unwrap();
    assert!(plan.actions.is_empty() && plan.notes.is_empty());
}

/// The changes of a bucket that is still connected need the subscription, and its queue.
#[tokio::test]
async fn a_subscription_that_others_need_stays() {
    let others: [fn(&mut Seen); 2] = [
        |seen| {
            let other = policy::topic_statement(&connect().topic, "other", "123456789012");
            let topic = seen.topic.as_mut().unwrap();
            topic.policy = policy::with(topic.policy.as_deref(), &other).unwrap();
        },
        |seen| {
            let theirs = entry(Kind::Topic, "t", connect().topic.as_str(), &["s3:New"]);
            seen.notification.entries.push(theirs);
        },
    ];
    let wish = |delete_queue| match remove(true) {
        Wish::Disconnect(wanted) => Wish::Disconnect(Disconnect {
            delete_topic: false,
            delete_queue,
            ..wanted
        }),
        Wish::Connect(_) => unreachable!("it is a disconnect"),
    };
    for change in others {
        let model = Model::of(with_topic());
        run(&model, &create()).await.unwrap();
        model.set(|state| change(&mut state.seen));
        let before = model.seen();
        let refused = run(&model, &wish(true)).await.unwrap_err().to_string();
        assert!(refused.contains("the topic is still in use"), "{refused}");
        assert_eq!(model.seen(), before);
        let plan = wish(false).plan(&before).unwrap();
        let stays = "the subscription of https://purge.example/sns and its dead-letter queue stay";
        assert!(
            plan.notes.iter().any(|note| note.starts_with(stays)),
            "{:?}",
            plan.notes
        );
        run(&model, &wish(false)).await.unwrap();
        let after = model.seen();
        assert_eq!(after.notification.ours(), None);
        assert_eq!(
            (after.subscription, after.queue),
            (before.subscription, before.queue)
        );
    }
}

#[tokio::test]
async fn a_topic_that_already_gets_some_events_gets_the_rest() {
    let mut seen = with_topic();
    let manual = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"];
    let manual = entry(Kind::Topic, "manual", connect().topic.as_str(), &manual);
    seen.notification.entries.push(manual.clone());
    let model = Model::of(seen);
    run(&model, &create()).await.unwrap();
    let after = model.seen().notification;
    assert!(after.entries.contains(&manual));
    let ours = after.ours().unwrap();
    assert_eq!(ours.events.len(), 5);
    assert!(
        !ours
            .events
            .iter()
            .any(|event| manual.events.contains(event))
    );
    assert_eq!(run(&model, &create()).await, Ok(Vec::new()));
    // S3 needs our statement for that entry as well.
    run(&model, &remove(false)).await.unwrap();
    let seen = model.seen();
    assert!(seen.notification.entries.contains(&manual));
    assert!(
        seen.topic
            .unwrap()
            .policy
            .unwrap()
            .contains("PurgefrontS3site")
    );
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    let plan = |change: fn(&mut Seen)| {
        let mut seen = with_topic();
        change(&mut seen);
        create().plan(&seen)
    };
    let refused = |change| plan(change).unwrap_err().to_string();
    let text = refused(|seen| seen.topic.as_mut().unwrap().key = Some("alias/aws/sns".into()));
    assert!(text.contains("kms:GenerateDataKey"), "{text}");
    let text = refused(|seen| seen.topic.as_mut().unwrap().policy = Some("[".into()));
    assert!(text.contains("cannot be read"), "{text}");
    let text = refused(|seen| {
        let taken = entry(Kind::Queue, "purgefront", "arn:q", &["s3:ObjectCreated:*"]);
        seen.notification.entries.push(taken);
    });
    assert!(text.contains("sends to a queue"), "{text}");
    let text = refused(|seen| {
        let all = entry(Kind::Function, "all", "arn:f", &["s3:ObjectCreated:*"]);
        seen.notification.entries.push(all);
    });
    assert!(
        text.contains("S3 would refuse") && text.contains("EventBridge: It is on"),
        "{text}"
    );
    // What may work is only noted.
    let planned = plan(|seen| {
        seen.topic.as_mut().unwrap().key = Some("alias/mine".into());
        seen.other_endpoints.push("https://old.example".into());
    });
    let notes = planned.unwrap().notes.join("\n");
    assert!(
        notes.contains("alias/mine") && notes.contains("SignatureVersion 1"),
        "{notes}"
    );
}

#[test]
fn a_subscription_that_waits_is_asked_to_be_confirmed_again() {
    let mut seen = with_topic();
    seen.subscription = Some(SeenSubscription {
        arn: None,
        attributes: BTreeMap::new(),
    });
    let plan = create().plan(&seen).unwrap();
    let subscribes = |action: &Action| matches!(action, Action::Subscribe { .. });
    assert!(!plan.actions.iter().any(subscribes));
    let asks = |action: &&Action| matches!(action, Action::AskAgain { .. });
    assert_eq!(plan.actions.iter().filter(asks).count(), 1);
    assert!(plan.notes[0].contains("sns.topics"), "{:?}", plan.notes);
    let plan = remove(true);
    let Wish::Disconnect(wanted) = plan else {
        unreachable!("it is a disconnect")
    };
    let wanted = Disconnect {
        delete_topic: false,
        ..wanted
    };
    let plan = undo::disconnect(&wanted, &seen).unwrap();
    assert!(plan.actions.is_empty() && plan.notes[0].contains("never confirmed"));
}

fn is_ours(entry: &Entry) -> bool {
    Notification::is_ours(entry)
}

proptest! {
    /// Whatever others have: either nothing is planned, or one run and a second one, and a
    /// disconnect, leave it as it was.
    #[test]
    fn others_keep_what_they_have(before in of_others(), prefix in "[a-c]{0,2}", suffix in "[a-c]?") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = Seen { notification: before.clone(), ..with_topic() };
        let model = Model::of(seen);
        let wish = Wish::Connect(Connect { prefix: Some(prefix), suffix: Some(suffix), ..connect() });
        match runtime.block_on(run(&model, &wish)) {
            Err(Error::Refused(Refusal::Overlap(_))) => prop_assert!(model.acts().is_empty()),
            other => {
                prop_assert!(other.is_ok(), "{:?}", other);
                let there = model.seen().notification;
                let others: Vec<_> = there.entries.iter().filter(|one| !is_ours(one)).collect();
                prop_assert_eq!(others, before.entries.iter().collect::<Vec<_>>());
                prop_assert_eq!(there.event_bridge, before.event_bridge);
                prop_assert_eq!(runtime.block_on(run(&model, &wish)), Ok(Vec::new()));
                runtime.block_on(run(&model, &remove(false))).unwrap();
                prop_assert_eq!(model.seen().notification, before);
            }
        }
    }
}
