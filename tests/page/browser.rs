//! The page in headless Chromium: `tests/browser/look.mjs` looks at it, takes pictures, and works with it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use super::scene::Scene;
use crate::support::{not_tested, service::TOKEN};

/// Looks at the page in a situation. Returns whether a browser was there.
async fn looks(scene: Scene, situation: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("tests/browser");
    let found = |name: &str| {
        let folders = std::env!("PATH").split(':');
        folders
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.exists())
    };
    let (Some(node), Some(chromium)) = (found("node"), found("chromium")) else {
        return not_tested("the status page in a browser: node or chromium is missing");
    };
    if !tools.join("node_modules").exists() {
        return not_tested("the status page in a browser: `make test` installs tests/browser");
    }
    let order = json!({
        "url": scene.service.admin_url,
        "situation": situation,
        "pictures": root.join("target/screenshots"),
        "chromium": chromium,
        "token": TOKEN,
    });
    let home = scene.setup.home().to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        Command::new(node)
            .arg(tools.join("look.mjs"))
            .arg(order.to_string())
            .env_clear()
            .env("PATH", env!("PATH"))
            .env("HOME", home)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let output = looked.await.unwrap();
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{situation}: {said}{complaint}");
}

#[tokio::test]
async fn a_new_service_looks_right() {
    looks(Scene::empty().await, "empty").await;
}

#[tokio::test]
async fn a_busy_service_looks_right() {
    looks(Scene::busy().await, "busy").await;
}

#[tokio::test]
async fn trouble_looks_right() {
    looks(Scene::trouble().await, "trouble").await;
}
