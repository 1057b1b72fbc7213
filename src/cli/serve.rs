//! `purgefront serve`: runs the service.

use super::{ConfigFile, DONE, FAILED, USAGE, complain, complain_of};
use crate::{
    app::{App, BuildError},
    telemetry,
};

pub(super) fn run(file: &ConfigFile) -> u8 {
    let config = match file.load() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    telemetry::init();
    // Every connection needs a file descriptor, and the usual soft limit is lower than
    // server.max_connections.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("the async runtime cannot be started: {error}"));
            return FAILED;
        }
    };
    let code = runtime.block_on(async {
        let app = match App::build(config).await {
            Ok(app) => app,
            Err(
                error @ (BuildError::Store(
                    crate::store::OpenError::InUse(_) | crate::store::OpenError::OtherVersion(_),
                )
                | BuildError::Listen { .. }),
            ) => {
                complain(&error);
                return USAGE;
            }
            Err(error) => {
                complain(format_args!("{:#}", anyhow::Error::from(error)));
                return FAILED;
            }
        };
        match app.run().await {
            Ok(()) => DONE,
            Err(error) => {
                complain(format_args!("{error:#}"));
                FAILED
            }
        }
    });
    // Do not wait for work beyond the grace period: everything accepted is in the store.
    runtime.shutdown_background();
    code
}
