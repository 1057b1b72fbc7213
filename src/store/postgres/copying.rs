//! PostgreSQL's part of copying a store.

use std::str::FromStr as _;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    columns::{Text, optional_text, unsigned},
    for_session, leases,
    link::connect,
    schema::{self, Schema},
};
use crate::{
    domain::store_location::ServerUrl,
    store::{
        LookError, OpenError,
        copy::{CopyError, End, Kind, Row, Table, Value, failed},
    },
};

/// A copy takes as long as it takes.
const PATIENCE: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                        SET lock_timeout = '10s'";
/// One state of everything, which no service changes meanwhile, nor leads: it waits for these rows.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; \
                     LOCK TABLE turn, journal, leases IN EXCLUSIVE MODE";

struct Server(PgConnection);

/// A store that no service uses, and that this version wrote.
pub(in crate::store) async fn source(url: &ServerUrl) -> Result<Box<dyn End>, CopyError> {
    let (mut connection, reading) = open(url).await?;
    match schema::look(&mut connection).await.map_err(&reading)? {
        Schema::Current => {}
        Schema::Absent => return Err(LookError::Foreign(url.to_string()).into()),
        Schema::Older => return Err(CopyError::Older(url.to_string())),
        Schema::Newer | Schema::Other => {
            return Err(OpenError::OtherVersion(url.to_string()).into());
        }
    }
    begin(connection, url).await
}

/// A store with the current schema, which is made if it is not there.
pub(in crate::store) async fn target(url: &ServerUrl) -> Result<Box<dyn End>, CopyError> {
    let (mut connection, reading) = open(url).await?;
    schema::migrate(&mut connection, &url.to_string()).await?;
    if schema::look(&mut connection).await.map_err(reading)? != Schema::Current {
        return Err(OpenError::OtherVersion(url.to_string()).into());
    }
    begin(connection, url).await
}

async fn open(
    url: &ServerUrl,
) -> Result<(PgConnection, impl Fn(sqlx::Error) -> CopyError), CopyError> {
    let opening = |error: anyhow::Error| OpenError::Failed {
        store: url.to_string(),
        source: error,
    };
    let options = PgConnectOptions::from_str(url.expose());
    let options = for_session(options.map_err(|error| opening(error.into()))?);
    let connection = connect(&options).await;
    let connection = connection.map_err(|error| opening(error.into()))?;
    let name = url.to_string();
    let reading = move |error| failed(format!("reading {name}"), error);
    Ok((connection, reading))
}

async fn begin(mut connection: PgConnection, url: &ServerUrl) -> Result<Box<dyn End>, CopyError> {
    let locked = async {
        sqlx::raw_sql(PATIENCE).execute(&mut connection).await?;
        sqlx::raw_sql(BEGIN).execute(&mut connection).await?;
        leases::held(&mut connection).await
    };
    let locked = locked.await;
    match locked.map_err(|error| failed(format!("locking {url}"), error))? {
        Some(lease) => Err(CopyError::InUse {
            store: url.to_string(),
            holder: lease.holder,
        }),
        None => Ok(Box::new(Server(connection))),
    }
}

