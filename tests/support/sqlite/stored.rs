//! What the store says in the end, read as an operator would.

use std::{collections::BTreeMap, path::Path};

use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

pub struct Stored {
    /// Batches by caller reference: distribution and items, in order.
    pub batches: BTreeMap<String, (String, Vec<String>)>,
    /// For each (key, distribution, item) of a change: the item of the batch that covers it.
    pub covered: Vec<(String, String, String, Option<String>)>,
}

pub async fn read(path: &Path) -> Stored {
    let options = SqliteConnectOptions::new().filename(path);
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    let mut batches: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let items = "SELECT caller_reference, distribution_id, item FROM batches \
                 JOIN batch_items ON batch_items.batch = batches.seq ORDER BY batches.seq, position";
    for row in sqlx::query(items).fetch_all(&mut store).await.unwrap() {
        let batch = batches.entry(row.get("caller_reference")).or_default();
        batch.0 = row.get("distribution_id");
        batch.1.push(row.get("item"));
    }
    let targets = "SELECT changes.object_key, targets.distribution_id, targets.item, \
                   batch_items.item AS by FROM changes \
                   LEFT JOIN targets ON targets.change = changes.seq \
                   LEFT JOIN batch_items ON batch_items.batch = targets.batch \
                   AND batch_items.position = targets.position";
    let covered = sqlx::query(targets).fetch_all(&mut store).await.unwrap();
    let covered = covered.iter().map(|row| {
        (
            row.get("object_key"),
            row.get("distribution_id"),
            row.get("item"),
            row.get("by"),
        )
    });
    Stored {
        batches,
        covered: covered.collect(),
    }
}
