//! `purgefront disconnect`: undoes what `purgefront connect` has done.

use clap::Args;

use super::{FAILED, USAGE, agree, complain};
use crate::{
    app,
    connect::{Connector, Error, Wish},
    domain::{
        connection::{Bucket, undo::Disconnect},
        topic::TopicArn,
    },
};

#[derive(Debug, Args)]
pub(super) struct DisconnectArguments {
    /// The bucket's name.
    #[arg(value_parser = agree::bucket_name)]
    bucket: String,
    /// The SNS topic; by default, the one that the bucket's entry notifies.
    #[arg(long, value_name = "ARN")]
    topic: Option<TopicArn>,
    /// Also delete the subscription of this endpoint.
    #[arg(long, value_name = "URL", value_parser = agree::endpoint)]
    endpoint: Option<String>,
    /// Also delete the dead-letter queue, if it is empty.
    #[arg(long, requires = "endpoint")]
    delete_queue: bool,
    /// The dead-letter queue's name; by default, the topic's with "-dead-letters".
    #[arg(long, value_name = "NAME", requires = "endpoint", value_parser = agree::queue_name)]
    dead_letter_queue: Option<String>,
    /// Also delete the topic, if nobody else uses it.
    #[arg(long)]
    delete_topic: bool,
    /// The account that owns the bucket; by default, that of the credentials.
    #[arg(long, value_name = "ID", value_parser = agree::account)]
    account: Option<String>,
    #[command(flatten)]
    consent: agree::Consent,
}

pub(super) fn run(arguments: DisconnectArguments) -> u8 {
    if let Some(fault) = arguments.consent.fault() {
        complain(fault);
        return USAGE;
    }
    let consent = arguments.consent;
    let result = app::block_on(async {
        match disconnect(arguments).await {
            Ok((connector, wish)) => consent.carry_out(&connector, &wish).await,
            Err(error) => consent.fail(&error),
        }
    });
    result.unwrap_or_else(|error| {
        complain(error);
        FAILED
    })
}

async fn disconnect(arguments: DisconnectArguments) -> Result<(Connector, Wish), Error> {
    let region = arguments.topic.as_ref().map(TopicArn::region);
    let mut connector = app::connector(region, None).await;
    let owner = match arguments.account {
        Some(account) => account,
        None => connector.account().await?,
    };
    let bucket = Bucket {
        name: arguments.bucket,
        owner,
    };
    let connected = match connector.connected_topic(&bucket).await {
        Err(Error::Elsewhere { region, .. }) if arguments.topic.is_none() => {
            connector = app::connector(Some(&region), None).await;
            connector.connected_topic(&bucket).await?
        }
        other => other?,
    };
    let topic = match (arguments.topic, connected) {
        (Some(topic), _) => Some(topic),
        (None, Some(arn)) => Some(arn.parse().map_err(|_| Error::NoTopic(arn))?),
        (None, None) => None,
    };
    let default = || {
        topic
            .as_ref()
            .map_or_else(String::new, agree::default_queue)
    };
    Ok((
        connector,
        Wish::Disconnect(Disconnect {
            bucket,
            queue: arguments.dead_letter_queue.unwrap_or_else(default),
            topic,
            endpoint: arguments.endpoint,
            delete_queue: arguments.delete_queue,
            delete_topic: arguments.delete_topic,
        }),
    ))
}
