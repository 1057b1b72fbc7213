//! What is refused is told after a restart as before it, and an operator need not wait.

use super::{check, metrics};
use crate::support::{
    aws::FakeAws,
    cloudfront::Fault,
    distribution::Distribution,
    service::{Service, Setup},
    sqlite::put_off,
    until,
};

const HELD: &str = "purgefront_held{distribution_id=\"E1\",hold=\"refused\"}";

/// What the service says of refusals, in each place.
async fn told(service: &Service, kind: &str) -> (String, u64, u64) {
    let failing = format!("purgefront_failing{{error=\"{kind}\"}}");
    (
        check(service, "cloudfront").await,
        service.metric(&failing).await,
        service.metric(HELD).await,
    )
}

#[tokio::test]
async fn a_refusal_outlives_a_restart_in_the_middle_of_its_backoff() {
    for (fault, kind, text) in [
        (
            Fault::AccessDenied,
            "denied",
            "grant cloudfront:CreateInvalidation",
        ),
        // The batch is in doubt.
        (Fault::Status(503), "unknown", "no answer: "),
    ] {
        let aws = FakeAws::start().await;
        for id in ["E1", "E2"] {
            aws.cloudfront.put(Distribution::of(id, "site"));
        }
        let setup = Setup::new(&aws);
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        aws.cloudfront.fail_next([fault; 1_000]);
        assert_eq!(service.invalidate("E1", &["/a"]).await.status(), 202);
        eventually!(told(&service, kind).await.0.contains(text));
        let (before, _, _) = told(&service, kind).await;
        service.kill();
        let failures = put_off(setup.store()).await;
        let calls = aws.cloudfront.calls().len();
        let service = setup.start().await;
        // From the first answer on.
        let (after, failing, held) = told(&service, kind).await;
        let reason = |text: &str| text.split_once(" times, ").unwrap().1.to_owned();
        assert_eq!(reason(&after), reason(&before));
        let counted = format!("E1: failed {failures} times, ");
        assert!(after.starts_with(&counted), "{after}");
        assert_eq!((failing, held), (1, 1), "{}", metrics(&service).await);

        // Another distribution's resumption is not its own.
        aws.cloudfront.fail_no_more();
        let resume = |id: &str| {
            let words = ["resume", id, "--admin-url", &service.admin_url];
            assert_eq!(setup.run(&words).0, Some(0));
        };
        resume("E2");
        assert_eq!(service.invalidate("E2", &["/b"]).await.status(), 202);
        until("the other", || aws.cloudfront.paths("E2").pop()).await;
        assert_eq!(aws.cloudfront.calls().len(), calls + 1, "it still waits");
        resume("E1");
        until("the refused", || aws.cloudfront.paths("E1").pop()).await;
        eventually!(told(&service, kind).await == (String::new(), 0, 0));
        // And nothing is left of it.
        service.kill();
        let service = setup.start().await;
        assert_eq!(check(&service, "cloudfront").await, "");
    }
}
