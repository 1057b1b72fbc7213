//! The three situations that the page is looked at in: nothing yet, a busy day, and trouble.

use serde_json::json;

use crate::support::{
    aws::FakeAws,
    cloudfront::{Distribution, Fault},
    service::{Service, Setup},
    signer::{Signer, record, s3_records},
    sqlite, until,
};

/// The id, the bucket and the aliases of the distributions.
const DISTRIBUTIONS: [(&str, &str, &[&str]); 6] = [
    ("E1PA6795UKMFR9", "docs", &["docs.example.com"]),
    (
        "E2QWRUHAPOMQZL",
        "site",
        &["www.example.com", "example.com"],
    ),
    (
        "E3LDOZ8XKQ2WPT",
        "shop-assets",
        &["assets.shop.example.com"],
    ),
    ("E4TCX9GD1HJYUN", "media", &[]),
    ("E5B0VNRSQ7MEAK", "site", &["preview.example.com"]),
    (
        "E6YHF3PWZC8LIO",
        "intranet",
        &["intra.example.com", "a.example", "b.example", "c.example"],
    ),
];

/// Keys that would do harm where they are not escaped, or do not fit.
pub const HOSTILE: [&str; 3] = [
    "~<script>alert(1)</script><img src=x onerror=alert(2)>.html",
    "~invoice\u{202e}fdp.exe\u{1b}[31m\n\u{7}",
    "~verylongkeywithoutanyspace",
];

pub struct Scene {
    pub aws: FakeAws,
    pub signer: Signer,
    pub setup: Setup,
    pub service: Service,
}

impl Scene {
    /// A new service in an account without distributions.
    pub async fn empty() -> Self {
        let aws = FakeAws::start().await;
        let (signer, setup) = prepared(&aws);
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        Self {
            aws,
            signer,
            setup,
            service,
        }
    }

