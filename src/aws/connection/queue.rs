//! The dead-letter queue in SQS.

use std::collections::HashMap;

use aws_sdk_sqs::{
    Client, error::ProvideErrorMetadata as _, operation::get_queue_url::GetQueueUrlError,
    types::QueueAttributeName as Name,
};

use super::errors::failed;
use crate::domain::{connection::SeenQueue, topic::TopicArn};
use crate::ports::connection::CallError;

/// 14 days in seconds, the longest that SQS keeps a message.
const RETENTION: &str = "1209600";

pub(super) async fn get(
    client: &Client,
    topic: &TopicArn,
    name: &str,
) -> Result<Option<SeenQueue>, CallError> {
    let Some(url) = url(client, topic, name).await? else {
        return Ok(None);
    };
    let output = client
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(Name::Policy)
        .attribute_names(Name::ApproximateNumberOfMessages)
        .attribute_names(Name::ApproximateNumberOfMessagesNotVisible)
        .send()
        .await
        .map_err(|error| failed("sqs:GetQueueAttributes", error))?;
    let mut attributes = output.attributes.unwrap_or_default();
    Ok(Some(SeenQueue {
        url,
        messages: messages(&attributes),
        policy: attributes.remove(&Name::Policy),
    }))
}

/// About how many messages there are, with those that somebody has received and not deleted.
pub(in crate::aws) fn messages(attributes: &HashMap<Name, String>) -> u64 {
    let counts = [
        Name::ApproximateNumberOfMessages,
        Name::ApproximateNumberOfMessagesNotVisible,
    ];
    let counts = counts.map(|name| attributes.get(&name)?.parse::<u64>().ok());
    counts.into_iter().flatten().sum()
}

pub(super) async fn create(client: &Client, name: &str, policy: &str) -> Result<(), CallError> {
    client
        .create_queue()
        .queue_name(name)
        .attributes(Name::MessageRetentionPeriod, RETENTION)
        .attributes(Name::Policy, policy)
        .send()
        .await
        .map_err(|error| failed("sqs:CreateQueue", error))?;
    Ok(())
}

pub(super) async fn set_policy(
    client: &Client,
    topic: &TopicArn,
    name: &str,
    policy: &str,
) -> Result<(), CallError> {
    client
        .set_queue_attributes()
        .queue_url(existing(client, topic, name).await?)
        .attributes(Name::Policy, policy)
        .send()
        .await
        .map_err(|error| failed("sqs:SetQueueAttributes", error))?;
    Ok(())
}

pub(super) async fn delete(client: &Client, topic: &TopicArn, name: &str) -> Result<(), CallError> {
    let url = existing(client, topic, name).await?;
    let deleted = client.delete_queue().queue_url(url).send().await;
    deleted.map_err(|error| failed("sqs:DeleteQueue", error))?;
    Ok(())
}

async fn existing(client: &Client, topic: &TopicArn, name: &str) -> Result<String, CallError> {
    let url = url(client, topic, name).await?;
    url.ok_or_else(|| CallError::Failed(format!("the queue {name} is gone; run it again")))
}

async fn url(client: &Client, topic: &TopicArn, name: &str) -> Result<Option<String>, CallError> {
    let output = client
        .get_queue_url()
        .queue_name(name)
        .queue_owner_aws_account_id(topic.account())
        .send()
        .await;
    match output {
        Ok(output) => Ok(output.queue_url),
        Err(error) if error.as_service_error().is_some_and(is_missing) => Ok(None),
        Err(error) => Err(failed("sqs:GetQueueUrl", error)),
    }
}

/// SQS gives the error's name of before in a header, which emulators may leave out.
pub(in crate::aws) fn is_missing(error: &GetQueueUrlError) -> bool {
    error.is_queue_does_not_exist() || error.code() == Some("QueueDoesNotExist")
}
