//! A bucket's notification configuration in S3. Every call names the account that must own it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::{Region, retry::RetryConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
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

use super::errors::{self, text};
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
        .await;
    let output = match output {
        Ok(output) => output,
        Err(_) if body.says_none() => return Ok(Notification::default()),
        Err(error) => return Err(failed(client, "s3:GetBucketNotification", error)),
    };
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
    // Not repeated by itself, since somebody else may have written in between.
    let once = Builder::new().retry_config(RetryConfig::disabled());
    let answer = client
        .put_bucket_notification_configuration()
        .bucket(&bucket.name)
        .expected_bucket_owner(&bucket.owner)
        .notification_configuration(configuration)
        .customize()
        .config_override(once)
        .send()
        .await;
    let permission = "s3:PutBucketNotification";
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_none() => {
            Err(CallError::NoAnswer(text(permission, error)))
        }
        Err(error) => Err(failed(client, permission, error)),
    }
}

pub(super) fn failed<E>(
    client: &Client,
    permission: &str,
    error: SdkError<E, HttpResponse>,
) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let headers = error.raw_response().map(HttpResponse::headers);
    let home = headers.and_then(|headers| headers.get("x-amz-bucket-region"));
    let here = client.config().region().map(Region::as_ref);
    let home = home.filter(|home| Some(*home) != here);
    if let Some(home) = home {
        return CallError::Elsewhere(home.to_owned());
    }
    let destination = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message)
        .is_some_and(|message| message.contains("validate the following destination"));
    if destination {
        CallError::Destination(text(permission, error))
    } else {
        errors::failed(permission, error)
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
const KNOWN: [&str; 15] = [
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
];

/// Keeps a response's body beside what the SDK makes of it.
#[derive(Debug, Clone, Default)]
struct Body(Arc<Mutex<Vec<u8>>>);

impl Body {
    fn unknown_element(&self) -> Option<String> {
        unknown_element(&self.text())
    }

    /// Whether this is how moto 5 says that a bucket has no notifications, which the SDK cannot
    /// read.
    fn says_none(&self) -> bool {
        let text = self.text();
        let mut elements = elements(&text).filter(|name| !name.starts_with('?'));
        elements.next() == Some("GetBucketNotificationResponse") && elements.next().is_none()
    }

    fn text(&self) -> String {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&body).into_owned()
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

/// The first element that is not known.
fn unknown_element(xml: &str) -> Option<String> {
    let unknown = |name: &&str| !name.starts_with('?') && !KNOWN.contains(name);
    elements(xml).find(unknown).map(str::to_owned)
}

/// The names of elements, where they begin and where they end. Within XML's text, `<` is always
/// escaped.
fn elements(xml: &str) -> impl Iterator<Item = &str> {
    let elements = xml.split('<').skip(1).map(|rest| {
        let name = rest.trim_start_matches('/');
        let end = name.find(|char: char| char.is_whitespace() || matches!(char, '>' | '/'));
        &name[..end.unwrap_or(name.len())]
    });
    elements.filter(|name| !name.is_empty())
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
    fn an_empty_configuration_of_moto_is_none_and_nothing_else_is() {
        let body = |text: &str| Body(Arc::new(Mutex::new(text.as_bytes().to_vec())));
        assert!(
            body("<?xml version=\"1.0\"?>\n<GetBucketNotificationResponse a=\"b\"/>").says_none()
        );
        let more = "<GetBucketNotificationResponse><Id>a</Id></GetBucketNotificationResponse>";
        for other in ["", "<html/>", "<NotificationConfiguration/>", more] {
            assert!(!body(other).says_none(), "{other}");
        }
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
