//! The seams: what the service needs of a store, of AWS and of time, as traits.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    batch::{Backlog, Batch, Usage},
    catalogue::{CacheKey, Distribution, Snapshot},
    change::{Acceptance, Change, NewMessage, NewRequest, Verdict},
    consolidate::Waiting,
    history::{
        DeadLetter, InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView,
    },
    mapping::Mapping,
    s3_event::ObjectChange,
    sns_message::{Refusal, SnsMessage, Token},
    topic::TopicArn,
};

pub use crate::domain::outcome::CdnError;

/// Time. Everything that waits for hours in production takes it from here, so that tests can
/// play those hours in seconds.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Returns once it is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
}

/// What makes an SNS message believable, and what answers its subscription.
#[async_trait]
pub trait SnsTrust: Send + Sync + 'static {
    /// Believes `message` or says why not. Waits for its certificate until `deadline` at most.
    async fn verify(&self, message: &SnsMessage, deadline: Timestamp) -> Result<(), Refusal>;

    /// Confirms a subscription and returns its ARN. Repeating it does no harm.
    async fn confirm_subscription(
        &self,
        topic: &TopicArn,
        token: &Token,
        authenticate_on_unsubscribe: bool,
    ) -> Result<String, ConfirmError>;
}

/// Why a subscription was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// SNS will never take this confirmation.
    #[error("{0}")]
    Permanent(String),
    /// It may work later.
    #[error("{0}")]
    Retry(String),
}

/// Where verified certificates outlive a restart: bounded, by address. A certificate that is
/// not there is fetched anew, so neither verb has to succeed.
#[async_trait]
pub trait CertificateCache: Send + Sync + 'static {
    /// A kept certificate, as PEM.
    async fn certificate(&self, url: &str) -> Result<Option<String>, StoreError>;

    /// Keeps a certificate that a message was verified with.
    async fn keep_certificate(&self, url: &str, pem: &str) -> Result<(), StoreError>;
}

/// `CloudFront`'s control plane.
#[async_trait]
pub trait Cdn: Send + Sync + 'static {
    /// One page of the account's distributions, and the marker of the next page.
    async fn list_distributions(
        &self,
        marker: Option<&str>,
    ) -> Result<(Vec<Distribution>, Option<String>), CdnError>;

    /// What the list does not say of a distribution.
    async fn details(&self, distribution_id: &str) -> Result<ReadDetails, CdnError>;

    /// What matters of a cache policy.
    async fn cache_policy(&self, id: &str) -> Result<CacheKey, CdnError>;

    /// Makes an invalidation of `batch`: one call, without retries. Sent again unchanged, it
    /// returns the invalidation that already exists.
    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError>;

    /// An invalidation by its id.
    async fn invalidation(
        &self,
        distribution_id: &str,
        id: &str,
    ) -> Result<SeenInvalidation, CdnError>;

    /// The newest invalidations of a distribution, whoever made them: one page of ids, and
    /// whether each is completed.
    async fn newest_invalidations(
        &self,
        distribution_id: &str,
    ) -> Result<Vec<(String, bool)>, CdnError>;
}

/// What the list does not say of a distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadDetails {
    /// Its default root object, `None` where it has none.
    pub root: Option<String>,
    /// Whether it keeps the tags of cached objects.
    pub cache_tags: bool,
}

/// What `CloudFront` made of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedInvalidation {
    /// `CloudFront`'s id.
    pub cloudfront_id: String,
    /// Whether it is completed already.
    pub completed: bool,
}

/// An invalidation as `CloudFront` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenInvalidation {
    /// Whether it is done.
    pub completed: bool,
    /// The reference that it was made under.
    pub caller_reference: String,
    /// Its items, in order.
    pub items: Vec<String>,
}

