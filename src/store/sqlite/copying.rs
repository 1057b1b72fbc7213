//! SQLite's part of copying a store.

use std::path::Path;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, QueryBuilder, Row as _, Sqlite, SqliteConnection,
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    check::{look, version},
    columns::{decode, unsigned, uuid},
    file_lock::{FileLock, open_private},
    migrations,
};
use crate::store::{
    LookError, OpenError,
    copy::{CopyError, End, Kind, Row, Table, Value, failed},
};

/// How many values a statement has at most, of the 32,766 that SQLite permits.
const VALUES: usize = 8_000;

struct File {
    connection: SqliteConnection,
    _lock: FileLock,
}

/// A store that no service uses, and that this version wrote.
pub(in crate::store) async fn source(path: &Path) -> Result<Box<dyn End>, CopyError> {
    if !path.is_file() {
        return Err(LookError::Missing(path.display().to_string()).into());
    }
    let lock = FileLock::take(path)?;
    let mut connection = look(path).await?;
    let found = version(&mut connection, path).await;
    let found = found.map_err(|error| reading(path, error))??;
    if found.is_older() {
        return Err(CopyError::Older(path.display().to_string()));
    }
    begin(connection, lock, path).await
}

/// A store with the current schema, which is made if it is not there.
pub(in crate::store) async fn target(path: &Path) -> Result<Box<dyn End>, CopyError> {
    let lock = FileLock::take(path)?;
    let failed = |error: anyhow::Error| OpenError::Failed {
        store: path.display().to_string(),
        source: error,
    };
    open_private(path).map_err(|error| failed(error.into()))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false);
    let connection = options.connect().await;
    let mut connection = connection.map_err(|error| failed(error.into()))?;
    let migrated = migrations().run_direct(None, &mut connection, false).await;
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(_)
        | MigrateError::VersionMismatch(_)
        | MigrateError::VersionTooNew(..) => OpenError::OtherVersion(path.display().to_string()),
        error => failed(error.into()),
    })?;
    begin(connection, lock, path).await
}

async fn begin(
    mut connection: SqliteConnection,
    lock: FileLock,
    path: &Path,
) -> Result<Box<dyn End>, CopyError> {
    let begun = sqlx::query("BEGIN").execute(&mut connection).await;
    begun.map_err(|error| reading(path, error))?;
    Ok(Box::new(File {
        connection,
        _lock: lock,
    }))
}

fn reading(path: &Path, error: sqlx::Error) -> CopyError {
    failed(format!("reading {}", path.display()), error)
}

