//! The schema's migrations, and which versions of the service it is compatible with.

use std::collections::HashMap;

use sqlx::{
    PgConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::store::OpenError;

/// Migrates the schema. Processes that start together wait for each other.
///
/// A database that is ahead of this build is used as it is, so that replicas can be upgraded one by one, unless a
/// migration has raised `schema_marks.min_version` above the newest one that this build knows.
pub(super) async fn migrate(connection: &mut PgConnection, name: &str) -> Result<(), OpenError> {
    let failed = |error: anyhow::Error| OpenError::Failed {
        store: name.into(),
        source: error,
    };
    // Until another process is done, and as long as it takes.
    let patience = "SET statement_timeout = 0; SET lock_timeout = 0; \
                    SET idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(patience)
        .execute(&mut *connection)
        .await
        .map_err(|error| failed(error.into()))?;
    if oldest_supported(connection)
        .await
        .map_err(|error| failed(error.into()))?
        > newest()
    {
        return Err(OpenError::OtherVersion(name.into()));
    }
    let migrated = migrations().run_direct(None, connection, false).await;
    migrated.map_err(|error| failed(error.into()))
}

/// What a database has of the schema, as this build sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    Absent,
    /// The next start migrates it.
    Older,
    Current,
    /// A newer one, which this build can use.
    Newer,
    /// Of another version, which this build cannot use.
    Other,
}

pub(super) async fn look(connection: &mut PgConnection) -> sqlx::Result<Schema> {
    let is_there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let is_there: bool = sqlx::query_scalar(is_there)
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(Schema::Absent);
    }
    let applied = "SELECT version, checksum FROM _sqlx_migrations";
    let applied: HashMap<i64, Vec<u8>> = sqlx::query_as(applied)
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
    let known = migrations();
    let checksums = known
        .iter()
        .map(|one| (applied.get(&one.version), &one.checksum));
    let (mut missing, mut other) = (false, false);
    for (applied, ours) in checksums {
        missing |= applied.is_none();
        other |= applied.is_some_and(|applied| **applied != **ours);
    }
    let newest_applied = applied.keys().max().copied().unwrap_or(0);
    Ok(if applied.is_empty() {
        Schema::Absent
    } else if other || oldest_supported(connection).await? > newest() {
        Schema::Other
    } else if missing {
        Schema::Older
    } else if newest_applied > newest() {
        Schema::Newer
    } else {
        Schema::Current
    })
}

/// The number of the newest migration that a build has to know to use this database.
async fn oldest_supported(connection: &mut PgConnection) -> sqlx::Result<i64> {
    let is_there = "SELECT to_regclass('schema_marks') IS NOT NULL";
    let is_there: bool = sqlx::query_scalar(is_there)
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(0);
    }
    let select = "SELECT coalesce(max(min_version), 0) FROM schema_marks";
    sqlx::query_scalar(select).fetch_one(connection).await
}

fn newest() -> i64 {
    migrations()
        .iter()
        .map(|one| one.version)
        .max()
        .unwrap_or(0)
}

fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(vec![
        migration(1, "store", include_str!("migrations/0001_store.sql")),
        migration(2, "economy", include_str!("migrations/0002_economy.sql")),
    ]);
    migrator.set_ignore_missing(true);
    migrator
}
