//! Copies a whole store into an empty one, of the same kind or of the other.
//!
//! The copy is one transaction of the target: it is there as a whole, or not at all. Both stores are locked
//! meanwhile, so that a service which is started too early accepts nothing.

mod tables;

use async_trait::async_trait;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use uuid::Uuid;

pub(in crate::store) use self::tables::{Kind, TABLES, Table};
use super::{LookError, OpenError, object_hash::object_hash, postgres, sqlite};
use crate::domain::store_location::StoreLocation;

/// The most rows that are in memory at once, unless they are large.
const ROWS: usize = 2_000;
/// The bytes of texts after which fewer are.
const BYTES: usize = 4 << 20;

/// Why a store could not be copied. Nothing of it is in the target.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("both are the store {0}")]
    Same(String),
    #[error(
        "a service uses the store {store}: {holder} leads. Stop all services of it first; 3 s after the last \
         one was killed, it counts as stopped"
    )]
    InUse { store: String, holder: String },
    #[error(
        "the store {0} is of an older version: start this version's service on it once, then stop it"
    )]
    Older(String),
    #[error(
        "the store {store} has something in {table} already: a copy needs a new file or an empty database"
    )]
    NotEmpty { store: String, table: &'static str },
    #[error("{table} of the copy has {copied} rows instead of {found}; nothing was copied")]
    Different {
        table: &'static str,
        found: u64,
        copied: u64,
    },
    #[error("nothing was copied: {what}: {source:#}")]
    Failed {
        /// What was about to be done.
        what: String,
        source: anyhow::Error,
    },
}

impl From<OpenError> for CopyError {
    fn from(error: OpenError) -> Self {
        Self::Look(error.into())
    }
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// The rows of each table.
    pub rows: Vec<(&'static str, u64)>,
}

/// A column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Number(Option<i64>),
    Flag(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Id(Option<Uuid>),
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Text(Some(text)) => text.len(),
            Self::Bytes(Some(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

pub(in crate::store) type Row = Vec<Value>;

/// A locked store, and a transaction of it.
#[async_trait]
pub(in crate::store) trait End: Send {
    /// All rows of a table, in order.
    fn rows<'s>(&'s mut self, table: &'static Table) -> BoxStream<'s, sqlx::Result<Row>>;

    async fn count(&mut self, table: &'static Table) -> sqlx::Result<u64>;

    /// The number of the journal's last change, whether that still exists or not.
    async fn last_change(&mut self) -> sqlx::Result<i64>;

    /// The highest number that a row of the table may have had.
    async fn highest(&mut self, table: &'static Table) -> sqlx::Result<i64>;

    async fn insert(&mut self, table: &'static Table, rows: Vec<Row>) -> sqlx::Result<()>;

    async fn set_last_change(&mut self, last: i64) -> sqlx::Result<()>;

    /// The next row of the table gets a higher number.
    async fn set_highest(&mut self, table: &'static Table, number: i64) -> sqlx::Result<()>;

    /// Keeps what was inserted. Otherwise, nothing of it is left.
    async fn commit(self: Box<Self>) -> sqlx::Result<()>;
}

/// Copies a store that no service uses into an empty one, which is made if it is not there.
pub async fn copy(from: &StoreLocation, to: &StoreLocation) -> Result<Copied, CopyError> {
    if from.to_string() == to.to_string() {
        return Err(CopyError::Same(from.to_string()));
    }
    let mut source = match from {
        StoreLocation::File(path) => sqlite::copying::source(path).await?,
        StoreLocation::Server(url) => postgres::copying::source(url).await?,
    };
    let mut target = match to {
        StoreLocation::File(path) => sqlite::copying::target(path).await?,
        StoreLocation::Server(url) => postgres::copying::target(url).await?,
    };
    check_empty(&mut *target, to).await?;
    let mut rows = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let what = || format!("the rows of {}", table.name);
        let copied = copy_table(&mut *source, &mut *target, table).await;
        copied.map_err(|error| failed(what(), error))?;
        let found = source.count(table).await;
        let found = found.map_err(|error| failed(what(), error))?;
        let copied = target.count(table).await;
        let copied = copied.map_err(|error| failed(what(), error))?;
        if copied != found {
            return Err(CopyError::Different {
                table: table.name,
                found,
                copied,
            });
        }
        rows.push((table.name, copied));
    }
    let counted = copy_counters(&mut *source, &mut *target).await;
    counted.map_err(|error| failed("the numbers of what comes next".to_owned(), error))?;
    let committed = target.commit().await;
    committed.map_err(|error| failed(format!("writing to {to}"), error))?;
    Ok(Copied { rows })
}

pub(in crate::store) fn failed(what: String, error: impl Into<anyhow::Error>) -> CopyError {
    CopyError::Failed {
        what,
        source: error.into(),
    }
}

async fn check_empty(target: &mut dyn End, to: &StoreLocation) -> Result<(), CopyError> {
    let looking = |error| failed(format!("looking at {to}"), error);
    let not_empty = |table| CopyError::NotEmpty {
        store: to.to_string(),
        table,
    };
    for table in TABLES {
        if target.count(table).await.map_err(looking)? > 0 {
            return Err(not_empty(table.name));
        }
    }
    // Its changes may all be deleted.
    match target.last_change().await.map_err(looking)? {
        0 => Ok(()),
        _ => Err(not_empty("journal")),
    }
}

async fn copy_table(
    source: &mut dyn End,
    target: &mut dyn End,
    table: &'static Table,
) -> sqlx::Result<()> {
    let mut rows = source.rows(table);
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while let Some(mut row) = rows.try_next().await? {
        if table.name == "changes" {
            hash(table, &mut row);
        }
        bytes += row.iter().map(Value::size).sum::<usize>();
        chunk.push(row);
        if chunk.len() == ROWS || bytes >= BYTES {
            target.insert(table, std::mem::take(&mut chunk)).await?;
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        target.insert(table, chunk).await?;
    }
    Ok(())
}

/// Gives a change of an object its hash, which those of old stores do not have.
fn hash(table: &Table, row: &mut Row) {
    let at = |column: &str| table.columns.iter().position(|(name, _)| *name == column);
    let (Some(hash), Some(bucket), Some(key)) = (at("object_hash"), at("bucket"), at("object_key"))
    else {
        return;
    };
    if let (Value::Text(Some(bucket)), Value::Text(Some(key))) = (&row[bucket], &row[key]) {
        row[hash] = Value::Number(Some(object_hash(bucket, key)));
    }
}

async fn copy_counters(source: &mut dyn End, target: &mut dyn End) -> sqlx::Result<()> {
    target.set_last_change(source.last_change().await?).await?;
    for table in TABLES.iter().filter(|table| table.is_numbered()) {
        let highest = source.highest(table).await?;
        target.set_highest(table, highest).await?;
    }
    Ok(())
}
