//! What a failed call means, in one line that says what to do.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::{has_cause, with_causes};
use crate::ports::connection::CallError;

/// Codes by which AWS refuses the credentials themselves.
const BAD_CREDENTIALS: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

const DENIED: [&str; 4] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
];

/// The failure of a call that needs `permission`.
pub(super) fn failed<E>(permission: &str, error: SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    let code = code.unwrap_or_default().to_owned();
    let lacks_credentials = has_cause::<CredentialsError>(&error);
    let text = text(permission, error);
    match code.as_str() {
        code if DENIED.contains(&code) => CallError::Denied(text),
        code if BAD_CREDENTIALS.contains(&code) => CallError::Credentials(text),
        "NoSuchBucket" => CallError::Missing(text),
        _ if lacks_credentials => CallError::Credentials(text),
        _ => CallError::Failed(text),
    }
}

pub(super) fn text<E>(permission: &str, error: SdkError<E, HttpResponse>) -> String
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
    let advice = match permission.starts_with("s3:") {
        _ if !denied => "",
        true => {
            "; the credentials need this permission on the bucket, and the bucket must belong to the \
             account (--account)"
        }
        false => "; the credentials need this permission",
    };
    format!("{permission}: {code}: {message}{advice}")
}
