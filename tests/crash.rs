//! The service is killed at the worst moments, and nothing is lost or done twice.

use std::collections::BTreeSet;

use crate::support::{
    Patience,
    aws::FakeAws,
    cloudfront::{Distribution, Fault},
    service::Setup,
    signer::{Signer, s3_records},
    sqlite::stored,
    until,
};

const KEYS: usize = 40;

/// Promises 2 and 3: every accepted change is covered, every invalidation is exactly one
/// stored batch, and each item of each change and target is covered exactly once.
async fn holds(aws: &FakeAws, setup: &Setup, accepted: &[String]) {
    let stored = stored::read(setup.store()).await;
    let keys: BTreeSet<_> = stored.covered.iter().map(|(key, ..)| key.clone()).collect();
    assert_eq!(
        keys,
        accepted.iter().cloned().collect(),
        "exactly what was accepted is journalled"
    );
    let mut seen = BTreeSet::new();
    for (key, distribution, item, by) in &stored.covered {
        assert_eq!(item, &format!("/{key}"));
        assert_eq!(
            by.as_ref(),
            Some(item),
            "{key} at {distribution} is covered"
        );
        assert!(
            seen.insert((key, distribution, item)),
            "{key} is covered once"
        );
    }
    let made = aws.cloudfront.invalidations();
    assert_eq!(
        made.len(),
        stored.batches.len(),
        "one invalidation for each batch"
    );
    for invalidation in made {
        let batch = stored.batches.get(&invalidation.caller_reference);
        let (distribution, items) = batch.expect("the invalidation comes from a stored batch");
        assert_eq!(
            (distribution, items),
            (&invalidation.distribution_id, &invalidation.items)
        );
    }
    let mut paths: Vec<_> = ["E1", "E2"]
        .into_iter()
        .flat_map(|id| aws.cloudfront.paths(id))
        .collect();
    paths.sort();
    let mut expected: Vec<_> = accepted
        .iter()
        .flat_map(|key| [format!("/{key}"), format!("/{key}")])
        .collect();
    expected.sort();
    assert_eq!(paths, expected, "each path once at each distribution");
}

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.put(Distribution::of("E2", "site"));
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

fn body(signer: &Signer, key: &str) -> String {
    signer
        .notification(&s3_records("site", &[("ObjectCreated:Put", key)]))
        .body()
}

async fn all_completed(service: &crate::support::service::Service) {
    let patience = Patience::new();
    loop {
        let open = service.get("/invalidations?status=pending&limit=1").await;
        let waiting =
            ["E1", "E2"].map(|id| format!("purgefront_waiting_items{{distribution_id=\"{id}\"}}"));
        let waits = service.metric(&waiting[0]).await + service.metric(&waiting[1]).await;
        if open["invalidations"] == serde_json::json!([]) && waits == 0 {
            return;
        }
        patience.pause("something is still open").await;
    }
}

#[tokio::test]
async fn killed_between_the_2xx_and_the_call() {
    let (aws, signer, mut setup) = prepared().await;
    // Nothing is due before the kill.
    setup.set_settings("[batching]\nquiet = \"1h\"\nmax_wait = \"1h\"\n");
    let service = setup.start().await;
    let mut accepted = Vec::new();
    for at in 0..KEYS {
        let key = format!("k{at}");
        assert_eq!(service.sns(body(&signer, &key)).await.status(), 200);
        accepted.push(key);
    }
    service.kill();
    assert!(aws.cloudfront.calls().is_empty());

    setup.set_settings(
        "[batching]\nquiet = \"50ms\"\n[limits]\ncalls_per_second = 50\nitems_per_call = 7\n",
    );
    let service = setup.start().await;
    let whole = || {
        (aws.cloudfront.paths("E1").len() + aws.cloudfront.paths("E2").len() >= 2 * KEYS)
            .then_some(())
    };
    until("all invalidations", whole).await;
    all_completed(&service).await;
    service.kill();
    holds(&aws, &setup, &accepted).await;
}

#[tokio::test]
async fn killed_between_the_call_and_its_answer() {
    let (aws, signer, setup) = prepared().await;
    let mut accepted = Vec::new();
    // Each round makes an invalidation whose answer never comes, and dies over it.
    for round in 0..3 {
        aws.cloudfront
            .fail_next([Fault::HangAfter, Fault::HangAfter]);
        let service = setup.start().await;
        for at in 0..KEYS {
            let key = format!("r{round}k{at}");
            assert_eq!(service.sns(body(&signer, &key)).await.status(), 200);
            accepted.push(key);
        }
        let hanging = || {
            let calls = aws.cloudfront.calls();
            let lost = calls.iter().filter(|call| call.answer == "lost");
            (lost.count() >= 2 * (round + 1)).then_some(())
        };
        until("both calls hang", hanging).await;
        service.kill();
    }
    let service = setup.start().await;
    let covered = || {
        let all = ["E1", "E2"].map(|id| {
            aws.cloudfront
                .paths(id)
                .into_iter()
                .collect::<BTreeSet<_>>()
        });
        all.iter()
            .all(|paths| paths.len() >= accepted.len())
            .then_some(())
    };
    until("all invalidations", covered).await;
    all_completed(&service).await;
    service.kill();
    assert!(
        aws.cloudfront
            .calls()
            .iter()
            .any(|call| call.answer == "repeated")
    );
    holds(&aws, &setup, &accepted).await;
}
