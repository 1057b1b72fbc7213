//! The topic and its subscriptions in SNS.

use std::collections::HashMap;

use aws_sdk_sns::{Client, operation::get_topic_attributes::GetTopicAttributesError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use super::errors::failed;
use crate::domain::{
    connection::{SeenSubscription, SeenTopic, delivery::Attributes, plan::protocol},
    topic::TopicArn,
};
use crate::ports::connection::{CallError, Subscriptions};

/// What SNS says if a subscription has other attributes than those that are asked for.
const OTHER_ATTRIBUTES: &str = "already exists with different attributes";

pub(super) async fn get(client: &Client, topic: &TopicArn) -> Result<Option<SeenTopic>, CallError> {
    let output = client
        .get_topic_attributes()
        .topic_arn(topic.as_str())
        .send()
        .await;
    let output = match output {
        Ok(output) => output,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(GetTopicAttributesError::is_not_found_exception) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed("sns:GetTopicAttributes", error)),
    };
    let mut attributes = output.attributes.unwrap_or_default();
    let mut take = |name| attributes.remove(name).filter(|value| !value.is_empty());
    Ok(Some(SeenTopic {
        policy: take("Policy"),
        signature_version: take("SignatureVersion"),
        key: take("KmsMasterKeyId"),
    }))
}

pub(super) async fn create(client: &Client, topic: &TopicArn) -> Result<(), CallError> {
    let made = client.create_topic().name(topic.name()).send().await;
    let made = made.map_err(|error| failed("sns:CreateTopic", error))?;
    match made.topic_arn {
        Some(arn) if arn != topic.as_str() => Err(CallError::Failed(format!(
            "the credentials are of another account than --topic: the topic that was created is {arn}"
        ))),
        _ => Ok(()),
    }
}

pub(super) async fn set(
    client: &Client,
    topic: &TopicArn,
    name: &str,
    value: &str,
) -> Result<(), CallError> {
    client
        .set_topic_attributes()
        .topic_arn(topic.as_str())
        .attribute_name(name)
        .attribute_value(value)
        .send()
        .await
        .map_err(|error| failed("sns:SetTopicAttributes", error))?;
    Ok(())
}

pub(super) async fn delete(client: &Client, topic: &TopicArn) -> Result<(), CallError> {
    let call = client.delete_topic().topic_arn(topic.as_str());
    let deleted = call.send().await;
    deleted.map_err(|error| failed("sns:DeleteTopic", error))?;
    Ok(())
}

pub(super) async fn subscriptions(
    client: &Client,
    topic: &TopicArn,
) -> Result<Subscriptions, CallError> {
    let mut found = Subscriptions::new();
    let mut pages = client
        .list_subscriptions_by_topic()
        .topic_arn(topic.as_str())
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed("sns:ListSubscriptionsByTopic", error))?;
        for one in page.subscriptions.unwrap_or_default() {
            // Instead of an ARN, it says "PendingConfirmation" while there is none.
            let arn = one.subscription_arn.filter(|arn| arn.starts_with("arn:"));
            let endpoint = one.endpoint.unwrap_or_default();
            found.push((without_credentials(&endpoint), arn));
        }
    }
    Ok(found)
}

pub(super) async fn subscription(
    client: &Client,
    arn: &str,
) -> Result<SeenSubscription, CallError> {
    let call = client.get_subscription_attributes().subscription_arn(arn);
    let output = call.send().await;
    let output = output.map_err(|error| failed("sns:GetSubscriptionAttributes", error))?;
    Ok(SeenSubscription {
        arn: Some(arn.to_owned()),
        attributes: output.attributes.unwrap_or_default().into_iter().collect(),
    })
}

pub(super) async fn subscribe(
    client: &Client,
    topic: &TopicArn,
    endpoint: &str,
    credentials: Option<&SecretString>,
    attributes: &Attributes,
) -> Result<(), CallError> {
    let attributes = attributes.clone().into_iter().collect::<HashMap<_, _>>();
    let whole = credentials.and_then(|credentials| with_credentials(endpoint, credentials));
    let subscribed = client
        .subscribe()
        .topic_arn(topic.as_str())
        .protocol(protocol(endpoint))
        .endpoint(whole.as_deref().unwrap_or(endpoint))
        .set_attributes(Some(attributes))
        .send()
        .await;
    match (subscribed, whole) {
        (Ok(_), _) => Ok(()),
        // SNS may quote the endpoint.
        (Err(error), Some(whole)) => match failed("sns:Subscribe", error) {
            CallError::Failed(text) => Err(CallError::Failed(text.replace(&whole, endpoint))),
            CallError::Denied(text) => Err(CallError::Denied(text.replace(&whole, endpoint))),
            other => Err(other),
        },
        (Err(error), None) => Err(failed("sns:Subscribe", error)),
    }
}

/// Subscribes again, so that SNS sends another confirmation. With the same attributes, so that they
/// hold whichever of the requests is confirmed; but SNS refuses others than the subscription has, and
/// does not show those before the confirmation. It takes a call without any.
pub(super) async fn ask_again(
    client: &Client,
    topic: &TopicArn,
    endpoint: &str,
    credentials: Option<&SecretString>,
    attributes: &Attributes,
) -> Result<(), CallError> {
    match subscribe(client, topic, endpoint, credentials, attributes).await {
        Err(CallError::Failed(why)) if why.contains(OTHER_ATTRIBUTES) => {
            subscribe(client, topic, endpoint, credentials, &Attributes::new()).await
        }
        asked => asked,
    }
}

/// `https://user:password@host/…`, with everything encoded that could end a part of it.
fn with_credentials(endpoint: &str, credentials: &SecretString) -> Option<String> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let (user, password) = credentials.expose_secret().split_once(':')?;
    let (user, password) = (
        utf8_percent_encode(user, NON_ALPHANUMERIC),
        utf8_percent_encode(password, NON_ALPHANUMERIC),
    );
    Some(format!("{scheme}://{user}:{password}@{rest}"))
}

/// An endpoint as it may be shown and compared.
fn without_credentials(endpoint: &str) -> String {
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return endpoint.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

pub(super) async fn set_subscription(
    client: &Client,
    arn: &str,
    name: &str,
    value: &str,
) -> Result<(), CallError> {
    client
        .set_subscription_attributes()
        .subscription_arn(arn)
        .attribute_name(name)
        .attribute_value(value)
        .send()
        .await
        .map_err(|error| failed("sns:SetSubscriptionAttributes", error))?;
    Ok(())
}

pub(super) async fn unsubscribe(client: &Client, arn: &str) -> Result<(), CallError> {
    let call = client.unsubscribe().subscription_arn(arn);
    let deleted = call.send().await;
    deleted.map_err(|error| failed("sns:Unsubscribe", error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_sns_and_are_never_shown() {
        let endpoint = "https://purge.example/sns?a=@";
        let whole = with_credentials(endpoint, &"sns:p@ss/w:rd".into()).unwrap();
        assert_eq!(whole, "https://sns:p%40ss%2Fw%3Ard@purge.example/sns?a=@");
        assert_eq!(without_credentials(&whole), endpoint);
        assert_eq!(without_credentials(endpoint), endpoint);
        assert_eq!(without_credentials("https://u:****@h"), "https://h");
        assert_eq!(without_credentials("arn:aws:sqs:a@b"), "arn:aws:sqs:a@b");
    }
}
