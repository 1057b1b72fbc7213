//! The `DeadLetterQueue` port: one queue in SQS.

use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::{
    Client,
    error::BuildError,
    types::{
        ChangeMessageVisibilityBatchRequestEntry as Visibility,
        DeleteMessageBatchRequestEntry as Entry, QueueAttributeName as Name,
    },
};

use super::connection::{
    Patience,
    errors::failed,
    queue::{self, is_missing},
};
use crate::{
    domain::queue::QueueAddress,
    ports::{
        connection::CallError,
        dead_letter_queue::{DeadLetterQueue, QueuedMessage},
    },
};

/// The most messages in one call. Source: Amazon SQS API Reference, `ReceiveMessage`.
const MOST: usize = 10;
/// Long enough to post ten messages, each within the service's deadline of 10 s.
const INVISIBLE_SECONDS: i32 = 120;
/// With a wait, SQS asks all its servers, so no message means that there is none. Source: Amazon SQS
/// Developer Guide, "Short and long polling".
const WAIT_SECONDS: i32 = 2;

pub struct SqsDeadLetterQueue {
    client: Client,
    url: String,
}

impl SqsDeadLetterQueue {
    pub async fn open(sdk: &SdkConfig, address: &QueueAddress) -> Result<Self, CallError> {
        let timeouts = Patience::SHORT.timeouts();
        let mut sdk = sdk.to_builder().timeout_config(timeouts);
        if let Some(region) = &address.region {
            sdk = sdk.region(Region::new(region.clone()));
        }
        let client = Client::new(&sdk.build());
        let url = match &address.url {
            Some(url) => url.clone(),
            None => find(&client, address).await?,
        };
        Ok(Self { client, url })
    }
}

async fn find(client: &Client, address: &QueueAddress) -> Result<String, CallError> {
    let output = client
        .get_queue_url()
        .queue_name(&address.name)
        .set_queue_owner_aws_account_id(address.account.clone())
        .send()
        .await;
    match output {
        Ok(output) => Ok(output.queue_url.unwrap_or_default()),
        Err(error) if error.as_service_error().is_some_and(is_missing) => {
            Err(CallError::Failed(format!(
                "there is no queue {} in this region and account; if it is elsewhere, give its URL or ARN",
                address.name
            )))
        }
        Err(error) => Err(failed("sqs:GetQueueUrl", error)),
    }
}

#[async_trait]
impl DeadLetterQueue for SqsDeadLetterQueue {
    async fn count(&self) -> Result<u64, CallError> {
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(Name::ApproximateNumberOfMessages)
            .attribute_names(Name::ApproximateNumberOfMessagesNotVisible)
            .send()
            .await
            .map_err(|error| failed("sqs:GetQueueAttributes", error))?;
        Ok(queue::messages(&output.attributes.unwrap_or_default()))
    }

    async fn receive(&self, most: usize) -> Result<Vec<QueuedMessage>, CallError> {
        let output = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(most.clamp(1, MOST)).unwrap_or(1))
            .visibility_timeout(INVISIBLE_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .send()
            .await
            .map_err(|error| failed("sqs:ReceiveMessage", error))?;
        let messages = output.messages.unwrap_or_default().into_iter();
        let messages = messages.map(|one| QueuedMessage {
            id: one.message_id.unwrap_or_default(),
            receipt: one.receipt_handle.unwrap_or_default(),
            body: one.body.unwrap_or_default(),
        });
        Ok(messages.collect())
    }

    async fn delete(&self, receipts: &[String]) -> Result<usize, CallError> {
        let entry = |(at, receipt): (usize, &String)| {
            let entry = Entry::builder().id(at.to_string());
            entry.receipt_handle(receipt).build()
        };
        let entries = receipts.iter().enumerate().map(entry);
        let entries: Result<Vec<_>, BuildError> = entries.collect();
        let entries = entries.map_err(|error| CallError::Failed(error.to_string()))?;
        let output = self
            .client
            .delete_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| failed("sqs:DeleteMessage", error))?;
        Ok(output.failed.len())
    }

    async fn release(&self, receipts: &[String]) -> Result<usize, CallError> {
        let entry = |(at, receipt): (usize, &String)| {
            let entry = Visibility::builder().id(at.to_string());
            entry.receipt_handle(receipt).visibility_timeout(0).build()
        };
        let entries = receipts.iter().enumerate().map(entry);
        let entries: Result<Vec<_>, BuildError> = entries.collect();
        let entries = entries.map_err(|error| CallError::Failed(error.to_string()))?;
        let output = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| failed("sqs:ChangeMessageVisibility", error))?;
        Ok(output.failed.len())
    }
}
