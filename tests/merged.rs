//! A deployment of a site whose bucket may be listed: the service merges what changed, and says what it did.

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
};

/// A site whose photos have nine renditions each.
fn photos(range: std::ops::Range<usize>) -> Vec<String> {
    range
        .flat_map(|photo| (0..9).map(move |size| format!("img/{photo:03}-{size}.jpg")))
        .collect()
}

struct World {
    aws: FakeAws,
    signer: Signer,
    service: Service,
}

impl World {
    async fn start(settings: &str) -> Self {
        let aws = FakeAws::start().await;
        aws.cloudfront.put(Distribution::of("E1", "site"));
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        let mut setup = Setup::new(&aws);
        setup.set_settings(settings);
        let service = setup.start().await;
        Self {
            aws,
            signer,
            service,
        }
    }

    async fn upload(&self, keys: &[String]) {
        let records: Vec<_> = keys
            .iter()
            .map(|key| ("ObjectCreated:Put", key.as_str()))
            .collect();
        let message = self.signer.notification(&s3_records("site", &records));
        assert_eq!(self.service.sns(message.body()).await.status(), 200);
    }

    /// The newest invalidation, once there are so many.
    async fn newest(&self, count: usize) -> Value {
        eventually!(
            self.service.get("/invalidations").await["invalidations"]
                .as_array()
                .unwrap()
                .len()
                == count
        );
        let list = self.service.get("/invalidations").await;
        let id = list["invalidations"][0]["id"].as_str().unwrap();
        self.service.get(&format!("/invalidations/{id}")).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_renditions_of_two_photos_are_two_paths() {
    let world = World::start("[batching]\nquiet = \"300ms\"").await;
    world.aws.s3.put("site", photos(0..150));
    world.upload(&photos(7..9)).await;
    let made = world.newest(1).await;
    let mut items: Vec<_> = made["items"].as_array().unwrap().clone();
    items.sort_by_key(|one| one["item"].to_string());
    assert_eq!(items.len(), 2, "{made}");
    for (item, name) in items.iter().zip(["/img/007-*", "/img/008-*"]) {
        assert_eq!(item["item"], name);
        assert_eq!(item["merged"], json!({"replaces": 9, "evictions": 0}));
        assert_eq!(item["why_total"], 9);
    }
    assert_eq!(made["change_count"], 18);
    assert_eq!(world.aws.s3.pages(), ["site/img/00"]);
    let story = world
        .service
        .get("/changes?bucket=site&key=img/007-3.jpg")
        .await;
    assert_eq!(
        story["changes"][0]["targets"][0]["covered_by"],
        "/img/007-*"
    );
    for (metric, value) in [
        ("purgefront_merged_paths_total", 16),
        ("purgefront_evictions_total", 0),
        ("purgefront_key_listings_total{outcome=\"complete\"}", 1),
        ("purgefront_key_listing_pages_total", 1),
        ("purgefront_month_paths{by=\"purgefront\"}", 2),
    ] {
        assert_eq!(world.service.metric(metric).await, value, "{metric}");
    }
    let used = world.aws.permissions.used();
    let listing = ("s3:ListBucket".to_owned(), "arn:aws:s3:::site".to_owned());
    assert!(used.contains(&listing), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_says_what_it_prevented() {
    let settings = "[batching]\nquiet = \"300ms\"\n[economy]\nprotected = [\"/img/007-1*\"]";
    let world = World::start(settings).await;
    world.aws.s3.put("site", photos(0..9));
    world.upload(&photos(7..9)).await;
    let made = world.newest(1).await;
    let items = made["items"].as_array().unwrap();
    assert_eq!(items.len(), 10, "{made}");
    let prevented = made["prevented"].as_array().unwrap();
    assert_eq!(prevented.len(), 1, "{made}");
    let why = prevented[0].as_str().unwrap();
    assert!(why.contains("economy.protected"), "{why}");
    let metric = "purgefront_guarded_total{guard=\"protected\"}";
    assert_eq!(world.service.metric(metric).await, 1);
}

/// As it is before anybody has granted anything.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_each_path_is_sent_by_itself() {
    let world = World::start("[batching]\nquiet = \"300ms\"").await;
    world.upload(&photos(7..9)).await;
    let made = world.newest(1).await;
    let items = made["items"].as_array().unwrap();
    assert_eq!(items.len(), 18, "{made}");
    assert!(items.iter().all(|one| one["merged"].is_null()));
    let metric = "purgefront_key_listings_total{outcome=\"denied\"}";
    assert_eq!(world.service.metric(metric).await, 1);
}