#[async_trait]
impl End for Server {
    fn rows<'s>(&'s mut self, table: &'static Table) -> BoxStream<'s, sqlx::Result<Row>> {
        let column = |(name, kind): &(&'static str, Kind)| match kind {
            // Some are SMALLINT.
            Kind::Number => format!("{name}::bigint AS {name}"),
            _ => (*name).to_owned(),
        };
        let columns: Vec<_> = table.columns.iter().map(column).collect();
        let select = format!(
            "SELECT {} FROM {} ORDER BY {}",
            columns.join(", "),
            table.name,
            table.key
        );
        let rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.0);
        rows.and_then(move |row| std::future::ready(values(table, &row)))
            .boxed()
    }

    async fn count(&mut self, table: &'static Table) -> sqlx::Result<u64> {
        let count = format!("SELECT count(*) FROM {}", table.name);
        let count = sqlx::query_scalar(AssertSqlSafe(count));
        Ok(unsigned(count.fetch_one(&mut self.0).await?))
    }

    async fn last_change(&mut self) -> sqlx::Result<i64> {
        let last = "SELECT coalesce(pg_sequence_last_value('journal_numbers'), 0)";
        sqlx::query_scalar(last).fetch_one(&mut self.0).await
    }

    async fn highest(&mut self, table: &'static Table) -> sqlx::Result<i64> {
        let select = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence($1, 'seq')::regclass), 0)";
        sqlx::query_scalar(select)
            .bind(table.name)
            .fetch_one(&mut self.0)
            .await
    }

    async fn insert(&mut self, table: &'static Table, rows: Vec<Row>) -> sqlx::Result<()> {
        let arrays: Vec<_> = table.columns.iter().enumerate().map(array).collect();
        let insert = format!(
            "INSERT INTO {} ({}) SELECT * FROM unnest({})",
            table.name,
            table.names().join(", "),
            arrays.join(", ")
        );
        let mut columns: Vec<Vec<Value>> = table.columns.iter().map(|_| Vec::new()).collect();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let mut insert = sqlx::query(AssertSqlSafe(insert));
        for (column, (_, kind)) in columns.into_iter().zip(table.columns) {
            let values = column.into_iter();
            insert = match kind {
                Kind::Number => insert.bind(of(values, |value| match value {
                    Value::Number(number) => number,
                    _ => None,
                })),
                Kind::Flag => insert.bind(of(values, |value| match value {
                    Value::Flag(flag) => flag,
                    _ => None,
                })),
                Kind::Text => insert.bind(of(values, |value| match value {
                    Value::Text(text) => text.map(Text::from),
                    _ => None,
                })),
                Kind::Bytes => insert.bind(of(values, |value| match value {
                    Value::Bytes(bytes) => bytes,
                    _ => None,
                })),
                Kind::Id | Kind::ShortId => insert.bind(of(values, |value| match value {
                    Value::Id(id) => id,
                    _ => None,
                })),
            };
        }
        insert.execute(&mut self.0).await.map(drop)
    }

    async fn set_last_change(&mut self, last: i64) -> sqlx::Result<()> {
        let set = sqlx::query("SELECT setval('journal_numbers', $1)").bind(last);
        set.execute(&mut self.0).await.map(drop)
    }

    async fn set_highest(&mut self, table: &'static Table, number: i64) -> sqlx::Result<()> {
        if number == 0 {
            return Ok(());
        }
        sqlx::query("SELECT setval(pg_get_serial_sequence($1, 'seq'), $2)")
            .bind(table.name)
            .bind(number)
            .execute(&mut self.0)
            .await
            .map(drop)
    }

    async fn commit(mut self: Box<Self>) -> sqlx::Result<()> {
        sqlx::raw_sql("COMMIT").execute(&mut self.0).await?;
        // Plans depend on it, and autovacuum takes a minute.
        sqlx::raw_sql("ANALYZE")
            .execute(&mut self.0)
            .await
            .map(drop)
    }
}

/// A column's array among the arguments.
fn array((at, (_, kind)): (usize, &(&'static str, Kind))) -> String {
    let kind = match kind {
        Kind::Number => "bigint",
        Kind::Flag => "boolean",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Id | Kind::ShortId => "uuid",
    };
    format!("${}::{kind}[]", at + 1)
}

fn of<T>(values: impl Iterator<Item = Value>, of: impl Fn(Value) -> Option<T>) -> Vec<Option<T>> {
    values.map(of).collect()
}

fn values(table: &'static Table, row: &PgRow) -> sqlx::Result<Row> {
    let columns = table.columns.iter();
    let value = |(name, kind): &(&'static str, Kind)| {
        Ok(match kind {
            Kind::Number => Value::Number(row.try_get(*name)?),
            Kind::Flag => Value::Flag(row.try_get(*name)?),
            Kind::Text => Value::Text(optional_text(row, name)?),
            Kind::Bytes => Value::Bytes(row.try_get(*name)?),
            Kind::Id | Kind::ShortId => Value::Id(row.try_get(*name)?),
        })
    };
    columns.map(value).collect()
}
