//! How many bytes of the store a change takes.

use std::{fs, path::Path};

use crate::{
    filled::Filled,
    numbers::float,
    report::Report,
    sender,
    world::{HELD, Store, UNBOUNDED, World, pause, setup, started, stopped, until_mapped},
};

const CONNECTIONS: usize = 64;

pub async fn measure(world: &World, report: &mut Report) {
    let aws = world.aws(1).await;
    let store = Store::new();
    let changes = world.requests().len();
    stopped(started(&setup(&aws, &store.path, HELD)).await).await;
    let empty = size(&store.path);
    report.add("no changes", "store", empty, "B");

    let service = started(&setup(&aws, &store.path, HELD)).await;
    sender::send(&service.url, world.requests(), CONNECTIONS).await;
    until_mapped(&service, "E1", changes).await;
    stopped(service).await;
    let each = (size(&store.path) - empty) / float(changes);
    let at = "20,000 changes of a message each";
    report.add(at, "store per change, accepted and mapped", each, "B");

    let service = started(&setup(&aws, &store.path, UNBOUNDED)).await;
    while aws.cloudfront.paths("E1").len() < changes
        || service
            .metric("purgefront_in_progress_items{distribution_id=\"E1\"}")
            .await
            > 0
    {
        pause(100).await;
    }
    pause(1_000).await;
    stopped(service).await;
    let each = (size(&store.path) - empty) / float(changes);
    report.add(at, "store per change, completed", each, "B");

    let filled = Filled::ready(&aws, 10_000_000).await;
    let each = size(&filled.path) / float(filled.changes);
    let at = "10,000,000 completed changes of a message each";
    report.add(at, "store per change", each, "B");
}

/// A service that was stopped has written everything into the file.
fn size(store: &Path) -> f64 {
    let bytes = fs::metadata(store).unwrap().len();
    f64::from(u32::try_from(bytes / 1024).unwrap()) * 1024.0
}
