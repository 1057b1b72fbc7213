//! `purgefront connect` and `disconnect` against an account with AWS's rules: what others have set
//! up is still there afterwards, byte for byte.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::connecting::{Account, Attributes, OWNER, OWNERS_POLICY, TOPIC, Things};

const ENDPOINT: &str = "https://purge.example/sns";
const OTHER_TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:others";
const QUEUE: &str = "site-changes-dead-letters";

/// What others have: a topic, a queue with a rule as the S3 console writes it, a function, and
/// EventBridge.
fn of_others() -> Vec<String> {
    let entries = [
        "<TopicConfiguration><Id>audit &amp; &lt;more&gt;</Id>\
         <Topic>arn:aws:sns:us-east-1:123456789012:others</Topic><Event>s3:Replication:*</Event>\
         </TopicConfiguration>",
        "<QueueConfiguration><Id>ZTg5NDk</Id><Queue>arn:aws:sqs:us-east-1:123456789012:tagged</Queue>\
         <Event>s3:ObjectTagging:Put</Event><Event>s3:ObjectTagging:Delete</Event><Filter><S3Key>\
         <FilterRule><Name>Prefix</Name><Value>a b/</Value></FilterRule>\
         <FilterRule><Name>Suffix</Name><Value>.jpg</Value></FilterRule></S3Key></Filter>\
         </QueueConfiguration>",
        "<CloudFunctionConfiguration><Id>purgefront-not-ours</Id>\
         <CloudFunction>arn:aws:lambda:us-east-1:123456789012:function:f</CloudFunction>\
         <Event>s3:LifecycleTransition</Event><Filter><S3Key></S3Key></Filter>\
         </CloudFunctionConfiguration>",
        "<EventBridgeConfiguration></EventBridgeConfiguration>",
    ];
    entries.map(str::to_owned).to_vec()
}

const OURS: &str = "<TopicConfiguration><Id>purgefront</Id>\
    <Topic>arn:aws:sns:us-east-1:123456789012:site-changes</Topic><Event>s3:ObjectCreated:*</Event>\
    <Event>s3:ObjectRemoved:*</Event><Event>s3:LifecycleExpiration:*</Event>\
    <Event>s3:ReducedRedundancyLostObject</Event><Event>s3:ObjectRestore:Completed</Event>\
    <Event>s3:ObjectRestore:Delete</Event><Event>s3:ObjectAcl:Put</Event></TopicConfiguration>";

/// An account in which others were first.
async fn account() -> Account {
    let account = Account::start().await;
    let statement = json!({"Principal": {"Service": "s3.amazonaws.com"}, "Condition": {
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::site"},
        "StringEquals": {"aws:SourceAccount": OWNER}}});
    let policy = json!({"Statement": [statement]}).to_string();
    let others = Attributes::from([("Policy".to_owned(), policy)]);
    {
        let mut state = account.state();
        state.things.topics.insert(OTHER_TOPIC.to_owned(), others);
        state.things.notifications = of_others();
    }
    account
}

/// Runs `purgefront connect site --topic …`: exit code, standard output, standard error.
fn connect(account: &Account, more: &[&str], input: &str) -> (Option<i32>, String, String) {
    let words = [&["connect", "site", "--topic", TOPIC], more].concat();
    account.setup().run_with(&words, input)
}

fn disconnect(account: &Account, more: &[&str]) -> (Option<i32>, String, String) {
    let words = [&["disconnect", "site", "--yes"], more].concat();
    account.setup().run(&words)
}

/// Whether any of these calls changes anything.
fn writes(calls: &[String]) -> bool {
    let reads = |call: &String| [":Get", ":List"].iter().any(|verb| call.contains(verb));
    !calls.iter().all(reads)
}

