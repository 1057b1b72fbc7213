//! Reading what the mapper has noted for later: the waits of changes, and changes to map again.

use rusqlite::Connection;

use super::{super::waits, decode, read_one};
use crate::{
    domain::{catalogue::Revision, change::Remap, wait::OpenWait},
    ports::StoreError,
};

const OPEN: &str = "SELECT seq, kind, distribution_id, name, first FROM (SELECT *, \
    (SELECT min(change) FROM change_waits WHERE wait = waits.seq) AS first FROM waits) \
    WHERE first IS NOT NULL ORDER BY seq";

/// There are few waits, however many changes have one.
pub(in crate::store::sqlite) fn open_waits(
    connection: &Connection,
) -> Result<Vec<OpenWait>, StoreError> {
    let mut select = connection.prepare_cached(OPEN)?;
    let mut rows = select.query([])?;
    let mut waits = Vec::new();
    while let Some(row) = rows.next()? {
        waits.push(read_one("waits", row, |row| {
            Ok(OpenWait {
                wait: waits::of(row.get_ref(1)?.as_str()?, row.get(2)?, row.get(3)?)
                    .map_err(|error| decode(1, error))?,
                first: row.get(4)?,
            })
        })?);
    }
    Ok(waits)
}

const NEXT_REMAP: &str = "SELECT seq, distribution_id, after, revision FROM late_distributions \
    WHERE (revision, after) = (SELECT revision, after FROM late_distributions \
    ORDER BY revision, after LIMIT 1) ORDER BY seq";

/// Late distributions with the same changes are in one note, so that these are read once.
pub(in crate::store::sqlite) fn next_remap(
    connection: &Connection,
) -> Result<Option<Remap>, StoreError> {
    let mut select = connection.prepare_cached(NEXT_REMAP)?;
    let mut rows = select.query([])?;
    let mut note: Option<Remap> = None;
    while let Some(row) = rows.next()? {
        let mut one = read_one("late_distributions", row, |row| {
            Ok(Remap {
                distributions: vec![row.get(1)?],
                after: row.get(2)?,
                revision: Revision(row.get(3)?),
            })
        })?;
        match &mut note {
            Some(note) => note.distributions.append(&mut one.distributions),
            None => note = Some(one),
        }
    }
    Ok(note)
}
