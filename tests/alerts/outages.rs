//! What fires in each outage that the fake AWS can play, and nothing else.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{A_WHILE, Watched};
use crate::support::{
    cloudfront::{CloudFront, Fault},
    service::TOKEN,
    signer::{Signer, record, s3_records},
    sqlite::put_off,
};

const SECRETS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[tokio::test]
async fn a_healthy_service_fires_nothing_until_it_is_silent_for_a_week() {
    let watched = Watched::works(&[]).await;
    watched.types(&["pause"]);
    watched.types(&["resume"]);
    watched.fires(A_WHILE, &[]).await;
    watched.fires(8.0 * 86_400.0, &["Silent"]).await;
}

#[tokio::test]
async fn silence_lasts_across_restarts() {
    let mut watched = Watched::works(&[]).await;
    // The only message came eight days ago.
    let old = sqlx::query("UPDATE messages SET accepted_at = accepted_at - 8 * 86400 * 1000000");
    old.execute(&mut opened(&watched).await).await.unwrap();
    for _ in 0..2 {
        watched.service.kill();
        watched.service = watched.setup.start().await;
        watched.fires(0.0, &["Silent"]).await;
    }
    watched.uploads("a").await;
    watched.fires(A_WHILE, &[]).await;
}

#[tokio::test]
async fn without_credentials_or_region_from_the_start() {
    for missing in [&SECRETS[..], &["AWS_REGION"]] {
        let watched = Watched::start(&[], missing, |_| {}).await;
        let unread = ["NoCatalogue", "CatalogueStale", "NoCredentials"];
        let alone = [&unread[..], &["SubscriptionPending"]].concat();
        watched.fires(A_WHILE, &alone).await;
        watched.uploads("a").await;
        let waits = [&unread[..], &["ChangesUnmapped"]].concat();
        watched.fires(A_WHILE, &waits).await;
    }
}

#[tokio::test]
async fn credentials_that_vanish_at_a_restart() {
    let mut watched = Watched::works(&[]).await;
    for secret in SECRETS {
        watched.setup.set_env(secret, "");
    }
    watched.service.kill();
    watched.service = watched.setup.start().await;
    watched.uploads("a").await;
    let alerts = ["NoCredentials", "CatalogueStale", "ChangesWait"];
    watched.fires(A_WHILE, &alerts).await;
}

#[tokio::test]
async fn cloudfront_is_dark_from_the_first_call() {
    for dark in [CloudFront::set_unavailable, CloudFront::set_down] {
        let watched = Watched::start(&[], &[], |aws| dark(&aws.cloudfront, true)).await;
        watched.uploads("a").await;
        let alerts = [
            "NoCatalogue",
            "CatalogueStale",
            "CloudFrontUnavailable",
            "ChangesUnmapped",
        ];
        watched.fires(A_WHILE, &alerts).await;
        dark(&watched.aws.cloudfront, false);
        watched.fires(A_WHILE, &[]).await;
    }
}

#[tokio::test]
async fn a_months_budget_is_spent() {
    let budget = ("PURGEFRONT_ECONOMY__MONTHLY_PATHS", "1");
    let watched = Watched::start(&[budget], &[], |_| {}).await;
    watched.uploads("a").await;
    watched.uploads("b").await;
    let sent = || (watched.aws.cloudfront.paths("E1").len() == 2).then_some(());
    crate::support::until("both", sent).await;
    let alerts = ["BudgetForecast", "BudgetSpent"];
    watched.fires(A_WHILE, &alerts).await;
}

#[tokio::test]
async fn cloudfront_gets_dark() {
    let watched = Watched::works(&[("PURGEFRONT_CATALOGUE__REFRESH", "1s")]).await;
    watched.aws.cloudfront.set_unavailable(true);
    let alerts = ["CatalogueStale", "CloudFrontUnavailable"];
    watched.fires(A_WHILE, &alerts).await;
    watched.uploads("a").await;
    let waits = [&alerts[..], &["ChangesWait"]].concat();
    watched.fires(A_WHILE, &waits).await;
}

#[tokio::test]
async fn cloudfront_refuses_the_calls() {
    for (fault, alert) in [
        (Fault::AccessDenied, "AccessDenied"),
        (Fault::Throttling, "Throttled"),
        (Fault::Status(503), "CloudFrontUnavailable"),
        (Fault::Gone, "Refused"),
        (Fault::TooManyInProgress, "PoolFull"),
    ] {
        let watched = Watched::works(&[]).await;
        watched.aws.cloudfront.fail_next([fault; 1_000]);
        watched.uploads("a").await;
        watched.fires(A_WHILE, &[alert, "ChangesWait"]).await;
    }
}