/// The durable store. Every verb is one transaction; when it returns `Ok`, what it wrote is
/// committed and synced.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes a verified message into the journal, once.
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError>;

    /// Takes a person's request into the journal.
    async fn accept_request(&self, request: NewRequest) -> Result<(), StoreError>;

    /// Changes that nobody has looked at yet: people's first, then the oldest.
    async fn unseen_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Changes after `seq` that wait for the catalogue, the oldest first.
    async fn parked_changes(&self, after: i64, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Records what became of changes.
    async fn record_verdicts(&self, verdicts: Vec<(Change, Verdict)>) -> Result<(), StoreError>;

    /// What waits to be planned, by distribution. Reads all that waits: for a start.
    async fn backlogs(&self) -> Result<Vec<(String, Backlog)>, StoreError>;

    /// What waits at a distribution: people's first, then the oldest.
    async fn waiting(
        &self,
        distribution_id: &str,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError>;

    /// Freezes a batch, with which waiting items each of its items covers (by number and
    /// position), counts its items for the day, and records its first attempt; in shadow mode
    /// there is none.
    async fn freeze(
        &self,
        batch: &Batch,
        covered: Vec<(i64, usize)>,
        shadow: bool,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// What a frozen batch covers, as it would wait if the batch were dissolved.
    async fn backlog_of(&self, batch: Uuid) -> Result<Option<Backlog>, StoreError>;

    /// Items in progress, ours, by distribution.
    async fn usages(&self) -> Result<Vec<(String, Usage)>, StoreError>;

    /// The waits and pauses that outlive a restart.
    async fn brakes(&self) -> Result<Brakes, StoreError>;

    /// Stops or starts sending, for one distribution or for all.
    async fn set_paused(
        &self,
        distribution_id: Option<&str>,
        paused: bool,
    ) -> Result<(), StoreError>;

    /// How many items were sent on a day (since 1970, in UTC), and whether its limit is lifted.
    async fn sent_on(&self, day: i64) -> Result<(u64, bool), StoreError>;

    /// Lifts a day's limit.
    async fn lift_limit(&self, day: i64) -> Result<(), StoreError>;

    /// The batches without an answer, by distribution.
    async fn unresolved(&self) -> Result<Vec<Unresolved>, StoreError>;

    /// Records that another attempt with a batch is about to leave.
    async fn record_attempt(&self, batch: Uuid, now: Timestamp) -> Result<(), StoreError>;

    /// Records what an attempt led to.
    async fn record_answer(
        &self,
        batch: Uuid,
        answer: Answer,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Invalidations whose next look is due at `now`, and when the first of the others is.
    async fn due_looks(&self, now: Timestamp, limit: usize) -> Result<Looks, StoreError>;

    /// Whether an invalidation of `CloudFront`'s is one that we made.
    async fn is_ours(&self, cloudfront_id: &str) -> Result<bool, StoreError>;

    /// Records what a look at an invalidation showed.
    async fn record_look(&self, batch: Uuid, look: Look, now: Timestamp) -> Result<(), StoreError>;

    /// The kept catalogue; `None` where none was ever read.
    async fn catalogue(&self) -> Result<Option<Snapshot>, StoreError>;

    /// Keeps a catalogue in place of the one before, and notes that what was accepted since
    /// the reading before is to be mapped again to the `late` distributions.
    async fn keep_catalogue(&self, snapshot: &Snapshot, late: &[String]) -> Result<(), StoreError>;

    /// The oldest note of changes that are to be mapped again to a distribution.
    async fn remap(&self) -> Result<Option<Remap>, StoreError>;

    /// The next changes of such a note that were mapped before.
    async fn changes_of(&self, remap: &Remap, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Records what mapping these changes again led to, each item once; the note goes on
    /// after the last of them, or is done where there are none.
    async fn record_remap(
        &self,
        remap: &Remap,
        mapped: Vec<(Change, Mapping)>,
    ) -> Result<(), StoreError>;

    /// Subscriptions that wait to be confirmed, the one that is due first first.
    async fn pending_confirmations(&self) -> Result<Vec<PendingConfirmation>, StoreError>;

    /// Records what a confirmation led to.
    async fn record_confirmation(
        &self,
        confirmation: &PendingConfirmation,
        result: ConfirmationResult,
    ) -> Result<(), StoreError>;

    /// A page of dead letters, the newest first: those before the one with this number.
    async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// A dead letter by its number.
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError>;

    /// Lets an item's changes wait again. False where the letter is gone, or there is nothing
    /// behind it that could wait.
    async fn replay_item(&self, id: i64) -> Result<bool, StoreError>;

    /// Makes a change of a record that could not be read before. False where it is gone.
    async fn replay_record(&self, id: i64, change: ObjectChange) -> Result<bool, StoreError>;

    /// Drops a dead letter. False where it is gone.
    async fn drop_dead_letter(&self, id: i64) -> Result<bool, StoreError>;

    /// Deletes some history from before `cutoff`, never what is open. True where there is more.
    async fn prune(&self, cutoff: Timestamp) -> Result<bool, StoreError>;

    /// The topics whose subscription ended and from which nothing came since.
    async fn ended_subscriptions(&self) -> Result<Vec<String>, StoreError>;

    /// How many dead letters are kept, counted up to `most`.
    async fn count_dead_letters(&self, most: usize) -> Result<u64, StoreError>;

    /// A request and what became of it.
    async fn request(&self, id: Uuid) -> Result<Option<RequestView>, StoreError>;

    /// A page of invalidations, the newest first.
    async fn invalidations(
        &self,
        query: &InvalidationQuery,
    ) -> Result<Vec<InvalidationSummary>, StoreError>;

    /// An invalidation by our id or by `CloudFront`'s, with the why of each item.
    async fn invalidation(&self, id: &str) -> Result<Option<InvalidationDetail>, StoreError>;
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot take or give anything now: a full disk, an I/O error. Later it may.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// Changes that are to be mapped again to a distribution that was not known, or was other
/// than it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    /// The distribution.
    pub distribution_id: String,
    /// Only those accepted from here on.
    pub since: Timestamp,
    /// The changes after this one,
    pub after: i64,
    /// up to this one.
    pub through: i64,
}

/// A frozen batch that `CloudFront` has not answered for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// The batch.
    pub batch: Batch,
    /// How often it was tried in vain.
    pub failures: u32,
    /// Nobody knows the end of one of its attempts.
    pub in_doubt: bool,
    /// It had its fresh reference.
    pub renamed: bool,
    /// Since when `CloudFront` says that its distribution is not there.
    pub missing_since: Option<Timestamp>,
    /// Not to be sent before this time.
    pub due_at: Timestamp,
}

/// What an attempt led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An invalidation; unless it is completed, the first look at it is due at `look_at`.
    Created {
        /// What `CloudFront` made.
        invalidation: CreatedInvalidation,
        /// When to look at it.
        look_at: Timestamp,
    },
    /// A refusal, or nobody knows.
    Refused {
        /// Why.
        error: CdnError,
        /// What follows for the batch.
        fate: Fate,
        /// How often its distribution was tried in vain, this time included,
        failures: u32,
        /// and not to be tried before this time.
        due_at: Timestamp,
    },
}

/// What follows for a batch that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The same pair goes out again.
    Kept,
    /// The same items go out again under this reference.
    Renamed(String),
    /// Its changes wait again.
    Dissolved,
    /// These take its place: its items in order, split.
    Split(Vec<Batch>),
    /// Its items are dead letters.
    Buried,
}

/// The waits and pauses that outlive a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brakes {
    /// Nothing is sent at all.
    pub all_paused: bool,
    /// Each distribution's own.
    pub distributions: Vec<Brake>,
}

