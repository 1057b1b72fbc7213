//! Reading the items of a distribution that wait to be sent.

use rusqlite::{Connection, Row, params};

use super::{super::columns::signed, decode, read_one, time};
use crate::{
    domain::{consolidate::Waiting, path::Item},
    ports::{StoreError, dispatch::Window},
};

pub(in crate::store::sqlite) fn waiting(
    connection: &Connection,
    distribution_id: &str,
    window: Window,
) -> Result<Vec<Waiting>, StoreError> {
    let mut waiting = Vec::new();
    for wildcard in [false, true] {
        read_waiting(connection, distribution_id, wildcard, window, &mut waiting)?;
    }
    waiting.sort_by_key(|one| (!one.manual, one.accepted_at, one.target));
    Ok(waiting)
}

const WAITING: &str = "SELECT seq, change, item, manual, accepted_at FROM targets \
    WHERE batch IS NULL AND distribution_id = ? AND wildcard = ? \
    ORDER BY manual DESC, accepted_at, seq LIMIT ?";

fn item(row: &Row<'_>, column: usize) -> rusqlite::Result<Item> {
    let text: String = row.get(column)?;
    Item::try_from(text).map_err(|error| decode(column, error))
}

/// Adds the waiting items of one kind.
fn read_waiting(
    connection: &Connection,
    distribution_id: &str,
    wildcard: bool,
    window: Window,
    waiting: &mut Vec<Waiting>,
) -> Result<(), StoreError> {
    let mut select = connection.prepare_cached(WAITING)?;
    let mut rows = select.query(params![distribution_id, wildcard, signed(window.items)])?;
    let mut bytes = 0;
    while bytes < window.bytes
        && let Some(row) = rows.next()?
    {
        let one = read_one("targets", row, |row| {
            Ok(Waiting {
                target: row.get(0)?,
                change: row.get(1)?,
                item: item(row, 2)?,
                manual: row.get(3)?,
                accepted_at: time(row, 4)?,
            })
        })?;
        bytes += one.item.as_str().len();
        waiting.push(one);
    }
    Ok(())
}
