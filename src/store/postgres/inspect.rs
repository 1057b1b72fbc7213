//! Looks at the database without changing anything, also while services use it.

use std::str::FromStr as _;

use anyhow::Context as _;
use async_trait::async_trait;
use sqlx::{
    Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    ACQUIRE, catalogue, for_session, leases,
    schema::{self, Schema},
};
use crate::{
    domain::{
        doctor::store::{SeenServer, SeenStore, ServerFacts, StoreVersion},
        store_location::ServerUrl,
    },
    ports::doctor::StoreSource,
};

pub(crate) struct ServerInspector(ServerUrl);

impl ServerInspector {
    pub(crate) fn new(url: ServerUrl) -> Self {
        Self(url)
    }

    async fn read(&self) -> anyhow::Result<ServerFacts> {
        let options = for_session(PgConnectOptions::from_str(self.0.expose())?);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options.options([("default_transaction_read_only", "on")]));
        let mut connection = pool.acquire().await?;
        let settings = "SELECT split_part(current_setting('server_version'), ' ', 1) AS server, \
                        current_setting('server_version_num')::bigint / 10000 AS major, \
                        current_setting('fsync') = 'on' AS syncs";
        let settings = sqlx::query(settings).fetch_one(&mut *connection).await?;
        let schema = schema::look(&mut connection).await?;
        let leader = match schema {
            Schema::Absent | Schema::Other => None,
            _ => leases::held(&mut connection).await?,
        };
        drop(connection);
        let kept = match schema {
            Schema::Current | Schema::Newer => catalogue::read(&pool, None).await?,
            _ => None,
        };
        pool.close().await;
        let major: i64 = settings.try_get("major")?;
        Ok(ServerFacts {
            server: settings.try_get("server")?,
            major: major.try_into().context("the server has no version")?,
            syncs: settings.try_get("syncs")?,
            version: match schema {
                Schema::Absent => None,
                Schema::Older => Some(StoreVersion::Older),
                Schema::Current | Schema::Newer => Some(StoreVersion::Current),
                Schema::Other => Some(StoreVersion::Other),
            },
            leader: leader.map(|held| (held.holder, held.since)),
            catalogue: kept.map(|kept| kept.snapshot),
        })
    }
}

#[async_trait]
impl StoreSource for ServerInspector {
    async fn look(&self) -> SeenStore {
        SeenStore::Server(SeenServer {
            name: self.0.to_string(),
            seen: self.read().await.map_err(|error| format!("{error:#}")),
        })
    }
}
