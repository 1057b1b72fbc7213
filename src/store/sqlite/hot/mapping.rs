//! Reading changes that nobody has looked at, and recording what they need.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{
    super::{
        backlogs::{ADD, Counts},
        columns::{micros, signed},
        mapping::{UNSEEN, skip_rows, target_rows},
    },
    decode, read_one, time,
};
use crate::{
    domain::{
        catalogue::Revision,
        change::{Change, Effect, MappedChange, Source, Subject},
        path::Item,
    },
    ports::StoreError,
};

pub(in crate::store::sqlite) fn unseen(
    connection: &Connection,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut select = connection.prepare_cached(UNSEEN)?;
    let mut rows = select.query([signed(limit)])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(read_one("changes", row, change)?);
    }
    Ok(changes)
}

/// Reads the columns of `select_changes!`, in their order.
fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let subject = match row.get_ref(6)?.as_str_or_null()? {
        Some(path) => Subject::Item {
            distribution_id: row.get(5)?,
            item: Item::read(path).map_err(|error| decode(6, error))?,
        },
        None => Subject::Object {
            bucket: row.get(2)?,
            key: row.get(3)?,
            // Whoever gives a key does not say what became of its object.
            effect: match row.get_ref(4)?.as_str_or_null()? {
                Some(event) => Effect::of(event),
                None => Effect::Appears,
            },
        },
    };
    let source = if let Some(id) = row.get_ref(8)?.as_str_or_null()? {
        let id = id.parse();
        Source::Request(id.map_err(|error: uuid::Error| decode(8, error))?)
    } else {
        let id = Uuid::from_slice(row.get_ref(7)?.as_bytes()?);
        Source::Message(id.map_err(|error| decode(7, error))?)
    };
    let only_at = row.get_ref(9)?.as_str_or_null()?;
    let only_at = only_at.map(|ids| serde_json::from_str(ids).map_err(|error| decode(9, error)));
    Ok(Change {
        seq: row.get(0)?,
        accepted_at: time(row, 1)?,
        subject,
        source,
        only_at: only_at.transpose()?,
    })
}

const SET_MAPPED: &str =
    "UPDATE changes SET state = 2, mapped_revision = ? WHERE seq = ? AND state = 0";
const INSERT_TARGET: &str = target_rows!("VALUES (?, ?, ?, ?, ?, ?, ?)");
const INSERT_SKIP: &str = skip_rows!("VALUES (?, ?, ?)");

/// The results of mapping.
pub(in crate::store::sqlite) struct Mapped {
    /// The catalogue that they were mapped with.
    pub(in crate::store::sqlite) by: Revision,
    pub(in crate::store::sqlite) changes: Vec<MappedChange>,
    pub(in crate::store::sqlite) now: Timestamp,
}

impl Mapped {
    /// Whether [`record`] may take them: they were mapped to all distributions, none waits, and none failed.
    pub(in crate::store::sqlite) fn is_simple(&self) -> bool {
        self.changes.iter().all(|one| {
            one.only.is_none() && one.mapping.waits.is_empty() && one.mapping.dead.is_empty()
        })
    }
}

/// Records the results of mapping. Returns `false` if any of the changes has been looked at before: then
/// what it has written must not stay.
pub(super) fn record(transaction: &Connection, results: &Mapped) -> rusqlite::Result<bool> {
    let Mapped { by, changes, .. } = results;
    if !set_mapped(transaction, *by, changes)? {
        return Ok(false);
    }
    let mut counts = Counts::default();
    let mut insert_target = transaction.prepare_cached(INSERT_TARGET)?;
    let mut insert_skip = transaction.prepare_cached(INSERT_SKIP)?;
    for MappedChange {
        change, mapping, ..
    } in changes
    {
        for target in &mapping.targets {
            let wildcard = target.item.is_wildcard();
            counts.count(&target.distribution_id, wildcard, change.is_manual());
            insert_target.execute(params![
                change.seq,
                target.distribution_id,
                target.item.as_str(),
                wildcard,
                target.because,
                change.is_manual(),
                micros(change.accepted_at),
            ])?;
        }
        for skip in &mapping.skipped {
            insert_skip.execute(params![change.seq, skip.distribution_id, skip.why])?;
        }
    }
    drop((insert_target, insert_skip));
    let mut add = transaction.prepare_cached(ADD)?;
    for (distribution_id, [items, wildcards, manual_paths, manual_wildcards]) in counts.rows() {
        add.execute(params![
            distribution_id,
            items,
            wildcards,
            manual_paths,
            manual_wildcards
        ])?;
    }
    Ok(true)
}

/// Whether all changes were unseen until now.
fn set_mapped(
    connection: &Connection,
    by: Revision,
    mapped: &[MappedChange],
) -> rusqlite::Result<bool> {
    let mut set = connection.prepare_cached(SET_MAPPED)?;
    for one in mapped {
        if set.execute([by.0, one.change.seq])? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
