//! A service in front of one distribution, and what tests ask of it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Message, Signer, s3_records},
};

/// A service in front of one distribution, and a signer whose certificate SNS serves.
pub struct World {
    pub aws: FakeAws,
    pub signer: Signer,
    setup: Setup,
    pub service: Service,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(FakeAws::start().await, settings).await
    }

    pub async fn start_in(aws: FakeAws, settings: &[(&str, &str)]) -> Self {
        aws.cloudfront.put(Distribution::of("E1", "site"));
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        let mut setup = Setup::new(&aws);
        for (name, value) in settings {
            setup.set_env(name, *value);
        }
        let service = setup.start().await;
        Self {
            aws,
            signer,
            setup,
            service,
        }
    }

    pub async fn restarted(self) -> Self {
        self.service.kill();
        let service = self.setup.start().await;
        Self { service, ..self }
    }

    /// The files of the store, the lock and SQLite's own, and who may use them.
    pub fn modes_of_the_store(&self) -> Vec<(String, u32)> {
        let home = self.setup.store().parent().unwrap();
        let files = std::fs::read_dir(home).unwrap().map(Result::unwrap);
        let modes = files.map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, file.metadata().unwrap().permissions().mode() & 0o777)
        });
        modes
            .filter(|(name, _)| name.starts_with("purgefront.db"))
            .collect()
    }

    pub fn upload(&self) -> Message<'_> {
        let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
        self.signer.notification(&text)
    }

    pub async fn accepts(&self, body: String) {
        let answer = self.service.sns(body).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// The whole refusal: status, type, counter, and nothing of it in the store.
    pub async fn refuses(&self, body: String, status: u16, slug: &str) {
        let counter = format!("purgefront_sns_messages_total{{outcome=\"{slug}\"}}");
        let before = (self.service.metric(&counter).await, self.kept().await);
        let answer = self.service.sns(body.clone()).await;
        assert_eq!(answer.status(), status, "{slug}: {body}");
        let problem: Value = answer.json().await.unwrap();
        let expected = format!("urn:purgefront:problem:{slug}");
        assert_eq!(problem["type"], expected, "{body}");
        let after = (self.service.metric(&counter).await, self.kept().await);
        assert_eq!(after, (before.0 + 1, before.1), "{slug}: {body}");
        assert_eq!(self.service.ready().await.0, 200);
    }

    /// Messages, changes and dead letters in the store.
    pub async fn kept(&self) -> (i64, i64, i64) {
        let options = SqliteConnectOptions::new()
            .filename(self.setup.store())
            .read_only(true);
        let mut store = SqliteConnection::connect_with(&options).await.unwrap();
        let counts = "SELECT (SELECT count(*) FROM messages), \
                      (SELECT count(*) FROM changes), (SELECT count(*) FROM dead_letters)";
        sqlx::query_as(counts).fetch_one(&mut store).await.unwrap()
    }

    /// That nobody was asked for a certificate, nor for anything else but the account.
    pub fn asked_nobody(&self) {
        let hosts = self.aws.hosts();
        let others: Vec<_> = hosts
            .iter()
            .filter(|host| *host != "cloudfront.amazonaws.com:443")
            .collect();
        assert!(others.is_empty(), "{others:?}");
        assert_eq!(self.aws.sns.fetches(&self.signer.file_name), 0);
        assert!(self.aws.cloudfront.calls().is_empty());
    }
}
