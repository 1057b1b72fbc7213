//! What metrics tell of the service itself: its version, what it last heard of each topic and of the
//! account, and what can never succeed.

use serde_json::json;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::Setup,
    signer::{Signer, TOPIC, s3_records},
};

#[tokio::test]
async fn the_version_the_readings_and_what_failed_for_good_are_told_also_after_a_restart() {
    let (aws, signer) = (FakeAws::start().await, Signer::new());
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let heard = format!("purgefront_last_notification_timestamp_seconds{{topic=\"{TOPIC}\"}}");
    let unreadable = "purgefront_permanent_failures_total{reason=\"unreadable\"}";
    let build = format!(
        "purgefront_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(service.metric(&build).await, 1);
    assert_eq!(service.metric(&heard).await, 0, "nothing has come");
    let metrics = service.client.get(format!("{}/metrics", service.admin_url));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("\npurgefront_catalogue_age_seconds{} "),
        "{metrics}"
    );

    let broken = json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3"}]});
    let message = signer.notification(&broken.to_string()).body();
    assert_eq!(service.sns(message).await.status(), 200);
    assert_eq!(service.metric(unreadable).await, 1);
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let message = signer.notification(&text).body();
    assert_eq!(service.sns(message).await.status(), 200);
    let at = service.metric(&heard).await;
    assert!(at > 1_700_000_000, "{at}");

    aws.cloudfront.refuse_path("/refused");
    service.invalidate("E1", &["/refused"]).await;
    let invalid = "purgefront_permanent_failures_total{reason=\"invalid\"}";
    eventually!(service.metric(invalid).await == 1);

    service.terminate().await;
    let service = setup.start().await;
    assert_eq!(service.metric(&heard).await, at);
}