#[async_trait]
impl End for File {
    fn rows<'s>(&'s mut self, table: &'static Table) -> BoxStream<'s, sqlx::Result<Row>> {
        let Table { name, key, .. } = table;
        let columns = table.names().join(", ");
        let select = format!("SELECT {columns} FROM {name} ORDER BY {key}");
        let rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.connection);
        rows.and_then(move |row| std::future::ready(values(table, &row)))
            .boxed()
    }

    async fn count(&mut self, table: &'static Table) -> sqlx::Result<u64> {
        let count = format!("SELECT count(*) FROM {}", table.name);
        let count = sqlx::query_scalar(AssertSqlSafe(count));
        Ok(unsigned(count.fetch_one(&mut self.connection).await?))
    }

    async fn last_change(&mut self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT last FROM journal")
            .fetch_one(&mut self.connection)
            .await
    }

    /// Only the numbers of dead letters, which people use, are never given twice.
    async fn highest(&mut self, table: &'static Table) -> sqlx::Result<i64> {
        let select = format!(
            "SELECT max(coalesce((SELECT max(seq) FROM {0}), 0), \
             coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{0}'), 0))",
            table.name
        );
        sqlx::query_scalar(AssertSqlSafe(select))
            .fetch_one(&mut self.connection)
            .await
    }

    async fn insert(&mut self, table: &'static Table, rows: Vec<Row>) -> sqlx::Result<()> {
        let columns = table.names().join(", ");
        let begin = format!("INSERT INTO {} ({columns}) ", table.name);
        for chunk in rows.chunks(VALUES / table.columns.len()) {
            let mut insert = QueryBuilder::<Sqlite>::new(&begin);
            insert.push_values(chunk, |mut values, row| {
                for (value, (_, kind)) in row.iter().zip(table.columns) {
                    match value {
                        Value::Number(number) => values.push_bind(*number),
                        Value::Flag(flag) => values.push_bind(*flag),
                        Value::Text(text) => values.push_bind(text.clone()),
                        Value::Bytes(bytes) => values.push_bind(bytes.clone()),
                        Value::Id(id) if *kind == Kind::ShortId => {
                            values.push_bind(id.map(|id| id.as_bytes().to_vec()))
                        }
                        Value::Id(id) => values.push_bind(id.map(|id| id.to_string())),
                    };
                }
            });
            insert.build().execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn set_last_change(&mut self, last: i64) -> sqlx::Result<()> {
        let update = sqlx::query("UPDATE journal SET last = ?").bind(last);
        update.execute(&mut self.connection).await.map(drop)
    }

    async fn set_highest(&mut self, table: &'static Table, number: i64) -> sqlx::Result<()> {
        if table.name != "dead_letters" || number == 0 {
            return Ok(());
        }
        let forget = "DELETE FROM sqlite_sequence WHERE name = 'dead_letters'";
        sqlx::query(forget).execute(&mut self.connection).await?;
        let insert = sqlx::query("INSERT INTO sqlite_sequence VALUES ('dead_letters', ?)");
        let insert = insert.bind(number).execute(&mut self.connection);
        insert.await.map(drop)
    }

    async fn commit(mut self: Box<Self>) -> sqlx::Result<()> {
        let commit = sqlx::query("COMMIT").execute(&mut self.connection);
        commit.await.map(drop)?;
        sqlx::Connection::close(self.connection).await
    }
}

fn values(table: &'static Table, row: &SqliteRow) -> sqlx::Result<Row> {
    let columns = table.columns.iter();
    let value = |(name, kind): &(&'static str, Kind)| {
        let text = || row.try_get::<Option<String>, _>(*name);
        Ok(match kind {
            Kind::Number => Value::Number(row.try_get(*name)?),
            Kind::Flag => Value::Flag(row.try_get(*name)?),
            Kind::Text => Value::Text(text()?),
            Kind::Bytes => Value::Bytes(row.try_get(*name)?),
            Kind::Id => Value::Id(text()?.as_deref().map(uuid).transpose()?),
            Kind::ShortId => {
                let bytes: Option<Vec<u8>> = row.try_get(*name)?;
                let id = bytes.map(|bytes| Uuid::from_slice(&bytes).map_err(decode));
                Value::Id(id.transpose()?)
            }
        })
    };
    columns.map(value).collect()
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;
    use crate::store::{copy::TABLES, sqlite::columns::text};

    /// What is not copied: a counter that is set, and what is about the store itself.
    const OTHERS: [&str; 2] = ["journal", "probe"];

    #[tokio::test]
    async fn every_column_is_copied() {
        let mut store = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let migrated = migrations().run_direct(None, &mut store, false).await;
        migrated.unwrap();
        let select = "SELECT tables.name AS \"table\", columns.name AS \"column\" \
                      FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
                      WHERE tables.type = 'table' AND tables.name NOT LIKE '\\_%' ESCAPE '\\' \
                      AND tables.name NOT LIKE 'sqlite%' AND columns.name <> 'only' ORDER BY 1, 2";
        let rows = sqlx::query(select).fetch_all(&mut store).await.unwrap();
        let column = |row: &SqliteRow| (text(row, "table").unwrap(), text(row, "column").unwrap());
        let mut found: Vec<_> = rows.iter().map(column).collect();
        found.retain(|(table, _)| !OTHERS.contains(&table.as_str()));
        let columns = TABLES.iter().flat_map(|table| {
            let columns = table.columns.iter();
            columns.map(|(column, _)| (table.name.to_owned(), (*column).to_owned()))
        });
        let mut copied: Vec<_> = columns.collect();
        copied.sort();
        assert_eq!(copied, found);
    }
}