#[tokio::test]
async fn what_was_refused_before_a_restart() {
    for (fault, alert) in [
        (Fault::AccessDenied, "AccessDenied"),
        (Fault::Throttling, "Throttled"),
        (Fault::Status(503), "CloudFrontUnavailable"),
        (Fault::Gone, "Refused"),
        (Fault::TooManyInProgress, "PoolFull"),
    ] {
        let mut watched = Watched::works(&[]).await;
        watched.aws.cloudfront.fail_next([fault; 1_000]);
        watched.uploads("a").await;
        watched.fires(A_WHILE, &[alert, "ChangesWait"]).await;
        watched.service.kill();
        put_off(watched.setup.store()).await;
        let calls = watched.aws.cloudfront.calls().len();
        watched.service = watched.setup.start().await;
        watched.fires(A_WHILE, &[alert, "ChangesWait"]).await;
        assert_eq!(watched.aws.cloudfront.calls().len(), calls, "{alert}");
        watched.aws.cloudfront.fail_no_more();
        watched.types(&["resume"]);
        watched.fires(A_WHILE, &[]).await;
    }
}

#[tokio::test]
async fn a_pool_that_is_full_of_our_own() {
    let settings = [
        ("PURGEFRONT_LIMITS__PATHS_IN_PROGRESS", "2"),
        ("PURGEFRONT_LIMITS__RESERVE_PATHS", "0"),
        ("PURGEFRONT_LIMITS__ITEMS_PER_CALL", "1"),
    ];
    let watched = Watched::works(&settings).await;
    watched
        .aws
        .cloudfront
        .complete_after(Duration::from_hours(9));
    for key in ["a", "b", "c"] {
        watched.uploads(key).await;
    }
    watched.fires(A_WHILE, &["PoolFull", "ChangesWait"]).await;
}

#[tokio::test]
async fn invalidations_that_do_not_complete_or_cannot_be_seen() {
    let watched = Watched::works(&[]).await;
    watched
        .aws
        .cloudfront
        .complete_after(Duration::from_hours(9));
    watched.uploads("a").await;
    watched.fires(4_000.0, &["NotCompleting"]).await;
    watched.fires(A_WHILE, &[]).await;
    watched.aws.cloudfront.deny_polls(true);
    watched.uploads("b").await;
    watched.fires(A_WHILE, &["NotTracked"]).await;
}

