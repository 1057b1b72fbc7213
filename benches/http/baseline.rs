//! What a receiver cannot do without: it parses and verifies each message, answers 200, and forgets it.

use std::{net::SocketAddr, path::Path, sync::Arc};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use x509_cert::{
    Certificate,
    der::{DecodePem as _, Encode as _},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
    message_id: String,
    subject: String,
    timestamp: String,
    topic_arn: String,
    #[serde(rename = "Type")]
    kind: String,
    signature: String,
}

/// Serves with the key of this certificate, and prints the address on standard output.
pub fn serve(certificate: &Path) {
    let pem = std::fs::read_to_string(certificate).unwrap();
    let certificate = Certificate::from_pem(pem).unwrap();
    let key = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .unwrap();
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key).unwrap();
    let routes = Router::new()
        .route("/sns", post(receive))
        .with_state(Arc::new(key));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = tokio::net::TcpListener::bind(any).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        axum::serve(listener, routes).await.unwrap();
    });
}

async fn receive(State(key): State<Arc<ParsedPublicKey>>, body: Bytes) -> StatusCode {
    let Ok(message) = serde_json::from_slice::<Envelope>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let signed = format!(
        "Message\n{}\nMessageId\n{}\nSubject\n{}\nTimestamp\n{}\nTopicArn\n{}\nType\n{}\n",
        message.message,
        message.message_id,
        message.subject,
        message.timestamp,
        message.topic_arn,
        message.kind
    );
    let Ok(signature) = BASE64_STANDARD.decode(message.signature) else {
        return StatusCode::BAD_REQUEST;
    };
    match key.verify_sig(signed.as_bytes(), &signature) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::FORBIDDEN,
    }
}
