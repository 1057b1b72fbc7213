//! The proof that a query is from this process: a link from elsewhere cannot tell a result that never was.

use std::sync::LazyLock;

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256, Key},
    rand::SystemRandom,
};
use jiff::{SignedDuration, Timestamp};

/// For how long a proof counts.
const COUNTS_FOR: SignedDuration = SignedDuration::from_mins(10);

/// A new one with each start. Without any, nothing is proven.
static KEY: LazyLock<Option<Key>> =
    LazyLock::new(|| Key::generate(HMAC_SHA256, &SystemRandom::new()).ok());

/// Adds the time and the proof to a query.
pub(super) fn signed(query: &str, now: Timestamp) -> String {
    let dated = format!("{query}&at={}", now.as_second());
    let proof = KEY.as_ref().map(|key| hmac::sign(key, dated.as_bytes()));
    let proof = proof.map(hex::encode).unwrap_or_default();
    format!("{dated}&proof={proof}")
}

/// The query without its proof, if that is right and not too old.
pub(super) fn verified(query: &str, now: Timestamp) -> Option<&str> {
    let (dated, proof) = query.rsplit_once("&proof=")?;
    let proof = hex::decode(proof).ok()?;
    hmac::verify(KEY.as_ref()?, dated.as_bytes(), &proof).ok()?;
    let (query, at) = dated.rsplit_once("&at=")?;
    let at = Timestamp::from_second(at.parse().ok()?).ok()?;
    (now.duration_since(at).abs() <= COUNTS_FOR).then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_counts_for_its_query_and_for_a_while() {
        let now = Timestamp::UNIX_EPOCH;
        let signed = signed("done=drop", now);
        assert_eq!(verified(&signed, now), Some("done=drop"));
        assert_eq!(verified(&signed, now + COUNTS_FOR), Some("done=drop"));
        let late = now + COUNTS_FOR + SignedDuration::from_secs(1);
        assert_eq!(verified(&signed, late), None);
        assert_eq!(verified(&signed.replace("drop", "replay"), now), None);
        assert_eq!(verified("done=drop&at=0&proof=", now), None);
        assert_eq!(verified("done=drop", now), None);
    }
}
