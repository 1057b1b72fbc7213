//! A stop while calls are under way: each answer is recorded when it comes, however long others take.

use std::{future, sync::Arc};

use async_trait::async_trait;
use purgefront::{
    domain::{
        batch::Batch,
        catalogue::CacheKey,
        cdn::{
            CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
            SeenInvalidation,
        },
        change::{Asked, NewRequest},
        path::Item,
    },
    ports::{Cdn, Clock as _, intake::IntakeStore as _},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::{
    clock::VirtualClock,
    inside::{Inside, in_front_of, settings},
};

/// CloudFront answers for E1 when it is told to, and for E2 never.
struct SlowAnswers {
    called: Semaphore,
    answer: Semaphore,
}

#[async_trait]
impl Cdn for SlowAnswers {
    async fn list_distributions(&self, _: Option<&str>) -> Result<DistributionPage, CdnError> {
        Ok(DistributionPage {
            distributions: ["E1", "E2"]
                .map(|id| in_front_of(id, "site.s3.amazonaws.com"))
                .to_vec(),
            next_marker: None,
        })
    }

    async fn details(&self, _: &str) -> Result<DistributionDetails, CdnError> {
        Ok(DistributionDetails::default())
    }

    async fn cache_policy(&self, _: &str) -> Result<CacheKey, CdnError> {
        unreachable!("no distribution has a policy of its own")
    }

    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        self.called.add_permits(1);
        if batch.distribution_id == "E2" {
            future::pending::<()>().await;
        }
        let _permit = self.answer.acquire().await.unwrap();
        Ok(CreatedInvalidation {
            cloudfront_id: "I1".to_owned(),
            completed: false,
        })
    }

    async fn invalidation(&self, _: &str, _: &str) -> Result<SeenInvalidation, CdnError> {
        Err(CdnError::Unknown("not in this test".to_owned()))
    }

    async fn newest_invalidations(
        &self,
        _: &str,
        _: Option<&str>,
    ) -> Result<InvalidationPage, CdnError> {
        Ok(InvalidationPage::default())
    }
}

#[tokio::test]
async fn an_answer_during_a_stop_is_recorded_although_another_call_hangs() {
    let clock = Arc::new(VirtualClock::new());
    let cdn = Arc::new(SlowAnswers {
        called: Semaphore::new(0),
        answer: Semaphore::new(0),
    });
    let inside = Inside::start(Arc::clone(&clock) as _, Arc::clone(&cdn) as _, settings()).await;
    inside.settle().await;
    for id in ["E1", "E2"] {
        let request = NewRequest {
            id: Uuid::now_v7(),
            token: "test".to_owned(),
            reason: None,
            asked: Asked::Items {
                distribution_id: id.to_owned(),
                items: vec![Item::parse("/a").unwrap()],
            },
            idempotency: None,
            accepted_at: clock.now(),
        };
        inside.store.accept_request(request).await.unwrap();
    }
    inside.wake();
    while cdn.called.available_permits() < 2 {
        inside.settle().await;
        assert!(clock.advance_to_next(), "both are called");
    }
    let tasks = inside.tasks.clone();
    let ending = tokio::spawn(async move { tasks.end().await });
    inside.settle().await;
    cdn.answer.add_permits(1);
    inside.settle().await;
    let open = inside.leader.in_progress().await.unwrap();
    assert_eq!(open.len(), 1, "the answer for E1 is recorded");
    assert!(!ending.is_finished(), "the call for E2 is still under way");
    ending.abort();
}
