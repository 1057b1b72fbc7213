//! Which topics have been heard from, so that nobody waits for messages that nobody ordered.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::{
    domain::topic::TopicArn,
    ports::{StoreError, history::HistoryStore},
};

/// Topics that need not be looked up in the store any more.
#[derive(Debug, Default)]
pub struct HeardTopics(Mutex<HashSet<TopicArn>>);

impl HeardTopics {
    /// A message of this topic was accepted.
    pub(super) fn heard(&self, topic: &TopicArn) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !heard.contains(topic) {
            heard.insert(topic.clone());
        }
    }

    /// Describes those of the topics to which nobody has subscribed this service, as far as it knows.
    pub(super) async fn warning(
        &self,
        topics: &HashSet<TopicArn>,
        history: &dyn HistoryStore,
    ) -> Result<Option<String>, StoreError> {
        let mut silent = Vec::new();
        for topic in topics {
            let known = {
                let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                heard.contains(topic)
            };
            if known {
                continue;
            }
            if history.has_subscription(topic).await? {
                self.heard(topic);
                continue;
            }
            silent.push(match history.given_up_confirmation(topic).await? {
                Some(why) => format!("{topic} (its confirmation was given up: {why})"),
                None => topic.to_string(),
            });
        }
        silent.sort_unstable();
        Ok((!silent.is_empty()).then(|| {
            format!(
                "neither a message nor a confirmation has come from {}: subscribe https://YOUR-HOST/sns",
                silent.join(" and ")
            )
        }))
    }
}
