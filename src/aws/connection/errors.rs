//! What a failed call means, in one line that says what to do.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::with_causes;
use crate::ports::connection::CallError;

const DENIED: [&str; 4] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
];

/// The failure of a call that needs `permission`.
pub(in crate::aws) fn failed<E>(permission: &str, error: SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    CallError::Failed(text(permission, error))
}

pub(in crate::aws) fn text<E>(permission: &str, error: SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(said) = error.as_service_error() else {
        return format!("{permission}: {}", with_causes(error));
    };
    let Some(code) = said.code() else {
        return format!("{permission}: {}", with_causes(error));
    };
    let message = said.message().unwrap_or("no message");
    let denied = DENIED.contains(&code);
    let advice = match permission.ends_with("BucketNotification") {
        _ if !denied => "",
        true => {
            "; the credentials need this permission on the bucket, and the bucket must belong to the \
             account (--account)"
        }
        false => "; the credentials need this permission",
    };
    format!("{permission}: {code}: {message}{advice}")
}