    /// A day of invalidations, with some in progress, and some that wait for them.
    pub async fn busy() -> Self {
        let aws = FakeAws::start().await;
        let (signer, mut setup) = prepared(&aws);
        for (id, bucket, aliases) in DISTRIBUTIONS {
            let aliases = aliases.iter().map(ToString::to_string).collect();
            aws.cloudfront.put(Distribution {
                aliases,
                ..Distribution::of(id, bucket)
            });
        }
        setup.set_env("PURGEFRONT_LIMITS__PATHS_IN_PROGRESS", "8");
        setup.set_env("PURGEFRONT_LIMITS__RESERVE_PATHS", "0");
        setup.set_env("PURGEFRONT_LIMITS__PATHS_PER_DAY", "200000");
        setup.start().await.terminate().await;
        sqlite::execute(setup.store(), &a_day()).await;
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        let scene = Self {
            aws,
            signer,
            setup,
            service,
        };
        let keys = [
            "index.html",
            "assets/app.3f9c1.js",
            "blog/a post with spaces.html",
        ];
        scene.upload("docs", &keys).await;
        scene.reaches("E1PA6795UKMFR9", 3).await;
        eventually!(
            scene.service.get("/invalidations?limit=1").await["invalidations"][0]["completed_at"]
                .is_string()
        );
        scene
            .aws
            .cloudfront
            .complete_after(std::time::Duration::from_hours(1));
        scene.upload("site", &["about.html", "pricing.html"]).await;
        scene.reaches("E2QWRUHAPOMQZL", 2).await;
        let many: Vec<_> = (0..20).map(|n| format!("product/{n}.jpg")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        scene.upload("shop-assets", &many).await;
        eventually!(scene.holds("E3LDOZ8XKQ2WPT", "pool_full").await);
        scene
    }

    /// The same, and much of what can go wrong: a pause, a refusal, an account that cannot be read, a
    /// subscription that ended, and dead letters with hostile keys.
    pub async fn trouble() -> Self {
        let scene = Self::busy().await;
        let (code, _, complaint) = scene.setup.run(&[
            "pause",
            "E5B0VNRSQ7MEAK",
            "--admin-url",
            &scene.service.admin_url,
        ]);
        assert_eq!(code, Some(0), "{complaint}");
        for key in HOSTILE {
            scene.upload("site", &[&lengthened(key)]).await;
        }
        let bad = json!({"Records": [record("ObjectCreated:Put", "site", "%FF")]}).to_string();
        scene.accepts(scene.signer.notification(&bad).body()).await;
        eventually!(scene.service.metric("purgefront_dead_letters").await == 7);
        scene.aws.cloudfront.fail_next([Fault::AccessDenied; 1_000]);
        scene.upload("media", &["video/intro.mp4"]).await;
        scene.upload("intranet", &["start.html"]).await;
        eventually!(scene.holds("E4TCX9GD1HJYUN", "refused").await);
        eventually!(scene.holds("E6YHF3PWZC8LIO", "refused").await);
        scene.aws.cloudfront.deny_list(true);
        let ended = scene.signer.unsubscribe_confirmation("another-token");
        scene.accepts(ended.body()).await;
        eventually!(scene.service.ready().await.1["checks"]["catalogue"]["state"] == "warn");
        scene
    }

    pub async fn upload(&self, bucket: &str, keys: &[&str]) {
        let records: Vec<_> = keys.iter().map(|key| ("ObjectCreated:Put", *key)).collect();
        let text = s3_records(bucket, &records);
        self.accepts(self.signer.notification(&text).body()).await;
    }

    async fn accepts(&self, body: String) {
        let answer = self.service.sns(body).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    async fn reaches(&self, id: &str, paths: usize) {
        let arrived = || (self.aws.cloudfront.paths(id).len() >= paths).then_some(());
        until("the paths", arrived).await;
    }

    async fn holds(&self, id: &str, hold: &str) -> bool {
        let name = format!("purgefront_held{{distribution_id=\"{id}\",hold=\"{hold}\"}}");
        self.service.metric(&name).await == 1
    }

    /// A page: its status, its headers, and its text.
    pub async fn page(&self, path: &str) -> (u16, reqwest::header::HeaderMap, String) {
        let url = format!("{}{path}", self.service.admin_url);
        let answer = self.service.client.get(url).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.text().await.unwrap())
    }
}

fn prepared(aws: &FakeAws) -> (Signer, Setup) {
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let mut setup = Setup::new(aws);
    setup.set_env("PURGEFRONT_CATALOGUE__REFRESH", "1s");
    (signer, setup)
}

/// A key as long as S3 permits, if it is the one that is to be.
fn lengthened(key: &str) -> String {
    if key.ends_with("space") {
        key.repeat(1_024 / key.len())
    } else {
        key.to_owned()
    }
}

/// SQL for what a day has left: invalidations that took some seconds, more at some hours than at
/// others, and what the month has cost.
fn a_day() -> String {
    let ids = DISTRIBUTIONS.map(|(id, ..)| id);
    let ids = serde_json::to_string(&ids[..5]).unwrap();
    format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 160), \
         seeds AS (SELECT value AS id, key + 1 AS k, n, \
         (n * n * (37 + 11 * key) * 53) % 86000 + 300 AS age, 4 + (n * 7919 * (key + 3)) % (17 + 9 * key) \
         + (n % 23 = 0) * 45 AS took FROM json_each('{ids}'), numbers WHERE n <= 20 * (key + 1) * (key + 2)) \
         INSERT INTO batches (id, distribution_id, caller_reference, status, cloudfront_id, item_count, \
         wildcard_count, change_count, created_at, submitted_at, completed_at, due_at) \
         SELECT printf('01938000-0000-7000-%04d-%012d', k, n), id, k || '-' || n, 'completed', \
         printf('I%02dSEED%06d', k, n), 1 + n % 40, 0, 1 + n % 60, (unixepoch() - age - took - 2) * 1000000, \
         (unixepoch() - age - took) * 1000000, (unixepoch() - age) * 1000000, 0 FROM seeds ORDER BY age DESC; \
         INSERT INTO day_spending (day, items) VALUES (date('now'), 1342) \
         ON CONFLICT DO UPDATE SET items = 1342; \
         INSERT OR REPLACE INTO day_spending (day, items) VALUES (date('now', 'start of month'), 2210)"
    )
}
