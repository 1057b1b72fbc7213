//! CloudFront says no in every way it knows, and the same pair goes out until it says yes.

use std::collections::BTreeSet;

use crate::support::{
    aws::FakeAws,
    cloudfront::{Distribution, Fault},
    service::Setup,
    until,
};

#[tokio::test]
async fn refusals_are_waited_out_and_the_same_pair_resent() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    // After the first, nobody knows: so nothing but the same pair may follow.
    let faults = [Fault::LostAfter, Fault::Throttling, Fault::Status(503)];
    aws.cloudfront.fail_next(faults);
    assert_eq!(service.invalidate("E1", &["/a", "/b*"]).await.status(), 202);
    let calls = until("the last answer", || {
        let calls = aws.cloudfront.calls();
        (calls.len() > faults.len()).then_some(calls)
    });
    let answers: Vec<_> = calls.await.iter().map(|call| call.answer).collect();
    assert_eq!(
        answers,
        ["lost", "Throttling", "ServiceUnavailable", "repeated"]
    );
    let calls = aws.cloudfront.calls();
    let references: BTreeSet<_> = calls
        .iter()
        .map(|call| &call.order.caller_reference)
        .collect();
    let lists: BTreeSet<_> = calls.iter().map(|call| &call.order.items).collect();
    assert_eq!(
        (references.len(), lists.len()),
        (1, 1),
        "the same pair each time"
    );
    assert_eq!(aws.cloudfront.invalidations().len(), 1, "one invalidation");
    for (outcome, count) in [("throttled", 1), ("unknown", 2), ("ok", 1)] {
        let name = "purgefront_cloudfront_calls_total";
        let labels = format!("{{operation=\"CreateInvalidation\",outcome=\"{outcome}\"}}");
        eventually!(service.metric(&format!("{name}{labels}")).await >= count);
        assert_eq!(
            service.metric(&format!("{name}{labels}")).await,
            count,
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn a_distribution_that_is_refused_delays_no_other_and_readiness_says_what_is_missing() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.put(Distribution::of("E2", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    aws.cloudfront.fail_next([Fault::AccessDenied]);
    service.invalidate("E1", &["/a"]).await;
    until("the refusal", || {
        (aws.cloudfront.calls().len() == 1).then_some(())
    })
    .await;
    service.invalidate("E2", &["/b"]).await;
    until("the other", || {
        (!aws.cloudfront.paths("E2").is_empty()).then_some(())
    })
    .await;
    until("the first, later", || {
        (!aws.cloudfront.paths("E1").is_empty()).then_some(())
    })
    .await;
    let denied = |line: &serde_json::Value| {
        line["error"]
            .as_str()
            .is_some_and(|error| error.contains("AccessDenied"))
    };
    eventually!(service.events().iter().any(denied));
    aws.cloudfront
        .fail_next([Fault::TooManyInProgress, Fault::LostBefore]);
    service.invalidate("E2", &["/c"]).await;
    until("the third", || {
        (aws.cloudfront.paths("E2").len() == 2).then_some(())
    })
    .await;
    eventually!(service.ready().await.1["checks"]["cloudfront"]["state"] == "ok");
}
