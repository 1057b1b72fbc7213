//! Somebody subscribes us, and the subscription is confirmed whatever happens meanwhile.

use crate::support::{
    aws::FakeAws,
    service::Setup,
    signer::{Signer, TOPIC},
    until,
};

#[tokio::test]
async fn a_subscription_is_confirmed_though_sns_was_down_and_we_were_restarted() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.sns.set_down(true);
    let setup = Setup::new(&aws);
    let token = "0123456789abcdef".repeat(14);

    let service = setup.start().await;
    let answer = service
        .sns(signer.subscription_confirmation(&token).body())
        .await;
    assert_eq!(answer.status(), 200);
    let retries = "purgefront_subscription_confirmations_total{outcome=\"retry\"}";
    eventually!(service.metric(retries).await != 0);
    eventually!(service.ready().await.1["checks"]["subscriptions"]["state"] == "warn");
    let (status, _) = service.ready().await;
    assert_eq!(status, 200, "a subscription that waits keeps nobody out");
    service.kill();

    let service = setup.start().await;
    aws.sns.set_down(false);
    let confirmations = until("the confirmation", || {
        Some(aws.sns.confirmations()).filter(|all| !all.is_empty())
    });
    let confirmation = confirmations.await.remove(0);
    assert_eq!(confirmation.host, "sns.us-east-1.amazonaws.com");
    assert_eq!(
        (confirmation.topic.as_str(), confirmation.token),
        (TOPIC, token)
    );
    assert!(confirmation.authenticate_on_unsubscribe);
    assert!(confirmation.signed);
    eventually!(service.ready().await.1["checks"]["subscriptions"]["state"] == "ok");
    // Once is enough: nothing else is due, at once or after a restart.
    service.kill();
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    assert_eq!(aws.sns.confirmations().len(), 1);
    assert_eq!(service.metric(retries).await, 0);
}

#[tokio::test]
async fn the_request_does_not_wait_for_the_confirmation() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.sns.set_down(true);
    let service = Setup::new(&aws).start().await;
    let body = signer.subscription_confirmation(&"ab".repeat(112)).body();
    // If it waited, its own deadline would come first, and the answer be 503.
    assert_eq!(service.sns(body).await.status(), 200);
    assert!(aws.sns.confirmations().is_empty());
}
