//! What goes wrong is told where somebody looks. Each test has the number of its point in issue 13.

mod operators;
mod outages;
mod restarts;
mod senders;
mod shell;

use serde_json::Value;

use crate::support::service::Service;

/// The detail of a check of readiness, or an empty text if all is well.
async fn check(service: &Service, name: &str) -> String {
    let (_, ready) = service.ready().await;
    let detail = &ready["checks"][name]["detail"];
    detail.as_str().unwrap_or_default().to_owned()
}

/// All metrics as text.
async fn metrics(service: &Service) -> String {
    let request = service.client.get(format!("{}/metrics", service.admin_url));
    request.send().await.unwrap().text().await.unwrap()
}

/// The lines of the log with this message.
fn lines(service: &Service, message: &str) -> Vec<Value> {
    let events = service.events().into_iter();
    events.filter(|event| event["message"] == message).collect()
}
