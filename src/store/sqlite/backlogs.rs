//! SQL for the backlog of each distribution: counters that are updated with the waiting items.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::columns::{count, decode, optional_time, read_all, signed};
use crate::{
    domain::batch::{Backlog, DistributionBacklog},
    ports::StoreError,
};

/// Counts added items by distribution.
#[derive(Default)]
pub(super) struct Counts(HashMap<String, Count>);

#[derive(Default)]
struct Count {
    items: usize,
    wildcards: usize,
    manual_paths: usize,
    manual_wildcards: usize,
}

impl Counts {
    pub(super) fn count(&mut self, distribution_id: &str, wildcard: bool, manual: bool) {
        if !self.0.contains_key(distribution_id) {
            self.0.insert(distribution_id.to_owned(), Count::default());
        }
        if let Some(count) = self.0.get_mut(distribution_id) {
            count.items += 1;
            count.wildcards += usize::from(wildcard);
            count.manual_paths += usize::from(manual && !wildcard);
            count.manual_wildcards += usize::from(manual && wildcard);
        }
    }
}

/// Adds rows of counts, which may be negative. A distribution has a row once it has had a backlog.
macro_rules! add_rows {
    ($rows:literal) => {
        concat!(
            "INSERT INTO backlogs \
             (distribution_id, items, wildcards, manual_paths, manual_wildcards) ",
            $rows,
            " ON CONFLICT DO UPDATE SET items = items + excluded.items, \
             wildcards = wildcards + excluded.wildcards, \
             manual_paths = manual_paths + excluded.manual_paths, \
             manual_wildcards = manual_wildcards + excluded.manual_wildcards"
        )
    };
}

/// Adds items that now wait.
pub(super) async fn add(connection: &mut SqliteConnection, counts: &Counts) -> sqlx::Result<()> {
    for (distribution_id, count) in &counts.0 {
        sqlx::query(add_rows!("VALUES (?, ?, ?, ?, ?)"))
            .bind(distribution_id)
            .bind(signed(count.items))
            .bind(signed(count.wildcards))
            .bind(signed(count.manual_paths))
            .bind(signed(count.manual_wildcards))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Subtracts the items that a batch has just covered.
pub(super) async fn take(connection: &mut SqliteConnection, batch: i64) -> sqlx::Result<()> {
    change_by_batch(connection, batch, -1).await
}

/// Adds the items that a batch covers, before it is dissolved.
pub(super) async fn give_back(connection: &mut SqliteConnection, batch: i64) -> sqlx::Result<()> {
    change_by_batch(connection, batch, 1).await
}

async fn change_by_batch(
    connection: &mut SqliteConnection,
    batch: i64,
    sign: i64,
) -> sqlx::Result<()> {
    let covered = add_rows!(
        "SELECT distribution_id, ?1 * count(*), ?1 * sum(wildcard), \
         ?1 * sum(manual AND NOT wildcard), ?1 * sum(manual AND wildcard) \
         FROM targets WHERE batch = ?2 GROUP BY distribution_id"
    );
    sqlx::query(covered)
        .bind(sign)
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn read(
    readers: &SqlitePool,
    distributions: Option<&[String]>,
) -> Result<Vec<DistributionBacklog>, StoreError> {
    // Oldest and newest are the ends of the index of waiting items. There are two of each, because
    // the index has manual items first.
    let mut select = QueryBuilder::<Sqlite>::new("SELECT *");
    for (name, manual, order) in [
        ("manual_oldest", 1, "ASC"),
        ("manual_newest", 1, "DESC"),
        ("oldest", 0, "ASC"),
        ("newest", 0, "DESC"),
    ] {
        select.push(format_args!(
            ", (SELECT accepted_at FROM targets WHERE batch IS NULL \
             AND targets.distribution_id = backlogs.distribution_id AND manual = {manual} \
             ORDER BY accepted_at {order} LIMIT 1) AS {name}"
        ));
    }
    select.push(" FROM backlogs WHERE ");
    match distributions {
        Some(ids) => {
            let ids = serde_json::to_string(ids).map_err(decode)?;
            select
                .push("distribution_id IN (SELECT value FROM json_each(")
                .push_bind(ids)
                .push("))");
        }
        None => {
            select.push("items > 0");
        }
    }
    let rows = select.build().fetch_all(readers).await?;
    read_all("backlogs", "distribution_id", &rows, backlog)
}

fn backlog(row: &SqliteRow) -> sqlx::Result<DistributionBacklog> {
    let time = |column| optional_time(row.try_get(column)?);
    let oldest = [time("oldest")?, time("manual_oldest")?];
    let newest = [time("newest")?, time("manual_newest")?];
    let oldest = oldest.into_iter().flatten().min();
    let newest = newest.into_iter().flatten().max();
    let items = count(row, "items")?;
    let backlog = match (oldest, newest) {
        (Some(oldest), Some(newest)) if items > 0 => Some(Backlog {
            items,
            wildcards: count(row, "wildcards")?,
            manual_paths: count(row, "manual_paths")?,
            manual_wildcards: count(row, "manual_wildcards")?,
            oldest,
            newest,
        }),
        _ => None,
    };
    Ok(DistributionBacklog {
        distribution_id: row.try_get("distribution_id")?,
        backlog,
    })
}