fn policy(things: &Things) -> Value {
    serde_json::from_str(&things.topics[TOPIC]["Policy"]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_connected_and_what_others_have_is_still_there() {
    let account = account().await;
    let before = account.things();
    let more = ["--endpoint", ENDPOINT];
    let (code, said, complaint) = connect(&account, &more, "y\n");
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{said}");
    for line in [
        "found    bucket site: 3 entries of others, none of ours, EventBridge on\n",
        "  = \"ZTg5NDk\": queue arn:aws:sqs:us-east-1:123456789012:tagged: s3:ObjectTagging:Put, \
         s3:ObjectTagging:Delete, prefix \"a b/\", suffix \".jpg\"\n",
        "  = EventBridge: all events\n",
        "  + \"purgefront\": topic arn:aws:sns:us-east-1:123456789012:site-changes: ",
        "to do    save the bucket's notifications\n",
        "done     save the bucket's notifications\nchecked  ",
        "\nConnected.",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let things = account.things();
    let mut expected = of_others();
    expected.insert(1, OURS.to_owned());
    assert_eq!(things.notifications, expected);
    assert_eq!(things.topics[OTHER_TOPIC], before.topics[OTHER_TOPIC]);
    assert_eq!(things.topics[TOPIC]["SignatureVersion"], "2");
    let theirs: Value = serde_json::from_str(OWNERS_POLICY).unwrap();
    assert_eq!(policy(&things)["Statement"][0], theirs["Statement"][0]);
    assert_eq!(policy(&things)["Id"], theirs["Id"]);
    assert_subscribed(&things);

    // Once purgefront has confirmed the subscription, there is nothing to do.
    account.state().things.subscriptions[0].confirmed = true;
    let there = account.things();
    account.calls();
    let (code, said, _) = connect(&account, &more, "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("\nNothing to do.\n"), "{said}");
    assert_eq!(account.things(), there);
    assert!(!writes(&account.calls()));
}

fn assert_subscribed(things: &Things) {
    let [subscription] = things.subscriptions.as_slice() else {
        panic!("{things:?}")
    };
    assert_eq!(subscription.endpoint, ENDPOINT);
    assert_eq!(subscription.protocol, "https");
    let attribute =
        |name: &str| -> Value { serde_json::from_str(&subscription.attributes[name]).unwrap() };
    let delivery = attribute("DeliveryPolicy");
    assert_eq!(delivery["healthyRetryPolicy"]["numRetries"], 62);
    assert_eq!(delivery["throttlePolicy"]["maxReceivesPerSecond"], 500);
    let queue = format!("arn:aws:sqs:us-east-1:{OWNER}:{QUEUE}");
    let redrive = json!({"deadLetterTargetArn": queue});
    assert_eq!(attribute("RedrivePolicy"), redrive);
    assert_eq!(things.queues[QUEUE]["MessageRetentionPeriod"], "1209600");
    let policy: Value = serde_json::from_str(&things.queues[QUEUE]["Policy"]).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Resource"], queue);
    assert_eq!(statement["Condition"]["ArnEquals"]["aws:SourceArn"], TOPIC);
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_leaves_what_was_there() {
    let account = account().await;
    let before = account.things();
    connect(&account, &["--endpoint", ENDPOINT, "--yes"], "");
    account.state().things.subscriptions[0].confirmed = true;
    // The topic is the one that our entry names.
    let (code, said, complaint) = disconnect(&account, &[]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("  - \"purgefront\": topic "), "{said}");
    let things = account.things();
    assert_eq!(things.notifications, before.notifications);
    assert_eq!(policy(&things), policy(&before));
    assert_eq!((things.subscriptions.len(), things.queues.len()), (1, 1));
    let (code, said, _) = disconnect(&account, &["--topic", TOPIC]);
    assert_eq!(code, Some(0));
    assert!(said.ends_with("Nothing to do.\n"), "{said}");

    // A queue that holds something is kept, and then nothing else is touched.
    let all = [
        "--topic",
        TOPIC,
        "--endpoint",
        ENDPOINT,
        "--delete-queue",
        "--delete-topic",
    ];
    let count = "ApproximateNumberOfMessages".to_owned();
    let mut queues = account.state();
    queues
        .things
        .queues
        .get_mut(QUEUE)
        .unwrap()
        .insert(count.clone(), "2".to_owned());
    drop(queues);
    let (code, _, complaint) = disconnect(&account, &all);
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("it holds about 2 messages"),
        "{complaint}"
    );
    account
        .state()
        .things
        .queues
        .get_mut(QUEUE)
        .unwrap()
        .remove(&count);
    let (code, said, _) = disconnect(&account, &all);
    assert_eq!(code, Some(0), "{said}");
    let mut expected = before;
    expected.topics.remove(TOPIC);
    assert_eq!(account.things(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_consent() {
    let account = account().await;
    let before = account.things();
    let cases: [(&[&str], &str, i32, &str); 4] = [
        (&["--dry-run"], "y\n", 0, "Dry run: nothing was changed.\n"),
        (&[], "n\n", 1, "Do this? [y/N] "),
        (&[], "", 1, "Do this? [y/N] "),
        (&["--dry-run", "--json"], "", 0, "}\n"),
    ];
    for (more, input, expected, ending) in cases {
        let more = [&["--endpoint", ENDPOINT], more].concat();
        let (code, said, complaint) = connect(&account, &more, input);
        assert_eq!(code, Some(expected), "{said}{complaint}");
        assert!(said.ends_with(ending), "{said}");
        if expected == 1 {
            assert_eq!(complaint, "Not agreed to: nothing was changed.\n");
        }
        assert_eq!(account.things(), before);
        assert!(!writes(&account.calls()));
        if more.contains(&"--json") {
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["outcome"], "dry run");
            assert_eq!(said["actions"].as_array().unwrap().len(), 5, "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlap_is_explained_and_its_ways_out_are_open() {
    let account = account().await;
    let all = "<TopicConfiguration><Id>all</Id><Topic>arn:aws:sns:us-east-1:123456789012:others\
        </Topic><Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>Prefix</Name>\
        <Value>img/</Value></FilterRule></S3Key></Filter></TopicConfiguration>";
    account
        .state()
        .things
        .notifications
        .insert(1, all.to_owned());
    let before = account.things();
    let (code, _, complaint) = connect(&account, &["--endpoint", ENDPOINT, "--yes"], "");
    assert_eq!(code, Some(1));
    let way = format!("    purgefront connect site --topic {OTHER_TOPIC} --endpoint {ENDPOINT}\n");
    for line in [
        "  \"all\": topic arn:aws:sns:us-east-1:123456789012:others: s3:ObjectCreated:*, prefix \
         \"img/\"\n    which shares s3:ObjectCreated:*\n",
        &way,
        "    aws events put-rule --region us-east-1 --name purgefront-site --event-pattern '{",
    ] {
        assert!(complaint.contains(line), "{line}: {complaint}");
    }
    assert_eq!(account.things(), before);
    assert!(!writes(&account.calls()));
    // Where it does not overlap, it goes beside it.
    let (code, said, complaint) = connect(&account, &["--yes", "--prefix", "docs/"], "");
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(account.things().notifications.contains(&all.to_owned()));
    // Another filter replaces ours.
    let more = ["--yes", "--prefix", "docs/", "--suffix", ".html"];
    let (code, said, complaint) = connect(&account, &more, "");
    assert_eq!(code, Some(0), "{said}{complaint}");
    let notifications = account.things().notifications;
    let ours = notifications
        .iter()
        .filter(|one| one.contains("<Id>purgefront</Id>"));
    assert_eq!(ours.count(), 1);
    assert_eq!(notifications.len(), before.notifications.len() + 1);
    // The fan-out way, as printed: that topic already has the bucket's uploads below img/.
    let words: Vec<_> = way
        .split_whitespace()
        .skip(1)
        .chain(["--yes", "--prefix", "img/"])
        .collect();
    let (code, said, complaint) = account.setup().run(&words);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(
        said.contains("note     the topic already gets events"),
        "{said}"
    );
    assert!(account.things().notifications.contains(&all.to_owned()));
    assert_eq!(account.things().subscriptions[0].topic, OTHER_TOPIC);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_writes_at_the_same_time_is_noticed() {
    let account = account().await;
    let theirs = "<QueueConfiguration><Id>late</Id><Queue>arn:aws:sqs:us-east-1:123456789012:late\
        </Queue><Event>s3:ObjectTagging:*</Event></QueueConfiguration>";
    account.state().race = Some(vec![theirs.to_owned()]);
    let (code, said, complaint) = connect(&account, &["--yes"], "");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        complaint.starts_with("somebody else has written"),
        "{complaint}"
    );
    assert!(
        complaint.contains("\n+ \"late\": queue ") && complaint.contains("\n- \"purgefront\": ")
    );
    assert!(!said.contains("checked"));
    assert_eq!(account.things().notifications, [theirs], "it is theirs now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_when_asked_for() {
    let account = account().await;
    account.state().things.topics.remove(TOPIC);
    let (code, _, complaint) = connect(&account, &["--yes"], "");
    assert_eq!(code, Some(1));
    assert!(complaint.contains("does not exist") && complaint.contains("--create-topic"));
    let (code, said, complaint) = connect(&account, &["--yes", "--create-topic"], "");
    assert_eq!(code, Some(0), "{said}{complaint}");
    let things = account.things();
    let first = &policy(&things)["Statement"][0]["Sid"];
    assert_eq!(first, "__default_statement_ID", "what SNS gave it");
    assert!(things.notifications.contains(&OURS.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_says_what_to_do() {
    let account = account().await;
    let more = ["--yes", "--account", "210987654321"];
    let (code, _, complaint) = connect(&account, &more, "");
    assert_eq!(code, Some(1));
    assert!(complaint.contains("s3:GetBucketNotification: AccessDenied: Access Denied; "));
    assert!(complaint.contains("--account"), "{complaint}");
    let asked = account.calls();
    assert!(
        !asked.contains(&"sts:GetCallerIdentity".to_owned()),
        "{asked:?}"
    );

    account.state().denied = BTreeSet::from(["sns:SetTopicAttributes".to_owned()]);
    let (code, _, complaint) = connect(&account, &["--yes"], "");
    assert_eq!(code, Some(1));
    assert!(
        complaint.starts_with("sns:SetTopicAttributes: AuthorizationError"),
        "{complaint}"
    );
    assert_eq!(account.things().notifications, of_others());

    account.state().region = "eu-west-1".to_owned();
    let (code, _, complaint) = connect(&account, &["--yes"], "");
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("use a topic in eu-west-1"),
        "{complaint}"
    );
    // Without a topic, it goes where the bucket is.
    let (code, said, complaint) = disconnect(&account, &[]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.ends_with("Nothing to do.\n"), "{said}");

    account.state().region = "us-east-1".to_owned();
    let newer =
        "<QueueConfiguration><Id>n</Id><Queue>q</Queue><Newer>1</Newer></QueueConfiguration>";
    account.state().things.notifications.push(newer.to_owned());
    let (code, _, complaint) = connect(&account, &["--yes"], "");
    assert_eq!(code, Some(1));
    assert!(complaint.contains("an element <Newer>"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_sent_and_never_shown() {
    let account = account().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth");
    std::fs::write(&file, "sns:s3cret+pass\n").unwrap();
    let more = [
        "--endpoint",
        ENDPOINT,
        "--basic-auth-file",
        file.to_str().unwrap(),
        "--yes",
    ];
    let (code, said, complaint) = connect(&account, &more, "");
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(
        !said.contains("s3cret") && !said.contains("secretexample"),
        "{said}"
    );
    let things = account.things();
    let endpoint = "https://sns:s3cret%2Bpass@purge.example/sns";
    assert_eq!(things.subscriptions[0].endpoint, endpoint);
    // It is known again.
    account.state().things.subscriptions[0].confirmed = true;
    let things = account.things();
    let (code, said, _) = connect(&account, &more, "");
    assert_eq!(code, Some(0));
    assert!(
        said.ends_with("Nothing to do.\n") && !said.contains("s3cret"),
        "{said}"
    );
    assert_eq!(account.things(), things);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_cannot_write_on_the_terminal() {
    let account = account().await;
    let hostile = "<QueueConfiguration><Id>a\u{9b}2J\u{202e}b</Id><Queue>arn:\u{9b}31m</Queue>\
        <Event>s3:ObjectTagging:*\u{9b}</Event></QueueConfiguration>";
    account.state().things.notifications = vec![hostile.to_owned()];
    let (code, said, complaint) = connect(&account, &["--yes"], "");
    assert_eq!(code, Some(0), "{said}{complaint}");
    let obeyed = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
    assert!(!said.contains(obeyed), "{said:?}");
    assert!(
        said.contains("u{9b}2J") || said.contains("\\u009b2J"),
        "{said}"
    );
    assert!(account.things().notifications.contains(&hostile.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_with_2() {
    let account = account().await;
    let setup = account.setup();
    for words in [
        "connect site",
        "connect s3://site --topic arn:aws:sns:us-east-1:123456789012:site-changes",
        "connect site --topic arn:aws:sns:us-east-1:123456789012:x.fifo",
        "connect site --topic arn:aws:sns:us-east-1:123456789012:x --endpoint https://a:b@c/",
        "connect site --topic arn:aws:sns:us-east-1:123456789012:x --json",
        "connect site --topic arn:aws:sns:us-east-1:123456789012:x --yes --dry-run",
        "connect site --topic arn:aws:sns:us-east-1:123456789012:x --prefix img/*",
        "disconnect site --delete-queue",
        "disconnect site --account 1",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let (code, said, complaint) = setup.run(&words);
        assert_eq!(code, Some(2), "{words:?}: {said}{complaint}");
    }
    assert_eq!(account.calls(), Vec::<String>::new());
}

/// What docs/connect.md and the README name exists.
#[test]
fn the_documented_options_exist() {
    let setup = crate::support::service::Setup::alone();
    let help = |command| setup.run(&[command, "--help"]).1;
    let help = help("connect") + &help("disconnect");
    let read = |file: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::read_to_string(path).unwrap()
    };
    let readme = read("README.md");
    let (_, part) = readme.split_once("### Connect a bucket").unwrap();
    let (part, _) = part.split_once("## Configure").unwrap();
    let docs = read("docs/connect.md") + part;
    let words = docs.split(|char: char| !(char.is_ascii_lowercase() || char == '-'));
    let options: BTreeSet<_> = words.filter(|word| word.starts_with("--")).collect();
    let options = options.into_iter().filter(|word| word.len() > 3);
    for option in options.filter(|word| word.as_bytes()[2] != b'-') {
        assert!(help.contains(&format!("{option} ")), "{option}");
    }
}

/// The permissions that docs/connect.md lists are those that are used.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_are_sufficient_and_needed() {
    let account = account().await;
    account.state().things.topics.remove(TOPIC);
    let all = ["--endpoint", ENDPOINT, "--create-topic", "--yes"];
    connect(&account, &all, "");
    account.state().things.subscriptions[0].confirmed = true;
    account
        .state()
        .things
        .queues
        .get_mut(QUEUE)
        .unwrap()
        .remove("Policy");
    let faster = [&all[..], &["--max-receives-per-second", "900"]].concat();
    let (code, said, complaint) = connect(&account, &faster, "");
    assert_eq!(code, Some(0), "{said}{complaint}");
    let all = ["--endpoint", ENDPOINT, "--delete-queue", "--delete-topic"];
    let (code, said, complaint) = disconnect(&account, &all);
    assert_eq!(code, Some(0), "{said}{complaint}");
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/connect.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, docs) = docs.split_once("## Permissions").unwrap();
    let rows = docs.lines().filter(|line| line.starts_with("| `"));
    let listed = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let listed: BTreeSet<_> = listed
        .map(|one| one.trim().trim_matches('`').to_owned())
        .collect();
    let mut used: BTreeSet<_> = account.calls().into_iter().collect();
    // Everybody may ask who they are.
    assert!(used.remove("sts:GetCallerIdentity"));
    assert_eq!(used, listed);
}
