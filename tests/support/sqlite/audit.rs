//! The books: what the store says against what CloudFront made.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;
use purgefront::domain::path::Item;
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// An invalidation as CloudFront has it.
#[derive(Debug, Clone)]
pub struct Made {
    pub caller_reference: String,
    pub items: Vec<String>,
    pub created_at: Timestamp,
}

/// How much the store has kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    pub changes: usize,
    /// Changes that went out to at least one distribution.
    pub targeted: usize,
}

/// Every accepted change is covered by an invalidation made after it, every invalidation is
/// exactly one stored batch, and each item of each change and target is covered exactly once. Only
/// items that may fail, at this distribution, may be dead letters instead.
pub async fn audit(
    path: &Path,
    mut made: Vec<Made>,
    may_fail: impl Fn(&str, &str) -> bool,
) -> Kept {
    let mut store = open(path).await;
    // Nobody can know what became of the last call for a distribution that is gone.
    let failed = "SELECT caller_reference, distribution_id FROM batches WHERE status = 'failed'";
    for row in sqlx::query(failed).fetch_all(&mut store).await.unwrap() {
        let (reference, id): (String, String) = (row.get(0), row.get(1));
        made.retain(|one| one.caller_reference != reference || !may_fail(&id, &one.items[0]));
    }
    let mut batches: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let items = "SELECT caller_reference, item FROM batches \
                 JOIN batch_items ON batch_items.batch = batches.seq \
                 WHERE status = 'completed' ORDER BY batches.seq, position";
    for row in sqlx::query(items).fetch_all(&mut store).await.unwrap() {
        batches
            .entry(row.get("caller_reference"))
            .or_default()
            .push(row.get("item"));
    }
    let mut created = BTreeMap::new();
    for one in &made {
        let batch = batches.get(&one.caller_reference);
        assert_eq!(
            batch,
            Some(&one.items),
            "an invalidation is exactly one batch"
        );
        let first = created.insert(one.caller_reference.clone(), one.created_at);
        assert_eq!(first, None, "a batch is at most one invalidation");
    }
    assert_eq!(
        made.len(),
        batches.len(),
        "a completed batch is an invalidation"
    );
    let targets = "SELECT targets.change, targets.distribution_id, targets.item, \
                   targets.accepted_at, batches.caller_reference, batches.status, \
                   batch_items.item AS by FROM targets \
                   LEFT JOIN batches ON batches.seq = targets.batch \
                   LEFT JOIN batch_items ON batch_items.batch = targets.batch \
                   AND batch_items.position = targets.position";
    let mut seen = BTreeSet::new();
    for row in sqlx::query(targets).fetch_all(&mut store).await.unwrap() {
        let (change, id): (i64, String) = (row.get("change"), row.get("distribution_id"));
        let item: String = row.get("item");
        assert!(
            seen.insert((change, id.clone(), item.clone())),
            "{item} is targeted once"
        );
        let status: Option<String> = row.get("status");
        if status.as_deref() == Some("failed") {
            assert!(may_fail(&id, &item), "{item} of {id} is a dead letter");
            continue;
        }
        assert_eq!(status.as_deref(), Some("completed"), "{item} is covered");
        let by = Item::parse(&row.get::<String, _>("by")).unwrap();
        assert!(
            by.covers(&Item::parse(&item).unwrap()),
            "{by} covers {item}"
        );
        let reference: String = row.get("caller_reference");
        let accepted_at = Timestamp::from_microsecond(row.get("accepted_at")).unwrap();
        assert!(
            created[&reference] >= accepted_at,
            "{item} is covered by what came after it"
        );
    }
    assert_eq!(
        count(&mut store, "SELECT count(*) FROM changes WHERE state < 2").await,
        0,
        "every change was mapped"
    );
    Kept {
        changes: count(&mut store, "SELECT count(*) FROM changes").await,
        targeted: count(&mut store, "SELECT count(DISTINCT change) FROM targets").await,
    }
}

/// The distributions of changes that came to nothing: each has a bucket of its own.
pub async fn untargeted(path: &Path) -> Vec<String> {
    let select = "SELECT coalesce(distribution_id, upper(replace(bucket, 'bucket-', ''))) AS id \
                  FROM changes WHERE NOT EXISTS \
                  (SELECT 1 FROM targets WHERE targets.change = changes.seq)";
    let rows = sqlx::query(select).fetch_all(&mut open(path).await).await;
    let ids = rows.unwrap().into_iter().map(|row| row.get("id"));
    ids.collect()
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn count(store: &mut SqliteConnection, select: &'static str) -> usize {
    let count: i64 = sqlx::query_scalar(select).fetch_one(store).await.unwrap();
    usize::try_from(count).unwrap()
}
