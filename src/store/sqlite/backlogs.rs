//! SQL for the backlog of each distribution: counters that are updated with the waiting items.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::columns::{count, decode, optional_time, read_all};
pub(super) use crate::store::counts::Counts;
use crate::{
    domain::batch::{Backlog, DistributionBacklog, Group, Kind},
    ports::StoreError,
};

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

pub(super) const ADD: &str = add_rows!("VALUES (?, ?, ?, ?, ?)");

/// Adds items that now wait.
pub(super) async fn add(connection: &mut SqliteConnection, counts: &Counts) -> sqlx::Result<()> {
    for (distribution_id, [items, wildcards, manual_paths, manual_wildcards]) in counts.rows() {
        sqlx::query(ADD)
            .bind(distribution_id)
            .bind(items)
            .bind(wildcards)
            .bind(manual_paths)
            .bind(manual_wildcards)
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
    // Oldest and newest are the ends of each kind's range in the index of waiting items.
    let mut select = QueryBuilder::<Sqlite>::new("SELECT *");
    for Columns {
        kind,
        oldest,
        newest,
        ..
    } in KINDS
    {
        let Kind { manual, wildcard } = kind;
        for (name, order) in [(oldest, "ASC"), (newest, "DESC")] {
            select.push(format_args!(
                ", (SELECT accepted_at FROM targets WHERE batch IS NULL \
                 AND targets.distribution_id = backlogs.distribution_id \
                 AND wildcard = {wildcard} AND manual = {manual} \
                 ORDER BY accepted_at {order} LIMIT 1) AS {name}"
            ));
        }
    }
    select.push(
        ", items - wildcards - manual_paths AS paths, \
         wildcards - manual_wildcards AS automatic_wildcards FROM backlogs WHERE ",
    );
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

/// The columns of a kind of waiting items.
struct Columns {
    kind: Kind,
    items: &'static str,
    oldest: &'static str,
    newest: &'static str,
}

const KINDS: [Columns; 4] = [
    Columns {
        kind: Kind {
            manual: true,
            wildcard: false,
        },
        items: "manual_paths",
        oldest: "manual_paths_oldest",
        newest: "manual_paths_newest",
    },
    Columns {
        kind: Kind {
            manual: true,
            wildcard: true,
        },
        items: "manual_wildcards",
        oldest: "manual_wildcards_oldest",
        newest: "manual_wildcards_newest",
    },
    Columns {
        kind: Kind {
            manual: false,
            wildcard: false,
        },
        items: "paths",
        oldest: "paths_oldest",
        newest: "paths_newest",
    },
    Columns {
        kind: Kind {
            manual: false,
            wildcard: true,
        },
        items: "automatic_wildcards",
        oldest: "wildcards_oldest",
        newest: "wildcards_newest",
    },
];

fn backlog(row: &SqliteRow) -> sqlx::Result<DistributionBacklog> {
    let group = |columns: &Columns| {
        let oldest = optional_time(row.try_get(columns.oldest)?)?;
        let newest = optional_time(row.try_get(columns.newest)?)?;
        let items = count(row, columns.items)?;
        Ok::<_, sqlx::Error>(match (oldest, newest) {
            (Some(oldest), Some(newest)) if items > 0 => Some(Group {
                items,
                oldest,
                newest,
            }),
            _ => None,
        })
    };
    let [manual_paths, manual_wildcards, paths, wildcards] = KINDS;
    Ok(DistributionBacklog {
        distribution_id: row.try_get("distribution_id")?,
        backlog: Backlog {
            manual_paths: group(&manual_paths)?,
            manual_wildcards: group(&manual_wildcards)?,
            paths: group(&paths)?,
            wildcards: group(&wildcards)?,
        },
    })
}
