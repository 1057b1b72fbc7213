//! Several replicas on one PostgreSQL: one leads, and whatever happens to it, the promises hold.

mod chaos;
mod handover;
mod upgrade;

use std::time::Duration;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    postgres::Database,
    random_messages::{DISTRIBUTIONS, bucket},
    replicas::Replicas,
    signer::Signer,
    sqlite::audit::{Kept, Made, audit},
};

/// Calls that are under way at once, and on a busy machine may arrive together.
const UNDER_WAY: u32 = 3;
/// The services' limits, which the fake keeps as well: faster than AWS, so that a test ends.
const LIMITS: &str = "[batching]\nquiet = \"100ms\"\nmax_wait = \"1s\"\n\
    [limits]\ncalls_per_second = 20\ncall_burst = 5\nitems_per_call = 25\nreads_per_second = 50\nread_burst = 50\n\
    paths_per_second = 100000\nwildcards_per_second = 100\n";

/// CloudFront with quotas, and replicas that keep them.
struct Scene {
    aws: FakeAws,
    signer: Signer,
    database: Database,
    replicas: Replicas,
}

impl Scene {
    /// `None` where there is no PostgreSQL, which is said.
    async fn set(count: usize, completes_after: Duration) -> Option<Self> {
        let database = Database::new().await?;
        let aws = FakeAws::start().await;
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        for id in DISTRIBUTIONS {
            aws.cloudfront.put(Distribution::of(id, &bucket(id)));
        }
        aws.cloudfront.complete_after(completes_after);
        aws.cloudfront.limit_calls(20.0, 5 + UNDER_WAY);
        aws.cloudfront.limit_items(100_000.0, 100.0);
        aws.cloudfront.limit_in_progress(3_000, 15);
        let replicas = Replicas::start(count, &aws, &database, LIMITS).await;
        let leader = replicas.leader().await;
        replicas.service(leader).knows_the_catalogue().await;
        Some(Self {
            aws,
            signer,
            database,
            replicas,
        })
    }

    /// Each change that was answered 2xx went out, once and after it was accepted; each batch is one
    /// invalidation; the quotas were kept but for what a new leader cannot know of.
    async fn holds(self, changes: usize, leaders: usize) {
        let Self {
            aws,
            database,
            mut replicas,
            ..
        } = self;
        replicas.terminate_all().await;
        let copy = replicas.setup(0).home().join("copy.db");
        let to = format!("sqlite://{}", copy.display());
        let copied = replicas
            .setup(0)
            .run(&["store", "copy", database.url(), &to]);
        assert_eq!(copied.0, Some(0), "{}{}", copied.1, copied.2);
        let made = aws.cloudfront.invalidations().into_iter().map(|one| Made {
            caller_reference: one.caller_reference,
            items: one.items,
            created_at: one.created_at,
        });
        let audited = audit(&copy, made.collect(), |_, _| true).await;
        let whole = Kept {
            changes,
            targeted: changes,
        };
        assert_eq!(
            audited, whole,
            "every change that was answered 2xx went out"
        );
        let refused = aws.cloudfront.quota_refusals();
        let sum: usize = refused.values().sum();
        assert!(sum <= leaders, "calls were refused for quotas: {refused:?}");
    }
}
