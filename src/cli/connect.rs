//! `purgefront connect`: makes S3 and SNS send a bucket's changes here.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{FAILED, USAGE, agree, complain};
use crate::{
    app,
    connect::Wish,
    domain::{
        connection::{Bucket, plan::Connect},
        topic::TopicArn,
    },
};

#[derive(Debug, Args)]
pub(super) struct ConnectArguments {
    /// The bucket's name.
    #[arg(value_parser = agree::bucket_name)]
    bucket: String,
    /// The SNS topic, in the bucket's region.
    #[arg(long, value_name = "ARN")]
    topic: TopicArn,
    /// Create the topic if it does not exist.
    #[arg(long)]
    create_topic: bool,
    /// Where SNS reaches purgefront, such as `https://your-host/sns`. Subscribes it to the topic, with
    /// retries for an hour and a dead-letter queue.
    #[arg(long, value_name = "URL", value_parser = agree::endpoint)]
    endpoint: Option<String>,
    /// A file with the user:password that SNS has to send, as for `sns.basic_auth_file`.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    basic_auth_file: Option<PathBuf>,
    /// The dead-letter queue's name; by default, the topic's with "-dead-letters".
    #[arg(long, value_name = "NAME", requires = "endpoint", value_parser = agree::queue_name)]
    dead_letter_queue: Option<String>,
    /// How many messages a second SNS sends at most; by default 500 for a new subscription.
    #[arg(long, value_name = "N", requires = "endpoint",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_receives_per_second: Option<u32>,
    /// Only changes of keys that begin with this. As S3 wants it: a space as +, and other special
    /// characters but / percent-encoded. By default, what our entry of the bucket has; "" for all keys.
    #[arg(long, value_parser = agree::filter)]
    prefix: Option<String>,
    /// Only changes of keys that end with this, spelled in the same way.
    #[arg(long, value_parser = agree::filter)]
    suffix: Option<String>,
    /// The account that owns the bucket; by default, that of the credentials.
    #[arg(long, value_name = "ID", value_parser = agree::account)]
    account: Option<String>,
    #[command(flatten)]
    consent: agree::Consent,
}

pub(super) fn run(arguments: ConnectArguments) -> u8 {
    if let Some(fault) = arguments.consent.fault() {
        complain(fault);
        return USAGE;
    }
    match app::block_on(connect(arguments)) {
        Ok(code) => code,
        Err(error) => {
            complain(error);
            FAILED
        }
    }
}

async fn connect(arguments: ConnectArguments) -> u8 {
    let credentials = match arguments.basic_auth_file.as_ref().map(read).transpose() {
        Ok(credentials) => credentials,
        Err(error) => {
            complain(format_args!("{error:#}"));
            return USAGE;
        }
    };
    let consent = arguments.consent;
    let region = arguments.topic.region();
    let connector = app::connector(Some(region), credentials.as_deref()).await;
    let owner = match arguments.account {
        Some(account) => account,
        None => match connector.account().await {
            Ok(account) => account,
            Err(error) => return consent.fail(&error),
        },
    };
    let queue = arguments.dead_letter_queue;
    let wanted = Connect {
        bucket: Bucket {
            name: arguments.bucket,
            owner,
        },
        queue: queue.unwrap_or_else(|| agree::default_queue(&arguments.topic)),
        topic: arguments.topic,
        endpoint: arguments.endpoint,
        create_topic: arguments.create_topic,
        prefix: arguments.prefix,
        suffix: arguments.suffix,
        max_receives_per_second: arguments.max_receives_per_second,
    };
    consent.carry_out(&connector, &Wish::Connect(wanted)).await
}

/// `user:password`. Errors do not quote it.
fn read(file: &PathBuf) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("--basic-auth-file {} cannot be read", file.display()))?;
    let text = text.trim().to_owned();
    anyhow::ensure!(
        text.split_once(':')
            .is_some_and(|(user, _)| !user.is_empty()),
        "--basic-auth-file {} does not contain user:password",
        file.display()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use crate::{config::Config, domain::connection::EVENTS};

    #[test]
    fn s3_sends_what_invalidates_by_default() {
        let config = Config::load_for_mapping(None, []).unwrap();
        let events = config.events.invalidate_on.iter();
        let events: Vec<_> = events.map(|event| format!("s3:{event}")).collect();
        assert_eq!(events, EVENTS);
    }
}
