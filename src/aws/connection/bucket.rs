//! A bucket's notification configuration in S3. Every call names the account that must own it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::{BoxError, BuildError, ProvideErrorMetadata, SdkError},
    operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput,
    types::{
        Event, EventBridgeConfiguration, FilterRule, FilterRuleName, LambdaFunctionConfiguration,
        NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration,
        S3KeyFilter, TopicConfiguration,
    },
};

use super::errors::text;
use crate::domain::connection::{
    Bucket,
    notification::{Entry, Kind, Notification, Rule},
};
use crate::ports::connection::CallError;

pub(super) async fn get(client: &Client, bucket: &Bucket) -> Result<Notification, CallError> {
    let body = Body::default();
    let output = client
        .get_bucket_notification_configuration()
        .bucket(&bucket.name)
        .expected_bucket_owner(&bucket.owner)
        .customize()
        .interceptor(body.clone())
        .send()
        .await
        .map_err(|error| failed("s3:GetBucketNotification", error))?;
    if let Some(unknown) = body.unknown_element() {
        return Err(CallError::Failed(format!(
            "the bucket's notifications have an element <{unknown}>, which this version of purgefront \
             does not know and could not send back, so it does not change them; use a newer version"
        )));
    }
    Ok(read(output))
}

pub(super) async fn put(
    client: &Client,
    bucket: &Bucket,
    notification: &Notification,
) -> Result<(), CallError> {
    let configuration = write(notification)
        .map_err(|error| CallError::Failed(format!("the notifications cannot be sent: {error}")))?;
    client
        .put_bucket_notification_configuration()
        .bucket(&bucket.name)
        .expected_bucket_owner(&bucket.owner)
        .notification_configuration(configuration)
        .send()
        .await
        .map_err(|error| failed("s3:PutBucketNotification", error))?;
    Ok(())
}

fn failed<E>(permission: &str, error: SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let region = |code| matches!(code, "PermanentRedirect" | "AuthorizationHeaderMalformed");
    let said = error.as_service_error();
    let elsewhere = said
        .and_then(ProvideErrorMetadata::code)
        .is_some_and(region);
    let home = error.raw_response().and_then(|response| {
        let status = response.status().as_u16();
        let home = response.headers().get("x-amz-bucket-region");
        home.filter(|_| elsewhere || status == 301)
    });
    if let Some(home) = home {
        return CallError::Elsewhere(home.to_owned());
    }
    let destination = said
        .and_then(ProvideErrorMetadata::message)
        .is_some_and(|message| message.contains("validate the following destination"));
    let text = text(permission, error);
    if destination {
        CallError::Destination(text)
    } else {
        CallError::Failed(text)
    }
}

fn read(output: GetBucketNotificationConfigurationOutput) -> Notification {
    let topics = output.topic_configurations.unwrap_or_default().into_iter();
    let topics =
        topics.map(|one| entry(Kind::Topic, one.id, one.topic_arn, &one.events, one.filter));
    let queues = output.queue_configurations.unwrap_or_default().into_iter();
    let queues =
        queues.map(|one| entry(Kind::Queue, one.id, one.queue_arn, &one.events, one.filter));
    let functions = output.lambda_function_configurations.unwrap_or_default();
    let functions = functions.into_iter().map(|one| {
        let arn = one.lambda_function_arn;
        entry(Kind::Function, one.id, arn, &one.events, one.filter)
    });
    Notification {
        entries: topics.chain(queues).chain(functions).collect(),
        event_bridge: output.event_bridge_configuration.is_some(),
    }
}

fn entry(
    kind: Kind,
    id: Option<String>,
    target: String,
    events: &[Event],
    filter: Option<NotificationConfigurationFilter>,
) -> Entry {
    let rule = |rule: FilterRule| Rule {
        name: rule
            .name
            .map_or_else(String::new, |name| name.as_str().to_owned()),
        value: rule.value.unwrap_or_default(),
    };
    let filter = filter.map(|filter| {
        let rules = filter.key.and_then(|key| key.filter_rules);
        rules.unwrap_or_default().into_iter().map(rule).collect()
    });
    Entry {
        id,
        kind,
        target,
        events: events
            .iter()
            .map(|event| event.as_str().to_owned())
            .collect(),
        filter,
    }
}

