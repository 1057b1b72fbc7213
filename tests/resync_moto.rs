//! `purgefront resync` against moto: its listings with versions, and its CloudFront.

use serde_json::{Value, json};

use crate::support::{moto::Moto, until};

const PREPARE: &str = r#"
cloudfront = client("cloudfront")
s3.create_bucket(Bucket="plain")
s3.create_bucket(Bucket="site")
s3.put_bucket_versioning(Bucket="site", VersioningConfiguration={"Status": "Enabled"})
for bucket, count in [("plain", 9), ("site", 30)]:
    for at in range(count):
        s3.put_object(Bucket=bucket, Key=f"many/{at}", Body=b"x")
    s3.put_object(Bucket=bucket, Key="a b+ü.html", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="many/7")
# CachingOptimized. Without a policy, moto says that nothing may be cached.
behaviour = {"ViewerProtocolPolicy": "allow-all", "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"}
origins = [{"Id": bucket, "DomainName": f"{bucket}.s3.us-east-1.amazonaws.com",
    "S3OriginConfig": {"OriginAccessIdentity": ""}} for bucket in ["plain", "site"]]
made = cloudfront.create_distribution(DistributionConfig={
    "CallerReference": "one", "Comment": "", "Enabled": True,
    "Origins": {"Quantity": 2, "Items": origins},
    "CacheBehaviors": {"Quantity": 1, "Items":
        [behaviour | {"PathPattern": "/plain/*", "TargetOriginId": "plain"}]},
    "DefaultCacheBehavior": behaviour | {"TargetOriginId": "site"},
})
print(json.dumps(made["Distribution"]["Id"]))
"#;

const SENT: &str = r#"
cloudfront = client("cloudfront")
listed = cloudfront.list_invalidations(DistributionId=DISTRIBUTION)["InvalidationList"]
paths = []
for one in listed.get("Items", []):
    found = cloudfront.get_invalidation(DistributionId=DISTRIBUTION, Id=one["Id"])
    paths += found["Invalidation"]["InvalidationBatch"]["Paths"]["Items"]
print(json.dumps(sorted(paths)))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn moto_lists_objects_versions_and_delete_markers() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    let id = moto.script(PREPARE);
    let id = id.as_str().unwrap();
    let mut setup = moto.setup();
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    setup.set_env("PURGEFRONT_URL", &service.url);
    let resync = |words: &[&str]| -> Value {
        let (code, said, complaint) = setup.run(&[&["resync"], words, &["--json"]].concat());
        assert_eq!(code, Some(0), "{said}{complaint}");
        serde_json::from_str(&said).unwrap()
    };
    let plain = resync(&["plain", "--since", "1h", "--dry-run"]);
    assert_eq!(plain["looked_at"], 9, "{plain}");
    assert_eq!(plain["deleted"], Value::Null, "deletes cannot be seen");
    assert_eq!(plain["stale"], 9);

    let done = resync(&["site", "--since", "1h", "--yes"]);
    assert_eq!(done["looked_at"], 32, "{done}");
    assert_eq!((&done["stale"], &done["deleted"]), (&json!(31), &json!(1)));
    assert_eq!(done["paths"], 32, "a space is written in two ways");
    let sent = SENT.replace("DISTRIBUTION", &format!("{id:?}"));
    let all = || {
        let paths = moto.script(&sent);
        let paths: Vec<String> = serde_json::from_value(paths).unwrap();
        (paths.len() >= 32).then_some(paths)
    };
    let paths = until("the invalidations", all).await;
    for path in ["/many/7", "/many/29", "/a%20b%2B%C3%BC.html"] {
        assert!(paths.iter().any(|sent| sent == path), "{path}");
    }
}
