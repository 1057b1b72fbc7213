//! Whom the service asks: AWS, whatever anybody sends. Every request of the service goes through
//! the proxy of the tests, over HTTPS or not, which notes whom it is for.

use std::collections::BTreeSet;

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree as _,
    test_runner::{TestRng, TestRunner},
};
use serde_json::json;

use crate::support::{
    aws::FakeAws,
    service::TOKEN,
    signer::{TOPIC, record},
    until,
    world::World,
};

const MESSAGES: usize = 400;

/// What addresses are made of, and what has fooled those who read them.
const PARTS: &[&str] = &[
    "https://",
    "http://",
    "HTTPS://",
    "//",
    "file:///etc/passwd",
    "gopher://",
    "sns.us-east-1.amazonaws.com",
    "sns.us-east-1.amazonaws.com",
    "sns.eu-west-1.amazonaws.com",
    "cloudfront.amazonaws.com",
    "evil.example",
    "evil.example:443",
    "evil.example/",
    "evil.example?",
    "127.0.0.1:9090",
    "169.254.169.254",
    "[::1]",
    "localhost",
    "user:secret@",
    "@",
    ":",
    ":443",
    ":80@",
    "/",
    "\\",
    "#",
    "?",
    "%2f",
    "%00",
    ".",
    "。",
    "\t",
    "\n",
    " ",
    "/FILE",
    "/SimpleNotificationService-",
    "/latest/meta-data/",
    ".pem",
];

fn address() -> impl Strategy<Value = String> {
    let any = vec(select(PARTS), 1..6).prop_map(|parts| parts.concat());
    // What is nearly right gets further than what is not.
    let few = |most: usize| vec(select(PARTS), 0..=most).prop_map(|parts| parts.concat());
    let nearly = (few(2), few(1), few(1)).prop_map(|(user, port, query)| {
        format!("https://{user}sns.us-east-1.amazonaws.com{port}/FILE{query}")
    });
    prop_oneof![any, nearly]
}

#[derive(Debug)]
struct Forgery {
    /// Fields of the message that hold an address, before it is signed.
    fields: Vec<(&'static str, String)>,
    confirmation: bool,
    /// Two that its records, or a request, are made of.
    addresses: [String; 2],
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let field = select(
        &[
            "SigningCertURL",
            "SubscribeURL",
            "UnsubscribeURL",
            "SigningCertUrl",
            "Subject",
            "TopicArn",
            "MessageId",
            "Token",
        ][..],
    );
    let fields = vec((field, address()), 1..4);
    (fields, any::<bool>(), [address(), address()]).prop_map(|(fields, confirmation, addresses)| {
        Forgery {
            fields,
            confirmation,
            addresses,
        }
    })
}

async fn send(world: &World, forgery: &Forgery) {
    let file = &world.signer.file_name;
    let [first, second] = forgery.addresses.clone();
    let mut message = if forgery.confirmation {
        world.signer.subscription_confirmation(&"ab".repeat(112))
    } else {
        let mut strange = record("ObjectCreated:Put", &first, &second);
        strange["awsRegion"] = json!(first);
        strange["s3"]["bucket"]["arn"] = json!(second);
        let bridged = json!({"source": "aws.s3", "detail-type": "Object Created",
            "region": first, "detail": {"bucket": {"name": second}, "object": {"key": first}}});
        let records = json!({"Records": [record("ObjectCreated:Put", "site", &second), strange]});
        let text = if first.len() % 2 == 0 {
            records
        } else {
            bridged
        };
        world.signer.notification(&text.to_string())
    };
    for (field, address) in &forgery.fields {
        message = message.with(field, address.replace("FILE", file));
    }
    let service = &world.service;
    let header = |text: &str| -> String { text.chars().filter(char::is_ascii_graphic).collect() };
    let request = service
        .client
        .post(format!("{}/sns", service.url))
        .header("host", header(&first))
        .header("x-forwarded-host", header(&second))
        .header("x-amz-sns-topic-arn", header(&second))
        .header("referer", header(&first));
    let answer = request.body(message.body()).send().await.unwrap();
    assert_ne!(answer.status(), 500, "{forgery:?}");
    let body = json!({"distribution_id": first, "paths": [format!("/{second}"), second],
        "reason": second, "callback": first});
    let request = service
        .client
        .post(format!("{}/invalidate", service.url))
        .bearer_auth(TOKEN);
    let answer = request.body(body.to_string()).send().await.unwrap();
    assert_ne!(answer.status(), 500, "{forgery:?}");
}

#[tokio::test]
async fn no_outbound_request_has_a_host_from_input() {
    let aws = FakeAws::start().await;
    let proxy = aws.proxy();
    let world = World::start_in(aws, &[("HTTP_PROXY", &proxy)]).await;
    // The same ones in every run, so that a failure can be looked into.
    let rng = TestRng::deterministic_rng(ProptestConfig::default().rng_algorithm);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    for _ in 0..MESSAGES {
        let forgery = forgery().new_tree(&mut runner).unwrap().current();
        send(&world, &forgery).await;
    }
    // Some were SNS's all the same, and what they asked for was done.
    let token = "cd".repeat(112);
    world
        .accepts(world.signer.subscription_confirmation(&token).body())
        .await;
    world.accepts(world.upload().body()).await;
    until("the confirmation and the invalidation", || {
        let confirmed = world.aws.sns.confirmations();
        let all = confirmed.iter().any(|one| one.token == token)
            && world.aws.cloudfront.paths("E1").contains(&"/a".to_owned());
        all.then_some(())
    })
    .await;
    let expected = [
        "cloudfront.amazonaws.com:443",
        // The bucket of the account's own distribution.
        "site.s3.us-east-1.amazonaws.com:443",
        "sns.us-east-1.amazonaws.com:443",
    ];
    assert_eq!(
        world.aws.hosts(),
        BTreeSet::from(expected.map(str::to_owned))
    );
    let topics = world.aws.sns.confirmations();
    assert!(topics.iter().all(|one| one.topic == TOPIC), "{topics:?}");
    let (_, ready) = world.service.ready().await;
    assert_eq!(ready["checks"]["store"]["state"], "ok", "{ready}");
}

/// That a request that is not for AWS would be seen at all.
#[tokio::test]
async fn the_proxy_sees_whom_requests_are_for() {
    let aws = FakeAws::start().await;
    for (proxy, url) in [
        (reqwest::Proxy::https(aws.proxy()), "https://evil.example/x"),
        (
            reqwest::Proxy::http(aws.proxy()),
            "http://169.254.169.254/x",
        ),
    ] {
        let client = reqwest::Client::builder().proxy(proxy.unwrap());
        let answer = client.build().unwrap().get(url).send().await;
        assert!(!answer.is_ok_and(|answer| answer.status().is_success()));
    }
    let expected = ["evil.example:443", "http://169.254.169.254/x"];
    assert_eq!(aws.hosts(), BTreeSet::from(expected.map(str::to_owned)));
}
