//! The tables that a copy takes over, with their columns: those of both kinds of store. Left out are `journal`, whose
//! counter is set, and what only one kind has or what is only about running processes.

/// How both kinds of store write a column. SQLite has numbers, text and blobs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Number,
    /// 0 or 1; BOOLEAN in PostgreSQL.
    Flag,
    Text,
    Bytes,
    /// A UUID, which SQLite has as text,
    Id,
    /// or as a blob.
    ShortId,
}

pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// The order of the rows.
    pub(in crate::store) key: &'static str,
    pub(in crate::store) columns: &'static [(&'static str, Kind)],
}

impl Table {
    /// The numbers of its rows are given by the store, in order.
    pub(in crate::store) fn is_numbered(&self) -> bool {
        self.key == "seq" && self.name != "changes"
    }

    pub(in crate::store) fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }
}

macro_rules! table {
    ($name:literal by $key:literal: $($kind:ident { $($column:ident),+ }),+ $(,)?) => {
        Table {
            name: $name,
            key: $key,
            columns: &[$($((stringify!($column), Kind::$kind)),+),+],
        }
    };
}

/// In an order in which those that others refer to come first.
pub(in crate::store) const TABLES: &[Table] = &[
    table!("messages" by "seq": Number { seq, signed_at, accepted_at }, ShortId { message_id }, Text { kind, topic }),
    table!("requests" by "seq":
        Number { seq, accepted_at }, Id { id }, Text { token, reason, distributions, idempotency_key },
        Bytes { body }),
    table!("changes" by "seq":
        Number {
            seq, message, request, event_time, accepted_at, state, mapped_revision, object_hash
        },
        Text { bucket, object_key, event, distribution_id, path, sequencer }),
    table!("batches" by "seq":
        Number {
            seq, parent, item_count, wildcard_count, manual_count, change_count, created_at, submitted_at,
            completed_at, failures, due_at
        },
        Id { id }, Flag { has_new_reference },
        Text { distribution_id, caller_reference, status, cloudfront_id, counted_on }),
    table!("batch_items" by "batch, position": Number { batch, position }, Text { item }),
    table!("batch_merges" by "batch":
        Number { batch, frozen_at }, Text { distribution_id, merges }),
    table!("attempts" by "seq": Number { seq, batch, started_at, finished_at }, Text { outcome, detail }),
    table!("targets" by "seq":
        Number { seq, change, accepted_at, batch, position }, Flag { manual, wildcard },
        Text { distribution_id, item, because }),
    table!("backlogs" by "distribution_id":
        Text { distribution_id }, Number { items, wildcards, manual_paths, manual_wildcards }),
    table!("skips" by "seq": Number { seq, change }, Flag { failed }, Text { distribution_id, why }),
    table!("dead_letters" by "seq":
        Number { seq, message, change, batch, created_at }, Text { kind, why, content, distribution_id }),
    table!("paused" by "distribution_id": Text { distribution_id }),
    table!("backoffs" by "distribution_id":
        Text { distribution_id, error, detail }, Number { failures, not_before }, Flag { ended }),
    table!("day_spending" by "day": Text { day }, Number { items, others }, Flag { lifted }),
    table!("others_invalidations" by "seq":
        Number { seq, created_at, paths }, Text { distribution_id, cloudfront_id }),
    table!("confirmations" by "topic, token":
        Text { topic, token, state, detail }, Number { signed_at, failures, due_at }),
    table!("ended_subscriptions" by "topic": Text { topic }, Number { signed_at }),
    table!("catalogue" by "revision": Number { read_since, revision, journal_end }, Text { cache_policies }),
    table!("distributions" by "id": Text { id, document }),
    table!("late_distributions" by "seq": Number { seq, after, revision }, Text { distribution_id }),
    table!("waits" by "seq": Number { seq }, Text { kind, distribution_id, name }),
    table!("change_waits" by "wait, change": Number { wait, change }),
    table!("certificates" by "url": Text { url, pem }, Number { kept_at }),
    table!("holds" by "seq":
        Number { seq, created_at, expires_at, ended_at }, Id { id }, Bytes { body },
        Text { distribution_id, bucket, distributions, token, reason, idempotency_key }),
    table!("notice_targets" by "key": Text { key, kinds, distributions }),
    table!("notices" by "seq":
        Number { seq, created_at, failures, due_at }, Id { id }, Text { target, body }),
];
