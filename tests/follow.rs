//! A change is followed by grep: from the SNS message's id, or the request's, to CloudFront's id.

use serde_json::Value;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

/// The first log line with this text and this value in that field.
async fn line(service: &Service, text: &str, field: &str, value: &Value) -> Value {
    let found = || {
        let mut events = service.events().into_iter();
        events.find(|line| line["message"] == text && &line[field] == value)
    };
    until(&format!("{text} with {field} = {value}"), found).await
}

/// From what brought a change to the id that CloudFront gave.
async fn follow(service: &Service, source: &Value) -> Value {
    let mapped = line(service, "change mapped", "source", source).await;
    let change = &mapped["change"];
    let frozen = line(service, "change frozen into a batch", "change", change).await;
    assert_eq!(frozen["item"], mapped["item"]);
    let invalidation = &frozen["invalidation"];
    let created = line(
        service,
        "invalidation created",
        "invalidation",
        invalidation,
    )
    .await;
    assert_eq!(created["distribution_id"], mapped["distribution_id"]);
    created["cloudfront_id"].clone()
}

#[tokio::test]
async fn a_change_is_followed_from_its_message_or_request_to_cloudfronts_id() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;

    let text = s3_records("site", &[("ObjectCreated:Put", "a.html")]);
    let message = signer.notification(&text);
    let message_id = message.signed()["MessageId"].clone();
    assert_eq!(service.sns(message.body()).await.status(), 200);
    let accepted = line(&service, "message accepted", "message_id", &message_id).await;
    assert_eq!(accepted["changes"], 1);
    let cloudfront_id = follow(&service, &message_id).await;
    assert_eq!(cloudfront_id, aws.cloudfront.invalidations()[0].id.as_str());

    let answer = service.invalidate("E1", &["/b.html"]).await;
    let request: Value = answer.json().await.unwrap();
    line(&service, "request accepted", "request", &request["id"]).await;
    let cloudfront_id = follow(&service, &request["id"]).await;
    assert_eq!(cloudfront_id, aws.cloudfront.invalidations()[1].id.as_str());
}
