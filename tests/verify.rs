//! `purgefront verify`: why is this message refused?

use serde_json::json;

use crate::support::{
    aws::FakeAws,
    service::Setup,
    signer::{Signer, TOPIC, s3_records},
};

/// A setup with the message and its certificate as files in its home.
struct Desk {
    setup: Setup,
    signer: Signer,
}

impl Desk {
    fn new() -> Self {
        let mut setup = Setup::alone();
        setup.set_env("PURGEFRONT_SNS__TOPICS", format!("[\"{TOPIC}\"]"));
        let signer = Signer::new();
        let desk = Self { setup, signer };
        desk.write("cert.pem", &desk.signer.certificate_pem);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.setup.store().with_file_name(name), text).unwrap();
    }

    fn verify(&self, message: &str, more: &[&str]) -> (Option<i32>, String) {
        self.write("message.json", message);
        let words: Vec<_> = ["verify", "message.json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let (code, said, complaint) = self.setup.run(&words);
        (code, said + &complaint)
    }
}

const CERT: [&str; 2] = ["--cert", "cert.pem"];

#[test]
fn verify_says_what_each_check_finds() {
    let desk = Desk::new();
    let message = desk
        .signer
        .notification(&s3_records("site", &[("ObjectCreated:Put", "a")]));
    let (code, said) = desk.verify(&message.body(), &CERT);
    assert_eq!(code, Some(0), "{said}");
    let checks: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("ok    "))
        .collect();
    let all = [
        "JSON",
        "type",
        "topic",
        "fields",
        "version",
        "address",
        "fetch",
        "name",
        "dates",
        "signature",
        "age",
    ];
    assert_eq!(checks, all);

    let mut forged = message.signed();
    forged["Message"] = json!("forged");
    let (code, said) = desk.verify(&forged.to_string(), &CERT);
    assert_eq!(code, Some(1));
    assert!(said.contains("ok    dates\nWRONG signature:"), "{said}");
    assert!(said.contains("-     age: not looked at"), "{said}");

    for (field, value, wrong) in [
        ("Type", json!("Party"), "WRONG type"),
        (
            "TopicArn",
            json!("arn:aws:sns:us-east-1:123456789012:other"),
            "WRONG topic",
        ),
        ("MessageId", json!("1"), "WRONG fields"),
        ("SignatureVersion", json!("3"), "WRONG version"),
        (
            "SigningCertURL",
            json!("https://evil.example/x.pem"),
            "WRONG address",
        ),
    ] {
        let mut fields = message.signed();
        fields[field] = value;
        let (code, said) = desk.verify(&fields.to_string(), &CERT);
        assert_eq!(code, Some(1));
        assert!(said.contains(wrong), "{said}");
    }
    let (_, said) = desk.verify("{\"Type\": 1, \"Type\": 2}", &CERT);
    assert!(said.contains("WRONG JSON"), "{said}");
    let (_, said) = desk.verify(
        &message.body(),
        &["--cert", "cert.pem", "--at", "2039-01-01T00:00:00Z"],
    );
    assert!(said.contains("WRONG age"), "{said}");
    let other = Signer::named("example.com", (2020, 2040));
    desk.write("other.pem", &other.certificate_pem);
    let (_, said) = desk.verify(&message.body(), &["--cert", "other.pem"]);
    assert!(said.contains("WRONG name"), "{said}");
    desk.write("junk.pem", "junk");
    let (_, said) = desk.verify(&message.body(), &["--cert", "junk.pem"]);
    assert!(said.contains("WRONG fetch"), "{said}");
    assert_eq!(
        desk.verify(&message.body(), &["--cert", "nowhere.pem"]).0,
        Some(2)
    );
}

#[test]
fn the_casing_that_lambdas_get_is_read_and_said() {
    let desk = Desk::new();
    let mut fields = desk.signer.notification("hello").signed();
    let object = fields.as_object_mut().unwrap();
    let url = object.remove("SigningCertURL").unwrap();
    object.insert("SigningCertUrl".to_owned(), url);
    object.insert("Subject".to_owned(), json!(null));
    for event in [
        fields.clone(),
        json!({"Records": [{"EventSource": "aws:sns", "Sns": fields}]}),
    ] {
        let (code, said) = desk.verify(&event.to_string(), &CERT);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("how a Lambda gets it"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_it_is_fetched() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let setup = Setup::new(&aws);
    let file = setup.store().with_file_name("message.json");
    std::fs::write(&file, signer.notification("x").body()).unwrap();
    let (code, said, complaint) = setup.run(&["verify", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("any topic is taken"), "{said}");
}
