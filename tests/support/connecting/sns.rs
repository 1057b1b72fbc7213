//! SNS's topics and subscriptions.

use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::{Attributes, Call, OWNERS_POLICY, State, Subscription};
use crate::support::aws::{escape, xml};

/// The parameters of a call.
struct Form(Vec<(String, String)>);

impl Form {
    fn of(body: &str) -> Self {
        let decode = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().unwrap();
            text.into_owned()
        };
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> String {
        let mut found = self.0.iter().filter(|(found, _)| found == name);
        found
            .next()
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    }

    fn attributes(&self) -> Attributes {
        let numbers = 1..10;
        let entries = numbers.map(|number| {
            let part = |part: &str| self.get(&format!("Attributes.entry.{number}.{part}"));
            (part("key"), part("value"))
        });
        entries.filter(|(key, _)| !key.is_empty()).collect()
    }
}

pub(super) fn answer(state: &mut State, call: &Call<'_>) -> Response {
    let form = Form::of(call.body);
    let action = form.get("Action");
    if !state.may(&format!("sns:{action}")) {
        return refuse(403, "AuthorizationError", "not authorized");
    }
    let topic = form.get("TopicArn");
    if action == "Subscribe" && differs(state, &topic, &form) {
        let text = "Invalid parameter: Attributes Reason: Subscription already exists with different \
                    attributes";
        return refuse(400, "InvalidParameter", text);
    }
    let subscription = form.get("SubscriptionArn");
    let result = match action.as_str() {
        // No token that a test invents is one that SNS has given out.
        "ConfirmSubscription" if state.things.topics.contains_key(&topic) => {
            return refuse(400, "InvalidParameter", "Invalid parameter: Token");
        }
        "CreateTopic" => Some(create(state, &form.get("Name"))),
        "Unsubscribe" => {
            let subscriptions = &mut state.things.subscriptions;
            subscriptions.retain(|one| one.arn() != subscription);
            Some(String::new())
        }
        "GetSubscriptionAttributes" | "SetSubscriptionAttributes" => {
            let mut all = state.things.subscriptions.iter_mut();
            let found = all.find(|one| one.arn() == subscription);
            found.map(|found| of_subscription(&action, found, &form))
        }
        _ => of_topic(state, &action, &topic, &form),
    };
    match result {
        Some(inside) => xml(
            200,
            format!(
                "<{action}Response><{action}Result>{inside}</{action}Result></{action}Response>"
            ),
        ),
        None => refuse(404, "NotFound", "Topic does not exist"),
    }
}

/// Whether an endpoint's subscription has other attributes than those that are asked for.
fn differs(state: &State, topic: &str, form: &Form) -> bool {
    let mut all = state.things.subscriptions.iter();
    let there = all.find(|one| one.topic == topic && one.endpoint == form.get("Endpoint"));
    let mut asked = form.attributes().into_iter();
    there
        .is_some_and(|there| asked.any(|(name, value)| there.attributes.get(&name) != Some(&value)))
}

fn refuse(status: u16, code: &str, message: &str) -> Response {
    xml(
        status,
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error></ErrorResponse>"
        ),
    )
}

fn create(state: &mut State, name: &str) -> String {
    let arn = format!("arn:aws:sns:us-east-1:{}:{name}", super::OWNER);
    let policy = ("Policy".to_owned(), OWNERS_POLICY.to_owned());
    let new = || Attributes::from([policy]);
    state.things.topics.entry(arn.clone()).or_insert_with(new);
    format!("<TopicArn>{arn}</TopicArn>")
}

fn of_subscription(action: &str, found: &mut Subscription, form: &Form) -> String {
    if action == "SetSubscriptionAttributes" {
        let (name, value) = (form.get("AttributeName"), form.get("AttributeValue"));
        found.attributes.insert(name, value);
        return String::new();
    }
    entries(&found.attributes)
}

fn of_topic(state: &mut State, action: &str, topic: &str, form: &Form) -> Option<String> {
    let attributes = state.things.topics.get_mut(topic)?;
    match action {
        "GetTopicAttributes" => Some(entries(attributes)),
        "SetTopicAttributes" => {
            attributes.insert(form.get("AttributeName"), form.get("AttributeValue"));
            Some(String::new())
        }
        "DeleteTopic" => {
            state.things.topics.remove(topic);
            Some(String::new())
        }
        "Subscribe" => {
            let new = Subscription {
                topic: topic.to_owned(),
                protocol: form.get("Protocol"),
                endpoint: form.get("Endpoint"),
                confirmed: false,
                attributes: form.attributes(),
            };
            let subscriptions = &mut state.things.subscriptions;
            let is_new = |one: &Subscription| one.topic != topic || one.endpoint != new.endpoint;
            if subscriptions.iter().all(is_new) {
                subscriptions.push(new);
            }
            state.confirmations += 1;
            Some("<SubscriptionArn>pending confirmation</SubscriptionArn>".to_owned())
        }
        "ListSubscriptionsByTopic" => Some(page(state, topic, &form.get("NextToken"))),
        other => panic!("no such call: {other}"),
    }
}

/// One subscription a page.
fn page(state: &State, topic: &str, token: &str) -> String {
    let all = state.things.subscriptions.iter();
    let mut all = all.filter(|one| one.topic == topic);
    let at: usize = token.parse().unwrap_or_default();
    let Some(one) = all.nth(at) else {
        return "<Subscriptions/>".to_owned();
    };
    let arn = if one.confirmed {
        one.arn()
    } else {
        "PendingConfirmation".to_owned()
    };
    let more = all.next().is_some();
    let next = more.then(|| format!("<NextToken>{}</NextToken>", at + 1));
    format!(
        "<Subscriptions><member><SubscriptionArn>{}</SubscriptionArn><Protocol>{}</Protocol>\
         <Endpoint>{}</Endpoint></member></Subscriptions>{}",
        escape(&arn),
        one.protocol,
        escape(&one.endpoint),
        next.unwrap_or_default()
    )
}

fn entries(attributes: &Attributes) -> String {
    let entries = attributes.iter().map(|(key, value)| {
        format!(
            "<entry><key>{key}</key><value>{}</value></entry>",
            escape(value)
        )
    });
    format!("<Attributes>{}</Attributes>", entries.collect::<String>())
}
