//! A deployment opens a deploy window: its changes are gathered, and sent as one when it is over.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
    signer::{Signer, s3_records},
    until,
};

struct Deployment {
    aws: FakeAws,
    signer: Signer,
    setup: Setup,
    service: Service,
}

impl Deployment {
    /// E1 and E2 are in front of the bucket site, E3 of another one.
    async fn prepared(settings: &str, environment: &[(&str, &str)]) -> Self {
        let aws = FakeAws::start().await;
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        for (id, bucket) in [("E1", "site"), ("E2", "site"), ("E3", "other")] {
            aws.cloudfront.put(Distribution::of(id, bucket));
        }
        let mut setup = Setup::new(&aws);
        setup.add_settings(settings);
        for (name, value) in environment {
            setup.set_env(name, *value);
        }
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        Self {
            aws,
            signer,
            setup,
            service,
        }
    }

    async fn uploads(&self, bucket: &str, key: &str) {
        let text = s3_records(bucket, &[("ObjectCreated:Put", key)]);
        let answer = self.service.sns(self.signer.notification(&text).body());
        assert_eq!(answer.await.status(), 200);
    }

    async fn waits(&self, id: &str, items: u64) {
        let metric = format!("purgefront_waiting_items{{distribution_id=\"{id}\"}}");
        eventually!(self.service.metric(&metric).await == items);
    }

    /// Time passes in which whatever is due is sent: another distribution gets two invalidations, each
    /// after its own window.
    async fn time_passes(&self) {
        for nth in 0..2 {
            let before = self.aws.cloudfront.paths("E3").len();
            self.uploads("other", &format!("{before}-{nth}")).await;
            until("the other distribution", || {
                (self.aws.cloudfront.paths("E3").len() > before).then_some(())
            })
            .await;
        }
    }

    async fn sends(&self, id: &str, mut paths: Vec<&str>) {
        until("what was gathered", || {
            (self.aws.cloudfront.paths(id).len() >= paths.len()).then_some(())
        })
        .await;
        let mut sent = self.aws.cloudfront.paths(id);
        sent.sort();
        paths.sort_unstable();
        assert_eq!(sent, paths);
    }

    fn calls(&self, id: &str) -> usize {
        let calls = self.aws.cloudfront.invalidations().into_iter();
        calls.filter(|one| one.distribution_id == id).count()
    }
}

