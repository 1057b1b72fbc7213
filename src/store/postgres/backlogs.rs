//! SQL for the backlog of each distribution: counters that are updated with the waiting items.

use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::columns::{Text, count, decode, optional_time, read_all, signed, text, texts, time};
pub(super) use crate::store::counts::Counts;
use crate::{
    domain::{
        batch::{Backlog, DistributionBacklog, Group},
        consolidate::Waiting,
        path::Item,
    },
    ports::{StoreError, dispatch::Window},
};

/// Adds rows of counts, which may be negative. A distribution has a row once it has had a backlog.
macro_rules! add_rows {
    ($rows:literal) => {
        concat!(
            "INSERT INTO backlogs AS known \
             (distribution_id, items, wildcards, manual_paths, manual_wildcards) ",
            $rows,
            " ON CONFLICT (distribution_id) DO UPDATE SET items = known.items + excluded.items, \
             wildcards = known.wildcards + excluded.wildcards, \
             manual_paths = known.manual_paths + excluded.manual_paths, \
             manual_wildcards = known.manual_wildcards + excluded.manual_wildcards"
        )
    };
}

/// Adds items that now wait.
pub(super) async fn add(connection: &mut PgConnection, counts: &Counts) -> sqlx::Result<()> {
    let (ids, numbers): (Vec<_>, Vec<_>) = counts
        .rows()
        .map(|(id, numbers)| (Text::new(id), numbers))
        .unzip();
    let column = |at: usize| -> Vec<i64> { numbers.iter().map(|row| row[at]).collect() };
    let add = add_rows!(
        "SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])"
    );
    sqlx::query(add)
        .bind(ids)
        .bind(column(0))
        .bind(column(1))
        .bind(column(2))
        .bind(column(3))
        .execute(connection)
        .await?;
    Ok(())
}

/// Subtracts the items that a batch has just covered.
pub(super) async fn take(connection: &mut PgConnection, batch: i64) -> sqlx::Result<()> {
    change_by_batch(connection, batch, -1).await
}

/// Adds the items that a batch covers, before it is dissolved.
pub(super) async fn give_back(connection: &mut PgConnection, batch: i64) -> sqlx::Result<()> {
    change_by_batch(connection, batch, 1).await
}

async fn change_by_batch(connection: &mut PgConnection, batch: i64, sign: i64) -> sqlx::Result<()> {
    let covered = add_rows!(
        "SELECT distribution_id, $1 * count(*), $1 * count(*) FILTER (WHERE wildcard), \
         $1 * count(*) FILTER (WHERE manual AND NOT wildcard), \
         $1 * count(*) FILTER (WHERE manual AND wildcard) \
         FROM targets WHERE batch = $2 GROUP BY distribution_id"
    );
    sqlx::query(covered)
        .bind(sign)
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

/// The time at one end of a kind's range in the index of waiting items.
macro_rules! end {
    ($manual:literal, $wildcard:literal, $order:literal, $name:literal) => {
        concat!(
            ", (SELECT accepted_at FROM targets WHERE batch IS NULL \
             AND targets.distribution_id = backlogs.distribution_id AND wildcard = ",
            $wildcard,
            " AND manual = ",
            $manual,
            " ORDER BY accepted_at ",
            $order,
            ", seq ",
            $order,
            " LIMIT 1) AS ",
            $name
        )
    };
}

const READ: &str = concat!(
    "SELECT *",
    end!(true, false, "ASC", "manual_paths_oldest"),
    end!(true, false, "DESC", "manual_paths_newest"),
    end!(true, true, "ASC", "manual_wildcards_oldest"),
    end!(true, true, "DESC", "manual_wildcards_newest"),
    end!(false, false, "ASC", "paths_oldest"),
    end!(false, false, "DESC", "paths_newest"),
    end!(false, true, "ASC", "wildcards_oldest"),
    end!(false, true, "DESC", "wildcards_newest"),
    ", items - wildcards - manual_paths AS paths, \
     wildcards - manual_wildcards AS automatic_wildcards FROM backlogs \
     WHERE CASE WHEN $1::text[] IS NULL THEN items > 0 ELSE distribution_id = ANY($1) END"
);

pub(super) async fn read(
    readers: &PgPool,
    distributions: Option<&[String]>,
) -> Result<Vec<DistributionBacklog>, StoreError> {
    let rows = sqlx::query(READ)
        .bind(distributions.map(texts))
        .fetch_all(readers)
        .await?;
    read_all("backlogs", "distribution_id", &rows, backlog)
}

/// The columns of a kind of waiting items in [`READ`].
struct Columns {
    items: &'static str,
    oldest: &'static str,
    newest: &'static str,
}

const KINDS: [Columns; 4] = [
    Columns {
        items: "manual_paths",
        oldest: "manual_paths_oldest",
        newest: "manual_paths_newest",
    },
    Columns {
        items: "manual_wildcards",
        oldest: "manual_wildcards_oldest",
        newest: "manual_wildcards_newest",
    },
    Columns {
        items: "paths",
        oldest: "paths_oldest",
        newest: "paths_newest",
    },
    Columns {
        items: "automatic_wildcards",
        oldest: "wildcards_oldest",
        newest: "wildcards_newest",
    },
];

fn backlog(row: &PgRow) -> sqlx::Result<DistributionBacklog> {
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
        distribution_id: text(row, "distribution_id")?,
        backlog: Backlog {
            manual_paths: group(&manual_paths)?,
            manual_wildcards: group(&manual_wildcards)?,
            paths: group(&paths)?,
            wildcards: group(&wildcards)?,
        },
    })
}

/// An item is read if those before it have fewer bytes than the window.
const WAITING: &str = "SELECT seq, change, item, manual, accepted_at FROM (SELECT *, \
    sum(octet_length(item)) OVER (ORDER BY manual DESC, accepted_at, seq ROWS UNBOUNDED PRECEDING) \
    - octet_length(item) AS before FROM (SELECT seq, change, item, manual, accepted_at FROM targets \
    WHERE batch IS NULL AND distribution_id = $1 AND wildcard = $2 \
    ORDER BY manual DESC, accepted_at, seq LIMIT $3) AS first) AS counted WHERE before < $4";

pub(super) async fn waiting(
    readers: &PgPool,
    distribution_id: &str,
    window: Window,
) -> Result<Vec<Waiting>, StoreError> {
    let mut waiting = Vec::new();
    for wildcard in [false, true] {
        let rows = sqlx::query(WAITING)
            .bind(Text::new(distribution_id))
            .bind(wildcard)
            .bind(signed(window.items))
            .bind(signed(window.bytes))
            .fetch_all(readers)
            .await?;
        waiting.extend(read_all("targets", "seq", &rows, |row| {
            Ok(Waiting {
                target: row.try_get("seq")?,
                change: row.try_get("change")?,
                item: Item::try_from(text(row, "item")?).map_err(decode)?,
                manual: row.try_get("manual")?,
                accepted_at: time(row.try_get("accepted_at")?)?,
            })
        })?);
    }
    waiting.sort_by_key(|one| (!one.manual, one.accepted_at, one.target));
    Ok(waiting)
}