/// What keeps a distribution from being served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brake {
    /// The distribution.
    pub distribution_id: String,
    /// Somebody paused it.
    pub paused: bool,
    /// How often it was tried in vain.
    pub failures: u32,
    /// Not to be tried before this time.
    pub not_before: Timestamp,
}

/// The invalidations to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looks {
    /// Those that are due.
    pub due: Vec<Tracked>,
    /// When the first of the others is.
    pub next_at: Option<Timestamp>,
}

/// An invalidation that is followed until it is completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The batch that it was made of.
    pub batch: Uuid,
    /// The distribution.
    pub distribution_id: String,
    /// `CloudFront`'s id.
    pub cloudfront_id: String,
    /// When `CloudFront` made it.
    pub submitted_at: Timestamp,
    /// What it takes of the pools.
    pub usage: Usage,
    /// When the oldest change was accepted that it covers.
    pub oldest: Timestamp,
}

/// What a look at an invalidation showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is done.
    Completed,
    /// Not yet, or it could not be seen: look again then.
    Again(Timestamp),
}

/// A subscription that waits to be confirmed.
#[derive(Debug, Clone)]
pub struct PendingConfirmation {
    /// The topic.
    pub topic: TopicArn,
    /// What SNS wants to hear.
    pub token: Token,
    /// When SNS signed it: the token lives two days from then.
    pub signed_at: Timestamp,
    /// How often it was tried in vain.
    pub failures: u32,
    /// Not to be tried before this time.
    pub due_at: Timestamp,
}

/// What a confirmation led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfirmationResult {
    /// SNS took it and gave the subscription this ARN.
    Confirmed(String),
    /// Never to be confirmed, and why.
    GivenUp(String),
    /// Try again then.
    Again {
        /// When.
        due_at: Timestamp,
        /// Why it was not confirmed now.
        why: String,
    },
}