async fn ask(
    service: &Service,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let method = method.parse().unwrap();
    let url = format!("{}{path}", service.url);
    let request = service.client.request(method, url).bearer_auth(token);
    let answer = request.body(body.to_string()).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn holds(service: &Service, body: &Value) -> Value {
    let (status, hold) = ask(service, TOKEN, "POST", "/holds", body).await;
    assert_eq!(status, 201, "{hold}");
    hold
}

async fn ends(service: &Service, hold: &Value) {
    let path = format!("/holds/{}", hold["id"].as_str().unwrap());
    let (status, _) = ask(service, TOKEN, "DELETE", &path, &Value::Null).await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn a_deployment_is_one_invalidation() {
    let slow = ("PURGEFRONT_BATCHING__QUIET", "1s");
    let it = Deployment::prepared("", &[slow, ("PURGEFRONT_BATCHING__MAX_WAIT", "30s")]).await;
    let body = json!({"distribution_id": "E1", "ttl": "10m", "reason": "release 7"});
    let request = it.service.client.post(format!("{}/holds", it.service.url));
    let answer = request.bearer_auth(TOKEN).body(body.to_string()).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let hold: Value = answer.json().await.unwrap();
    assert_eq!(it.service.get(&location).await, hold);
    assert_eq!(hold["distributions"], json!(["E1"]));
    assert_eq!(hold["token"], "PURGEFRONT_API_TOKEN");
    let times = ["created_at", "expires_at"].map(|name| {
        let text = hold[name].as_str().unwrap();
        text.parse::<Timestamp>().unwrap()
    });
    assert_eq!(times[1].duration_since(times[0]).as_secs(), 600);

    for key in ["a", "b", "c"] {
        it.uploads("site", key).await;
    }
    let manual = it.service.invalidate("E1", &["/m/*"]).await;
    assert_eq!(manual.status(), 202);
    it.waits("E1", 4).await;
    it.sends("E2", vec!["/a", "/b", "/c"]).await;
    it.time_passes().await;
    assert_eq!(it.calls("E1"), 0);
    let gauge = "purgefront_held{distribution_id=\"E1\",hold=\"held\"}";
    assert_eq!(it.service.metric(gauge).await, 1);
    let (_, ready) = it.service.ready().await;
    let check = &ready["checks"]["holds"];
    assert_eq!(check["state"], "ok");
    assert!(check["detail"].as_str().unwrap().contains("E1 (until"));

    ends(&it.service, &hold).await;
    // The event of the last upload comes after the script has ended its hold.
    it.uploads("site", "late").await;
    it.sends("E1", vec!["/a", "/b", "/c", "/late", "/m/*"])
        .await;
    assert_eq!(it.calls("E1"), 1);
    eventually!(it.service.metric(gauge).await == 0);
    let (status, _) = ask(&it.service, TOKEN, "GET", &location, &Value::Null).await;
    assert_eq!(status, 404);
    let (status, _) = ask(&it.service, TOKEN, "DELETE", &location, &Value::Null).await;
    assert_eq!(status, 404);
    let list = it.service.get("/holds").await;
    assert_eq!(list, json!({"holds": []}));
}

#[tokio::test]
async fn a_hold_survives_a_restart_and_ends_by_itself() {
    let mut it = Deployment::prepared("", &[]).await;
    let hold = holds(&it.service, &json!({"bucket": "site", "ttl": 4})).await;
    it.uploads("site", "a").await;
    it.service.kill();
    it.service = it.setup.start().await;
    for id in ["E1", "E2"] {
        it.sends(id, vec!["/a"]).await;
    }
    let list = it.service.get("/invalidations").await;
    let expires_at: Timestamp = hold["expires_at"].as_str().unwrap().parse().unwrap();
    for one in list["invalidations"].as_array().unwrap() {
        let created_at: Timestamp = one["created_at"].as_str().unwrap().parse().unwrap();
        assert!(created_at >= expires_at, "{one} and {hold}");
    }
    assert_eq!(it.service.get("/holds").await, json!({"holds": []}));
}

#[tokio::test]
async fn a_bucket_is_held_wherever_it_is_served_until_the_last_hold_ends() {
    let refresh = ("PURGEFRONT_CATALOGUE__REFRESH", "1s");
    let it = Deployment::prepared("", &[refresh]).await;
    let bucket = holds(&it.service, &json!({"bucket": "site", "ttl": "1h"})).await;
    assert_eq!(bucket["distributions"], json!(["E1", "E2"]));
    let one = json!({"distribution_id": "E1", "ttl": "30m"});
    let one = holds(&it.service, &one).await;
    it.aws.cloudfront.put(Distribution::of("E4", "site"));
    let path = format!("/holds/{}", bucket["id"].as_str().unwrap());
    eventually!(it.service.get(&path).await["distributions"] == json!(["E1", "E2", "E4"]));
    it.uploads("site", "a").await;
    for id in ["E1", "E2", "E4"] {
        it.waits(id, 1).await;
    }
    it.time_passes().await;
    assert_eq!(it.aws.cloudfront.calls().len(), it.calls("E3"));
    let list = it.service.get("/holds").await;
    assert_eq!(list["holds"].as_array().unwrap().len(), 2);
    ends(&it.service, &bucket).await;
    it.sends("E2", vec!["/a"]).await;
    it.sends("E4", vec!["/a"]).await;
    it.time_passes().await;
    assert_eq!(it.calls("E1"), 0);
    ends(&it.service, &one).await;
    it.sends("E1", vec!["/a"]).await;
}

#[tokio::test]
async fn a_limited_token_holds_and_sees_its_own_distributions_only() {
    let (code, said, _) = {
        let aws = FakeAws::start().await;
        let words = ["token", "--name", "team", "--distribution", "E1"];
        Setup::new(&aws).run(&words)
    };
    assert_eq!(code, Some(0));
    let limited = said.lines().find(|line| line.starts_with("pf_")).unwrap();
    let (_, table) = said.split_once("[[api.tokens]]").unwrap();
    let it = Deployment::prepared(&format!("[[api.tokens]]{table}\n"), &[]).await;
    let create = async |body: Value| ask(&it.service, limited, "POST", "/holds", &body).await;
    for (body, slug) in [
        (
            json!({"distribution_id": "E2", "ttl": "1m"}),
            "distribution",
        ),
        (json!({"bucket": "other", "ttl": "1m"}), "bucket"),
    ] {
        let (status, problem) = create(body).await;
        let unknown = format!("urn:purgefront:problem:unknown-{slug}");
        assert_eq!((status, &problem["type"]), (404, &json!(unknown)));
    }
    let (status, own) = create(json!({"bucket": "site", "ttl": "10m"})).await;
    assert_eq!((status, &own["distributions"]), (201, &json!(["E1"])));
    assert_eq!(own["token"], "team");
    let others = holds(&it.service, &json!({"bucket": "site", "ttl": "1s"})).await;
    let path = format!("/holds/{}", others["id"].as_str().unwrap());
    for method in ["GET", "DELETE"] {
        let (status, _) = ask(&it.service, limited, method, &path, &Value::Null).await;
        assert_eq!(status, 404);
    }
    let (_, list) = ask(&it.service, limited, "GET", "/holds", &Value::Null).await;
    assert_eq!(list, json!({"holds": [own]}));
    it.uploads("site", "a").await;
    it.sends("E2", vec!["/a"]).await;
    it.time_passes().await;
    assert_eq!(it.calls("E1"), 0);
    ends(&it.service, &own).await;
    it.sends("E1", vec!["/a"]).await;
}

#[tokio::test]
async fn a_bad_order_for_a_hold_is_told_all_that_is_wrong() {
    let it = Deployment::prepared("", &[]).await;
    let (status, problem) = ask(&it.service, TOKEN, "PUT", "/holds", &Value::Null).await;
    let unknown_method = "urn:purgefront:problem:method-not-allowed";
    assert_eq!((status, &problem["type"]), (405, &json!(unknown_method)));
    let refused = async |body: &Value| {
        let (status, problem) = ask(&it.service, TOKEN, "POST", "/holds", body).await;
        let slug = problem["type"].as_str().unwrap().rsplit(':').next();
        (status, slug.unwrap().to_owned(), problem)
    };
    let both = json!({"distribution_id": "E1", "bucket": "site", "ttl": "2h", "paths": []});
    let (status, slug, problem) = refused(&both).await;
    assert_eq!((status, slug.as_str()), (422, "invalid"));
    assert_eq!(problem["errors"].as_array().unwrap().len(), 4);
    for (body, wanted) in [
        (json!({"bucket": "unheard-of", "ttl": 60}), "unknown-bucket"),
        (
            json!({"distribution_id": "E9", "ttl": 60}),
            "unknown-distribution",
        ),
    ] {
        let lists = it.aws.cloudfront.reads("list");
        let (status, slug, _) = refused(&body).await;
        assert_eq!((status, slug.as_str()), (404, wanted));
        until("a refresh behind it", || {
            (it.aws.cloudfront.reads("list") > lists).then_some(())
        })
        .await;
    }
    assert_eq!(it.service.get("/holds").await, json!({"holds": []}));
}
