//! Stands in for the store in PostgreSQL, which is not built yet.

use anyhow::anyhow;

use super::OpenError;
use crate::domain::store_location::ServerUrl;

pub(super) fn not_built(url: &ServerUrl) -> OpenError {
    OpenError::Failed {
        store: url.to_string(),
        source: anyhow!("this build has no PostgreSQL yet"),
    }
}