#[tokio::test]
async fn what_operators_hold() {
    let watched = Watched::works(&[]).await;
    watched.types(&["pause", "E1"]);
    watched.uploads("a").await;
    watched.fires(A_WHILE, &["Paused"]).await;
    watched.types(&["pause"]);
    watched.types(&["resume", "E1"]);
    watched.fires(A_WHILE, &["Paused"]).await;
    watched.types(&["resume"]);
    watched.fires(A_WHILE, &[]).await;

    let url = format!("{}/holds", watched.service.url);
    let hold = watched.service.client.post(url).bearer_auth(TOKEN);
    let hold = hold.body(r#"{"bucket": "site", "ttl": "1h"}"#);
    assert_eq!(hold.send().await.unwrap().status(), 201);
    watched.uploads("b").await;
    // Its `for` is longer than a hold.
    watched.fires(A_WHILE, &["Held"]).await;

    let shadow = [("PURGEFRONT_DISPATCH__MODE", "shadow")];
    let watched = Watched::start(&shadow, &[], |_| {}).await;
    watched.uploads("a").await;
    watched.fires(A_WHILE, &["ShadowMode"]).await;
}

#[tokio::test]
async fn the_days_limit() {
    let watched = Watched::works(&[("PURGEFRONT_LIMITS__PATHS_PER_DAY", "5")]).await;
    for key in ["a", "b", "c"] {
        watched.uploads(key).await;
    }
    watched.fires(A_WHILE, &["DailyLimitNear"]).await;
    let spent = ["DailyLimitNear", "DailyLimitReached"];
    watched.uploads("d").await;
    watched.fires(A_WHILE, &spent).await;
    watched.uploads("e").await;
    let held = [&spent[..], &["ChangesWait"]].concat();
    watched.fires(A_WHILE, &held).await;
    watched.types(&["resume"]);
    watched.fires(A_WHILE, &[]).await;
}

#[tokio::test]
async fn messages_that_do_not_come_in() {
    // The certificate cannot be fetched, from the first message on.
    let watched = Watched::start(&[], &[], |_| {}).await;
    watched.fires(A_WHILE, &["SubscriptionPending"]).await;
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let unserved = Signer::new();
    let body = unserved.notification(&text).body();
    assert_eq!(watched.service.sns(body).await.status(), 503);
    let alerts = [
        "CertificatesFail",
        "IntakeFailsAgain",
        "SubscriptionPending",
    ];
    watched.fires(A_WHILE, &alerts).await;

    // It is refused.
    let watched = Watched::works(&[]).await;
    let other = watched.signer.notification(&text);
    let other = other.with("TopicArn", "arn:aws:sns:us-east-1:123456789012:other");
    assert_eq!(watched.service.sns(other.body()).await.status(), 403);
    watched.fires(A_WHILE, &["MessagesRefused"]).await;

    // Our clock is slow, or the sender's is fast.
    let watched = Watched::works(&[]).await;
    let early = watched.signer.notification(&text);
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    let early = early.at(Timestamp::now() + SignedDuration::from_hours(1));
    assert_eq!(watched.service.sns(early.body()).await.status(), 503);
    let alerts = ["IntakeFails", "IntakeFailsAgain"];
    watched.fires(A_WHILE, &alerts).await;
}

#[tokio::test]
async fn a_subscription_that_ends_or_cannot_be_confirmed() {
    let watched = Watched::works(&[]).await;
    let token = "ab".repeat(112);
    let ended = watched.signer.unsubscribe_confirmation(&token).body();
    assert_eq!(watched.service.sns(ended).await.status(), 200);
    watched.fires(A_WHILE, &["Unsubscribed"]).await;

    let watched = Watched::works(&[]).await;
    watched.aws.sns.set_down(true);
    let asked = watched.signer.subscription_confirmation(&token).body();
    assert_eq!(watched.service.sns(asked).await.status(), 200);
    watched.fires(A_WHILE, &["SubscriptionPending"]).await;
}

#[tokio::test]
async fn what_can_never_succeed_or_has_no_distribution() {
    let watched = Watched::works(&[]).await;
    let bad = json!({"Records": [record("ObjectCreated:Put", "site", "%FF")]}).to_string();
    let bad = watched.signer.notification(&bad).body();
    assert_eq!(watched.service.sns(bad).await.status(), 200);
    watched.fires(A_WHILE, &["DeadLetters"]).await;
    watched.types(&["deadletters", "drop", "--all"]);
    let text = s3_records("elsewhere", &[("ObjectCreated:Put", "a")]);
    let elsewhere = watched.signer.notification(&text).body();
    assert_eq!(watched.service.sns(elsewhere).await.status(), 200);
    watched.fires(A_WHILE, &["NeedsAttention"]).await;
}

#[tokio::test]
async fn a_receiver_of_notices_that_is_gone() {
    let Watched {
        aws,
        signer,
        mut setup,
        service,
        before,
    } = Watched::works(&[]).await;
    service.kill();
    let file = setup.home().join("secret");
    std::fs::write(&file, format!("whsec_{}", "A".repeat(32))).unwrap();
    setup.add_settings(&format!(
        "[[notify]]\nurl = \"http://127.0.0.1:9/\"\nallow_private = true\nsecret_file = \"{}\"\n",
        file.display()
    ));
    let watched = Watched {
        service: setup.start().await,
        aws,
        signer,
        setup,
        before,
    };
    watched.fires(8_000.0, &[]).await;
    let bad = json!({"Records": [record("ObjectCreated:Put", "site", "%FF")]}).to_string();
    let bad = watched.signer.notification(&bad).body();
    assert_eq!(watched.service.sns(bad).await.status(), 200);
    watched
        .fires(8_000.0, &["DeadLetters", "NoticesWait"])
        .await;
}

async fn opened(watched: &Watched) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(watched.setup.store());
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn a_store_that_takes_no_writes() {
    let watched = Watched::works(&[]).await;
    let mut operator = opened(&watched).await;
    let held = sqlx::query("BEGIN IMMEDIATE");
    held.execute(&mut operator).await.unwrap();
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let body = watched.signer.notification(&text).body();
    assert_eq!(watched.service.sns(body).await.status(), 503);
    let alerts = ["StoreFails", "IntakeFails", "IntakeFailsAgain"];
    watched.fires(A_WHILE, &alerts).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read() {
    let watched = Watched::works(&[]).await;
    watched.types(&["pause"]);
    watched.uploads("a").await;
    watched.fires(A_WHILE, &["Paused"]).await;
    let spoilt = sqlx::query("UPDATE targets SET item = 'no path'");
    spoilt.execute(&mut opened(&watched).await).await.unwrap();
    watched.types(&["resume"]);
    let alerts = ["UnreadableRows", "ChangesWait"];
    watched.fires(A_WHILE, &alerts).await;
}
