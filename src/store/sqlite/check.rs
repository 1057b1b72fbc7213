//! Looks at a store, which may be in use, and says whether it is sound and what is open in it.

use std::{collections::HashMap, path::Path, time::Duration};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Acquire as _, ConnectOptions as _, Row as _, SqliteConnection};

use super::migrations;
use crate::{
    domain::store_check::{OpenWork, StoreCheck, StoreVersion},
    store::{LookError, OpenError},
};

/// Reads one snapshot of the store, so that a running service neither waits nor disturbs.
pub(crate) async fn check(path: &Path) -> Result<StoreCheck, LookError> {
    let mut connection = look(path).await?;
    let found = examine(&mut connection, path).await;
    found.map_err(|error| failed(path, error))?
}

async fn examine(
    connection: &mut SqliteConnection,
    path: &Path,
) -> sqlx::Result<Result<StoreCheck, LookError>> {
    let mut snapshot = connection.begin().await?;
    let version = match version(&mut snapshot, path).await? {
        Ok(version) => version,
        Err(error) => return Ok(Err(error)),
    };
    let mut faults = Vec::new();
    let integrity = sqlx::query_scalar("PRAGMA integrity_check(20)")
        .fetch_all(&mut *snapshot)
        .await;
    match integrity {
        Ok(lines) => faults.extend(lines.into_iter().filter(|line: &String| line != "ok")),
        Err(error) => faults.push(format!("it cannot be read to its end: {error}")),
    }
    match dangling(&mut snapshot).await {
        Ok(lines) => faults.extend(lines),
        Err(error) => faults.push(format!("its references cannot be checked: {error}")),
    }
    let open = match open_work(&mut snapshot).await {
        Ok(open) => Some(open),
        Err(error) => {
            faults.push(format!("what is open cannot be counted: {error}"));
            None
        }
    };
    Ok(Ok(StoreCheck {
        faults,
        version,
        open,
    }))
}

/// A connection to an existing store. It is not opened read-only, because the newest commits may be
/// in the WAL of a service that was killed; nothing is written through it.
pub(super) async fn look(path: &Path) -> Result<SqliteConnection, LookError> {
    if !path.is_file() {
        return Err(LookError::Missing(path.display().to_string()));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(false)
        .busy_timeout(Duration::from_mins(1));
    let connection = options.connect().await;
    connection.map_err(|error| failed(path, error))
}

pub(super) fn failed(path: &Path, error: impl Into<anyhow::Error>) -> LookError {
    let failed = OpenError::Failed {
        store: path.display().to_string(),
        source: error.into(),
    };
    failed.into()
}

/// The version of the schema; an error if this purgefront did not write it, or not all of it.
pub(super) async fn version(
    snapshot: &mut SqliteConnection,
    path: &Path,
) -> sqlx::Result<Result<StoreVersion, LookError>> {
    let table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    let is_store: bool = sqlx::query_scalar(table).fetch_one(&mut *snapshot).await?;
    if !is_store {
        return Ok(Err(LookError::Foreign(path.display().to_string())));
    }
    let migrations = migrations();
    let known: HashMap<_, _> = migrations
        .iter()
        .map(|one| (one.version, &*one.checksum))
        .collect();
    let applied = sqlx::query("SELECT version, checksum FROM _sqlx_migrations ORDER BY version")
        .fetch_all(snapshot)
        .await?;
    let mut found = 0;
    for row in &applied {
        found = row.try_get("version")?;
        if known.get(&found) != Some(&row.try_get("checksum")?) {
            let other = OpenError::OtherVersion(path.display().to_string());
            return Ok(Err(other.into()));
        }
    }
    let current = migrations.iter().map(|one| one.version).max();
    Ok(Ok(StoreVersion {
        found,
        current: current.unwrap_or_default(),
    }))
}

/// Rows that refer to rows that do not exist.
async fn dangling(snapshot: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let select = "SELECT \"table\", parent, count(*) AS rows FROM pragma_foreign_key_check \
                  GROUP BY 1, 2 LIMIT 20";
    let rows = sqlx::query(select).fetch_all(snapshot).await?;
    let fault = |row: &sqlx::sqlite::SqliteRow| {
        let (table, parent): (String, String) = (row.try_get("table")?, row.try_get("parent")?);
        let rows: i64 = row.try_get("rows")?;
        Ok(format!(
            "{rows} rows of {table} refer to rows of {parent} that do not exist"
        ))
    };
    rows.iter().map(fault).collect()
}

/// Reads only what every version of the schema has.
async fn open_work(snapshot: &mut SqliteConnection) -> sqlx::Result<OpenWork> {
    let mut counts = [0; 5];
    for (count, select) in counts.iter_mut().zip([
        "SELECT count(*) FROM changes WHERE state < 2",
        "SELECT count(*) FROM targets WHERE batch IS NULL",
        "SELECT count(*) FROM batches WHERE status = 'pending'",
        "SELECT count(*) FROM batches WHERE status = 'in_progress'",
        "SELECT count(*) FROM dead_letters",
    ]) {
        *count = sqlx::query_scalar(select).fetch_one(&mut *snapshot).await?;
    }
    let [
        unmapped_changes,
        waiting_items,
        unresolved_batches,
        in_progress,
        dead_letters,
    ] = counts;
    Ok(OpenWork {
        unmapped_changes,
        waiting_items,
        unresolved_batches,
        in_progress,
        dead_letters,
    })
}