fn write(notification: &Notification) -> Result<NotificationConfiguration, BuildError> {
    let mut configuration = NotificationConfiguration::builder();
    for entry in &notification.entries {
        let id = entry.id.clone();
        let events = entry.events.iter().map(|event| Event::from(event.as_str()));
        let events = Some(events.collect());
        let filter = entry.filter.as_deref().map(write_filter);
        configuration = match entry.kind {
            Kind::Topic => configuration.topic_configurations(
                TopicConfiguration::builder()
                    .set_id(id)
                    .topic_arn(&entry.target)
                    .set_events(events)
                    .set_filter(filter)
                    .build()?,
            ),
            Kind::Queue => configuration.queue_configurations(
                QueueConfiguration::builder()
                    .set_id(id)
                    .queue_arn(&entry.target)
                    .set_events(events)
                    .set_filter(filter)
                    .build()?,
            ),
            Kind::Function => configuration.lambda_function_configurations(
                LambdaFunctionConfiguration::builder()
                    .set_id(id)
                    .lambda_function_arn(&entry.target)
                    .set_events(events)
                    .set_filter(filter)
                    .build()?,
            ),
        };
    }
    if notification.event_bridge {
        let on = EventBridgeConfiguration::builder().build();
        configuration = configuration.event_bridge_configuration(on);
    }
    Ok(configuration.build())
}

fn write_filter(rules: &[Rule]) -> NotificationConfigurationFilter {
    let rule = |rule: &Rule| {
        FilterRule::builder()
            .name(FilterRuleName::from(rule.name.as_str()))
            .value(&rule.value)
            .build()
    };
    let rules = rules.iter().map(rule).collect();
    let key = S3KeyFilter::builder().set_filter_rules(Some(rules)).build();
    NotificationConfigurationFilter::builder().key(key).build()
}

/// All elements of a notification configuration. The SDK ignores others, so they would be lost when
/// it is saved.
const KNOWN: [&str; 16] = [
    "NotificationConfiguration",
    "TopicConfiguration",
    "QueueConfiguration",
    "CloudFunctionConfiguration",
    "EventBridgeConfiguration",
    "Id",
    "Topic",
    "Queue",
    "CloudFunction",
    "Event",
    "Filter",
    "S3Key",
    "FilterRule",
    "Name",
    "Value",
    // What moto calls the configuration.
    "NotificationConfigurationResult",
];

/// Keeps a response's body beside what the SDK makes of it.
#[derive(Debug, Clone, Default)]
struct Body(Arc<Mutex<Vec<u8>>>);

impl Body {
    fn unknown_element(&self) -> Option<String> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unknown_element(&String::from_utf8_lossy(&body))
    }
}

impl Intercept for Body {
    fn name(&self) -> &'static str {
        "Body"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes();
        let body = body.ok_or("the body of the response is not in memory")?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body.to_vec();
        Ok(())
    }
}

/// The first element that is not known. Within XML's text, `<` is always escaped.
fn unknown_element(xml: &str) -> Option<String> {
    let elements = xml.split('<').skip(1).map(|rest| {
        let name = rest.trim_start_matches('/');
        let end = name.find(|char: char| char.is_whitespace() || matches!(char, '>' | '/'));
        &name[..end.unwrap_or(name.len())]
    });
    let unknown = |name: &&str| !name.starts_with('?') && !KNOWN.contains(name);
    elements
        .filter(|name| !name.is_empty())
        .find(unknown)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_would_be_lost_is_found() {
        let xml = "<?xml version=\"1.0\"?>\n<NotificationConfiguration xmlns=\"http://s3\">\
            <QueueConfiguration><Id>a&lt;New></Id><Filter><S3Key/></Filter></QueueConfiguration>\
            <EventBridgeConfiguration /></NotificationConfiguration>";
        assert_eq!(unknown_element(xml), None);
        let newer = xml.replace("<Filter>", "<Since x=\"1\">now</Since><Filter>");
        assert_eq!(unknown_element(&newer).as_deref(), Some("Since"));
        let newer = xml.replace("<S3Key/>", "<S3Key/><S3Tag/>");
        assert_eq!(unknown_element(&newer).as_deref(), Some("S3Tag"));
    }

    #[test]
    fn what_is_read_is_written_again() {
        let rule = |name: &str| Rule {
            name: name.to_owned(),
            value: "a b\n".to_owned(),
        };
        let entry = |kind, filter| Entry {
            id: Some("id".to_owned()),
            kind,
            target: "arn".to_owned(),
            events: vec!["s3:ObjectCreated:*".to_owned(), "s3:New".to_owned()],
            filter,
        };
        let notification = Notification {
            entries: vec![
                entry(Kind::Topic, None),
                entry(Kind::Queue, Some(vec![rule("Prefix"), rule("new")])),
                entry(Kind::Function, Some(Vec::new())),
            ],
            event_bridge: true,
        };
        let written = write(&notification).unwrap();
        let output = GetBucketNotificationConfigurationOutput::builder()
            .set_topic_configurations(written.topic_configurations)
            .set_queue_configurations(written.queue_configurations)
            .set_lambda_function_configurations(written.lambda_function_configurations)
            .set_event_bridge_configuration(written.event_bridge_configuration)
            .build();
        assert_eq!(read(output), notification);
    }
}
