//! SNS as the service sees it: signing certificates, and ConfirmSubscription.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use percent_encoding::percent_decode_str;

use super::aws::{hang_up, xml};

/// SNS's state, and what it was asked.
#[derive(Default)]
pub struct Sns(Mutex<State>);

#[derive(Default)]
struct State {
    certificates: HashMap<String, Certificate>,
    fetches: HashMap<String, usize>,
    confirmations: Vec<Confirmation>,
    down: bool,
}

/// What stands at a certificate's path.
#[derive(Debug, Clone, Default)]
pub struct Certificate {
    pub body: Vec<u8>,
    pub status: Option<u16>,
    pub location: Option<String>,
    pub delay: Duration,
    /// Statuses of the first fetches, before the real answer.
    pub failures: VecDeque<u16>,
}

/// A confirmation that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub host: String,
    pub topic: String,
    pub token: String,
    pub authenticate_on_unsubscribe: bool,
    pub signed: bool,
}

impl Sns {
    /// Serves a certificate at `/NAME`, on every SNS host.
    pub fn serve(&self, name: &str, certificate: Certificate) {
        let path = format!("/{name}");
        self.0
            .lock()
            .unwrap()
            .certificates
            .insert(path, certificate);
    }

    /// How often a certificate was fetched.
    pub fn fetches(&self, name: &str) -> usize {
        let path = format!("/{name}");
        self.0
            .lock()
            .unwrap()
            .fetches
            .get(&path)
            .copied()
            .unwrap_or_default()
    }

    /// How often any certificate was fetched.
    pub fn all_fetches(&self) -> usize {
        self.0.lock().unwrap().fetches.values().sum()
    }

    pub fn confirmations(&self) -> Vec<Confirmation> {
        self.0.lock().unwrap().confirmations.clone()
    }

    /// Takes the API down, or up again. Certificates are served all the same.
    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    pub async fn answer(
        &self,
        method: &Method,
        host: &str,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response {
        if *method == Method::GET {
            return self.certificate(uri.path()).await;
        }
        if self.0.lock().unwrap().down {
            hang_up();
        }
        self.confirm(host, headers, body)
    }

    async fn certificate(&self, path: &str) -> Response {
        let (known, failure) = {
            let mut state = self.0.lock().unwrap();
            *state.fetches.entry(path.to_owned()).or_default() += 1;
            let known = state.certificates.get_mut(path);
            let failure = known.and_then(|known| known.failures.pop_front());
            (state.certificates.get(path).cloned(), failure)
        };
        let Some(known) = known else {
            return xml(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a slow server is slow in real time"
        )]
        tokio::time::sleep(known.delay).await;
        let status = failure.or(known.status).unwrap_or(200);
        let mut response = Response::builder().status(status);
        if let Some(location) = known.location {
            response = response.header(header::LOCATION, location);
        }
        response.body(Body::from(known.body)).unwrap()
    }

    fn confirm(&self, host: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let form = std::str::from_utf8(body).unwrap();
        let field = |name: &str| {
            let pair = form
                .split('&')
                .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            pair.map(|value| {
                percent_decode_str(value)
                    .decode_utf8()
                    .unwrap()
                    .into_owned()
            })
        };
        assert_eq!(field("Action").as_deref(), Some("ConfirmSubscription"));
        let topic = field("TopicArn").unwrap();
        let region = topic.split(':').nth(3).unwrap();
        // SNS takes a confirmation only in the topic's own region.
        if !host.starts_with(&format!("sns.{region}.")) {
            return refuse("Invalid parameter: Topic");
        }
        let authorization = headers.get(header::AUTHORIZATION);
        let confirmation = Confirmation {
            host: host.to_owned(),
            token: field("Token").unwrap(),
            authenticate_on_unsubscribe: field("AuthenticateOnUnsubscribe").as_deref()
                == Some("true"),
            signed: authorization.is_some_and(|value| value.as_bytes().starts_with(b"AWS4")),
            topic,
        };
        let arn = format!(
            "{}:6b0e71bd-7e97-4d97-80ce-4a0994e55286",
            confirmation.topic
        );
        self.0.lock().unwrap().confirmations.push(confirmation);
        let namespace = "http://sns.amazonaws.com/doc/2010-03-31/";
        xml(
            200,
            format!(
                "<ConfirmSubscriptionResponse xmlns=\"{namespace}\"><ConfirmSubscriptionResult>\
                 <SubscriptionArn>{arn}</SubscriptionArn></ConfirmSubscriptionResult>\
                 <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
                 </ConfirmSubscriptionResponse>"
            ),
        )
    }
}

fn refuse(message: &str) -> Response {
    xml(
        400,
        format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
             <Type>Sender</Type><Code>InvalidParameter</Code><Message>{message}</Message>\
             </Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}
