//! Messages about objects of random names, for tests that let everything happen.

use super::signer::{Signer, s3_records};

/// Distributions, each with a bucket of its own.
pub const DISTRIBUTIONS: [&str; 3] = ["E1", "E2", "E3"];

pub fn bucket(id: &str) -> String {
    format!("bucket-{}", id.to_lowercase())
}

/// A message about some keys, now and then one that needs a wildcard. Counts its changes.
pub fn message(signer: &Signer, random: &mut fastrand::Rng, changes: &mut usize) -> String {
    let id = random.choice(DISTRIBUTIONS).unwrap();
    let keys: Vec<_> = (0..random.usize(1..4))
        .map(|_| {
            let odd = if random.u8(..) == 0 { "~x" } else { "" };
            // Few enough that many come again after they were invalidated.
            format!("k{}{odd}", random.usize(0..300))
        })
        .collect();
    let records: Vec<_> = keys
        .iter()
        .map(|key| ("ObjectCreated:Put", key.as_str()))
        .collect();
    *changes += records.len();
    signer
        .notification(&s3_records(&bucket(id), &records))
        .body()
}
