//! Hashes of tokens and credentials, compared in constant time, and keys that sign.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The SHA-256 of what is no secret.
pub fn sha256(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    hash
}

/// The SHA-256 of a token or of credentials. `Debug` hides it, because a short password could be
/// guessed from its hash.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub fn of(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).ok()?;
        Some(Self(hash))
    }

    /// 64 hex digits, as in the configuration.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Compares in constant time.
    pub fn matches(&self, shown: &Self) -> bool {
        verify_slices_are_equal(&self.0, &shown.0).is_ok()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// A secret of Standard Webhooks, which signs notices. `Debug` hides it.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl SigningSecret {
    /// What it looks like.
    pub const WANTED: &str = "whsec_ followed by the base64 of 24 to 64 bytes";

    /// Reads `whsec_` and base64.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        let key = || hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        (24..=64).contains(&bytes.len()).then(key).map(Self)
    }

    /// The HMAC-SHA256 of a text, in base64.
    pub fn sign(&self, text: &[u8]) -> String {
        STANDARD.encode(hmac::sign(&self.0, text))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_hash_is_read_written_and_compared() {
        let known = SecretHash::from_hex(ABC).unwrap();
        assert_eq!(SecretHash::of(b"abc").to_hex(), ABC);
        assert!(
            SecretHash::from_hex(&ABC.to_uppercase())
                .unwrap()
                .matches(&known)
        );
        assert!(SecretHash::of(b"abc").matches(&known));
        for other in ["", "ab", "abd", "abc ", "ABC"] {
            assert!(!SecretHash::of(other.as_bytes()).matches(&known), "{other}");
        }
    }

    #[test]
    fn malformed_hashes_are_rejected() {
        for text in [
            "",
            &ABC[1..],
            &format!("{ABC}0"),
            &ABC.replace('b', "g"),
            &ABC.replace("ba", "+a"),
            &ABC.replace("ba", "ä"),
        ] {
            assert!(SecretHash::from_hex(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_hash() {
        let debug = format!("{:?}", SecretHash::of(b"abc"));
        assert_eq!(debug, "SecretHash(..)");
    }

    #[test]
    fn a_signing_secret_has_its_prefix_and_enough_bytes() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for bytes in [24, 32, 64] {
            let secret = SigningSecret::read(&of(bytes)).unwrap();
            assert_eq!(format!("{secret:?}"), "SigningSecret(..)");
        }
        let bare = STANDARD.encode([7; 32]);
        for wrong in [&of(23), &of(65), &bare, "whsec_", "whsec_???", ""] {
            assert!(SigningSecret::read(wrong).is_none(), "{wrong}");
        }
    }
}
