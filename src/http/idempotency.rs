//! The header Idempotency-Key, with which a caller can repeat a request safely.

use axum::http::{HeaderMap, StatusCode};

use super::{
    members::Unread,
    problem::{Problem, RequestFault},
};
use crate::domain::change::Idempotency;

const HEADER: &str = "Idempotency-Key";

/// What was read of a body, and the key if there is one; or all faults of both.
pub(super) fn with_key<T>(
    read: Result<T, Unread>,
    headers: &HeaderMap,
) -> Result<(T, Option<String>), Problem> {
    match (read, key(headers)) {
        (Ok(read), Ok(key)) => Ok((read, key)),
        (Err(Unread::Json(fault)), _) => Err(fault.into()),
        (Err(Unread::Faults(mut faults)), key) => {
            faults.extend(key.err());
            Err(Problem::invalid(faults))
        }
        (Ok(_), Err(fault)) => Err(Problem::invalid(vec![fault])),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, RequestFault> {
    let mut given = headers.get_all(HEADER).iter();
    let (first, second) = (given.next(), given.next());
    let Some(key) = first else {
        return Ok(None);
    };
    let key = key.to_str().ok();
    match key.filter(|text| Idempotency::is_key(text)) {
        Some(key) if second.is_none() => Ok(Some(key.to_owned())),
        _ => Err(RequestFault {
            pointer: HEADER.to_owned(),
            detail: format!("must be one header of {}", Idempotency::KEY),
        }),
    }
}

/// The key belongs to another request.
pub(super) fn other_body() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "idempotency-key-reused",
        "this Idempotency-Key belongs to an earlier request with another body: send exactly that body, \
         or another key",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::header::HeaderValue;

    use super::*;

    #[test]
    fn an_idempotency_key_is_one_visible_word() {
        let read = |keys: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                let value = HeaderValue::from_bytes(key).unwrap();
                headers.append(HEADER, value);
            }
            key(&headers).map_err(|fault| fault.pointer)
        };
        let fault = Err(HEADER.to_owned());
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"\"a-1\""]), Ok(Some("\"a-1\"".to_owned())));
        assert_eq!(read(&[&[b'a'; 255]]), Ok(Some("a".repeat(255))));
        for wrong in [&b""[..], b"a b", "\u{e4}".as_bytes(), &[b'a'; 256]] {
            assert_eq!(read(&[wrong]), fault, "{wrong:?}");
        }
        assert_eq!(read(&[b"a", b"a"]), fault);
    }
}
