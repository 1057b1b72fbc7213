//! The leader's handle behind a fence: nothing goes through once the term is over, and nothing waits.
//!
//! The store refuses the writes of a former leader as well. The fence also ends the term at a write
//! whose outcome nobody knows, so that what is in memory is read anew from the store.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::term::Term;
use crate::{
    domain::{
        batch::{Batch, Covered, DistributionBacklog, DistributionUsage},
        catalogue::{Revision, Snapshot},
        change::{Change, MappedChange, NewRequest, Remap, Unmapped},
        consolidate::Waiting,
        ledger::OthersInvalidation,
        notice::{Notice, NoticeTarget, Undelivered, WaitingNotices},
        operations::{Backoff, Controls},
        path::Item,
        resolution::{Resolution, Unresolved},
        subscription::{ConfirmationResult, PendingConfirmation},
        tracking::{StatusPoll, Tracked},
        wait::{OpenWait, Wait},
    },
    ports::{
        NoticeStore, StoreError,
        dispatch::{
            BatchStore, DispatchStore, MappingStore, Sweep, TrackingStore, UpkeepStore, Window,
        },
    },
};

pub(super) struct FencedStore {
    store: Arc<dyn DispatchStore>,
    term: Term,
}

/// Puts a handle behind a fence, unless its term cannot end.
pub(super) fn fenced(store: Arc<dyn DispatchStore>, term: &Term) -> Arc<dyn DispatchStore> {
    if term.is_leased() {
        let term = term.clone();
        Arc::new(FencedStore { store, term })
    } else {
        store
    }
}

impl FencedStore {
    async fn guarded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.term.check()?;
        let answer = tokio::select! {
            answer = call => answer,
            () = self.term.over().cancelled() => Err(StoreError::LeadsNoMore),
            () = self.term.out_of_patience() => {
                Err(StoreError::unknown("the store has not answered for a minute"))
            }
        };
        if let Err(StoreError::Unknown { .. } | StoreError::LeadsNoMore) = &answer {
            self.term.end();
        }
        // What follows may be a call to CloudFront, and the process may have been stopped meanwhile.
        self.term.check().and(answer)
    }
}

macro_rules! fence {
    ($port:ident {
        $(fn $verb:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)+
    }) => {
        #[async_trait]
        impl $port for FencedStore {
            $(
                async fn $verb(&self $(, $argument: $kind)*) -> Result<$answer, StoreError> {
                    self.guarded(self.store.$verb($($argument),*)).await
                }
            )+
        }
    };
}

fence!(MappingStore {
    fn unseen_changes(&self, limit: usize) -> Vec<Change>;
    fn open_waits(&self) -> Vec<OpenWait>;
    fn waiting_changes(&self, wait: &Wait, through: i64, limit: usize) -> Vec<Change>;
    fn unmapped(&self) -> Unmapped;
    fn record_mapping(&self, by: Revision, mapped: Vec<MappedChange>) -> ();
    fn journal_end(&self) -> i64;
    fn keep_catalogue(&self, snapshot: &Snapshot, late: &[String], requests: Vec<NewRequest>) -> ();
    fn next_remap(&self) -> Option<Remap>;
    fn changes_to_remap(&self, remap: &Remap, limit: usize) -> Vec<Change>;
    fn record_remap(&self, remap: &Remap, through: Option<i64>, mapped: Vec<MappedChange>) -> ();
});

fence!(BatchStore {
    fn backlogs(&self, distributions: Option<&[String]>) -> Vec<DistributionBacklog>;
    fn waiting(&self, distribution_id: &str, window: Window) -> Vec<Waiting>;
    fn taken_before(&self, batch: Uuid) -> HashSet<Item>;
    fn made_since(&self, distribution_id: &str, since: Timestamp) -> Vec<Item>;
    fn freeze(&self, batch: &Batch, covered: Vec<Covered>, shadow: bool, now: Timestamp) -> ();
    fn unresolved(&self) -> Vec<Unresolved>;
    fn usages(&self) -> Vec<DistributionUsage>;
    fn record_attempt(&self, batch: Uuid, now: Timestamp) -> ();
    fn record_resolution(&self, batch: Uuid, resolution: &Resolution, now: Timestamp) -> ();
    fn backoffs(&self) -> Vec<Backoff>;
    fn controls(&self, day: Date) -> Controls;
    fn end_hold(&self, id: Uuid, now: Timestamp) -> bool;
});

fence!(TrackingStore {
    fn in_progress(&self) -> Vec<Tracked>;
    fn oldest_change(&self, batch: Uuid) -> Option<Timestamp>;
    fn record_poll(&self, batch: Uuid, poll: StatusPoll, now: Timestamp) -> ();
    fn is_ours(&self, cloudfront_id: &str) -> bool;
    fn record_others(&self, one: &OthersInvalidation) -> ();
});

fence!(UpkeepStore {
    fn pending_confirmations(&self) -> Vec<PendingConfirmation>;
    fn record_confirmation(&self, confirmation: &PendingConfirmation, result: ConfirmationResult) -> ();
    fn prune(&self, cutoff: Timestamp, sweep: Sweep) -> Option<Sweep>;
});

fence!(NoticeStore {
    fn set_notice_targets(&self, targets: &[NoticeTarget]) -> u64;
    fn due_notices(&self, target: &str, now: Timestamp, limit: usize) -> Vec<Notice>;
    fn next_notice(&self, target: &str, now: Timestamp) -> Option<Timestamp>;
    fn notice_delivered(&self, seq: i64) -> ();
    fn notice_failed(&self, seq: i64, due_at: Timestamp) -> ();
    fn waiting_notices(&self) -> WaitingNotices;
    fn drop_undelivered(&self, now: Timestamp) -> Undelivered;
});
