//! Valid configurations, and the faults of invalid ones.

use std::path::Path;

use super::*;
use crate::domain::{mapping::Reaction, origin::PathRole};

pub(super) const TOPICS: &str =
    "[sns]\ntopics = [\"arn:aws:sns:us-east-1:123456789012:site-changes\"]\n";

pub(super) fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Config::read(Purpose::Service, Path::new("test.toml"), text, environment)
}

pub(super) fn faults(text: &str, environment: &[(&str, &str)]) -> String {
    read(text, environment).unwrap_err().to_string()
}

#[test]
fn the_defaults_need_nothing_but_a_topic() {
    let config = read(TOPICS, &[]).unwrap();
    assert_eq!(config.server.listen, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(
        config.server.admin_listen,
        "127.0.0.1:9090".parse().unwrap()
    );
    assert_eq!(config.store.location.to_string(), "purgefront.db");
    assert_eq!(config.sns.max_age, Duration::from_hours(24));
    assert_eq!(config.batching.quiet, Duration::from_secs(1));
    assert_eq!(config.limits.items_per_call, 1_000);
    assert!((config.limits.calls_per_second - 0.5).abs() < f64::EPSILON);
    assert!(config.api.tokens.is_empty());
    assert!(faults("", &[]).contains("sns.topics"));
}

#[test]
fn the_environment_goes_before_the_file() {
    let file = format!("{TOPICS}[limits]\ncall_burst = 2\n[batching]\nquiet = \"2s\"\n");
    let config = read(
        &file,
        &[
            ("PURGEFRONT_LIMITS__CALL_BURST", "7"),
            ("PURGEFRONT_LIMITS__CALLS_PER_SECOND", "2"),
            ("PURGEFRONT_STORE__URL", "sqlite:///var/lib/purgefront/x.db"),
            (
                "PURGEFRONT_SNS__TOPICS",
                "[\"arn:aws-cn:sns:cn-north-1:123456789012:t\"]",
            ),
            ("PURGEFRONT_SNS__AUTHENTICATE_ON_UNSUBSCRIBE", "false"),
            ("PURGEFRONT_PORT", "tcp://10.0.0.1:80"),
            ("PURGEFRONT_URL", "http://elsewhere"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(config.limits.call_burst, 7);
    assert!((config.limits.calls_per_second - 2.0).abs() < f64::EPSILON);
    assert_eq!(config.batching.quiet, Duration::from_secs(2));
    assert_eq!(
        config.store.location.to_string(),
        "/var/lib/purgefront/x.db"
    );
    assert_eq!(config.sns.topics[0].region(), "cn-north-1");
    assert!(!config.sns.authenticate_on_unsubscribe);
}

#[test]
fn all_faults_are_told_at_once_each_with_its_key_and_a_mend() {
    let file = "
        [server]
        listen = \"localhost\"
        lisen = \"0.0.0.0:80\"
        max_requests = 0
        [store]
        url = \"mysql://app:secret@db\"
        [sns]
        topics = [\"arn:aws:sqs:us-east-1:123456789012:t\"]
        max_age = \"a day\"
        [events]
        invalidate_on = [\"*\"]
        [batching]
        quiet = \"1m\"
        [limits]
        items_per_call = 5000
        calls_per_second = -1
        [[api.tokens]]
        name = \"ci\"
        sha256 = \"abc\"
    ";
    let environment = [
        ("PURGEFRONT_LIMITS__CALL_BRUST", "1"),
        ("PURGEFRONT_PLANNING__WINDOW", "many"),
        ("PURGEFRONT_API_TOKEN", "short"),
    ];
    let text = faults(file, &environment);
    for part in [
        "server.listen (in test.toml, line 3)",
        "such as \"127.0.0.1:8080\"",
        "server.lisen (in test.toml, line 4)",
        "did you mean server.listen?",
        "server.max_requests",
        "store.url",
        "sns.topics",
        "sns.max_age",
        "such as \"500ms\"",
        "events.invalidate_on",
        "batching.quiet",
        "limits.items_per_call",
        "limits.calls_per_second",
        "api.tokens",
        "64 hex digits",
        "limits.call_brust (in the environment, PURGEFRONT_LIMITS__CALL_BRUST)",
        "did you mean limits.call_burst?",
        "planning.window (in the environment, PURGEFRONT_PLANNING__WINDOW)",
        "PURGEFRONT_API_TOKEN",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(!text.contains("short:"), "a token is shown in:\n{text}");
    assert!(!text.contains("secret@"), "a password is shown in:\n{text}");
}

#[test]
fn a_store_on_a_server_is_read_and_its_password_never_shown() {
    let url = "postgres://app:hidden@db.internal:5433/purge?sslmode=verify-full";
    let config = read(TOPICS, &[("PURGEFRONT_STORE__URL", url)]).unwrap();
    let location = &config.store.location;
    assert_eq!(
        location.to_string(),
        "postgres://app@db.internal:5433/purge"
    );
    assert!(matches!(location, StoreLocation::Server(server) if server.expose() == url));
    assert!(!format!("{config:?}").contains("hidden"));
    let fault = faults(
        &format!("{TOPICS}[store]\nurl = \"{url}&sslmod=hidden\"\n"),
        &[],
    );
    assert!(
        fault.contains("store.url (in test.toml, line 4)"),
        "{fault}"
    );
    assert!(
        fault.contains("not known") && !fault.contains("hidden"),
        "{fault}"
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    let text = faults("[server]\nlisten = \n", &[]);
    assert!(
        text.contains("test.toml") && text.contains("line 2"),
        "{text}"
    );
}

#[test]
fn listeners_do_not_share_an_address() {
    let same = "[server]\nlisten = \"127.0.0.1:80\"\nadmin_listen = \"127.0.0.1:80\"\n";
    assert!(faults(&format!("{TOPICS}{same}"), &[]).contains("server.admin_listen"));
    let any = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
    assert!(read(&format!("{TOPICS}{any}"), &[]).is_ok());
}

#[test]
fn tokens_are_kept_as_hashes() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let file = format!("{TOPICS}[[api.tokens]]\nname = \"ci\"\nsha256 = \"{hash}\"\n");
    let config = read(&file, &[("PURGEFRONT_API_TOKEN", "a-token-of-some-length")]).unwrap();
    assert_eq!(config.api.tokens.len(), 2);
    assert_eq!(config.api.tokens[0].sha256.to_hex(), hash);
    let shown = format!("{config:?}");
    assert!(!shown.contains("a-token-of-some-length") && !shown.contains("9f86"));
    let twice = format!("{file}[[api.tokens]]\nname = \"ci\"\nsha256 = \"{hash}\"\n");
    assert!(faults(&twice, &[]).contains("must be unique"));
}

#[test]
fn a_named_file_has_to_be_there() {
    let missing = Path::new("/nonexistent/purgefront.toml");
    let text = Config::load(Some(missing), []).unwrap_err().to_string();
    assert!(text.contains("/nonexistent/purgefront.toml"), "{text}");
}

#[test]
fn the_readme_shows_the_defaults() {
    let readme = include_str!("../../README.md");
    let (_, toml) = readme.split_once("```toml\n").unwrap();
    let (toml, _) = toml.split_once("```").unwrap();
    assert!(
        faults(toml, &[]).contains("1 fault"),
        "only the topics are missing"
    );
    let topics = "[\"arn:aws:sns:us-east-1:123456789012:t\"]";
    let environment = [("PURGEFRONT_SNS__TOPICS", topics)];
    let shown = read(toml, &environment).unwrap();
    let defaults = read("", &environment).unwrap();
    assert_eq!(format!("{shown:?}"), format!("{defaults:?}"));
}

#[test]
fn lists_of_tables_say_what_no_name_tells() {
    let text = format!(
        "{TOPICS}{}",
        r##"
[[origin]]
domain = "files.example.com"
bucket = "b"
[[origin]]
domain = "a.execute-api.us-east-1.amazonaws.com"
bucket = "b"
path = "service"
[[distribution]]
id = "E1"
spellings = ["%2b", "%40"]
index_documents = []
error_pages = "clear"
origin_change = "clear"
[[distribution]]
id = "E2"
enabled = false
[[rule]]
bucket = "b"
match = "posts/{slug}.md"
also = ["/blog/{slug}/", "#posts"]
[[ignore]]
bucket = "b"
match = "*.map"
"##
    );
    let mapping = read(&text, &[]).unwrap().mapping;
    assert_eq!(mapping.origins[0].prefix, "");
    let roles: Vec<_> = mapping.origins.iter().map(|one| one.path).collect();
    assert_eq!(roles, [PathRole::Key, PathRole::Service]);
    let own = &mapping.policy.distributions["E1"];
    let spelled = |char, text: &str| (char, vec![text.to_owned()]);
    assert_eq!(own.spellings, [spelled('+', "%2b"), spelled('@', "%40")]);
    assert_eq!(own.index_documents.as_deref(), Some([].as_slice()));
    let reactions = (own.error_pages, own.origin_change);
    assert_eq!(reactions, (Reaction::Clear, Reaction::Clear));
    let other = &mapping.policy.distributions["E2"];
    let reactions = (other.error_pages, other.origin_change);
    assert_eq!(reactions, (Reaction::Tell, Reaction::Tell));
    assert!(!other.enabled);
    assert_eq!(
        (mapping.policy.rules.len(), mapping.policy.ignores.len()),
        (1, 1)
    );
}

#[test]
fn whoever_only_maps_needs_no_topic() {
    let config = Config::read(Purpose::Mapping, Path::new("test.toml"), "", []);
    assert!(config.is_ok());
}

#[test]
fn what_is_wrong_with_mapping_is_told_with_a_mend() {
    for (text, part) in [
        (
            "[[origin]]\ndomain = \"https://x/\"\nbucket = \"b\"",
            "must not have a scheme",
        ),
        ("[[origin]]\ndomain = \"x\"", "missing field `bucket`"),
        (
            "[[origin]]\ndomain = \"x\"\nbucket = \"b\"\npath = \"/\"",
            "expected `key` or `service`",
        ),
        ("[[distribution]]\nid = \"\"", "empty or repeated"),
        (
            "[[distribution]]\nid = \"E\"\n[[distribution]]\nid = \"E\"",
            "one table",
        ),
        (
            "[[distribution]]\nid = \"E\"\nspellings = [\"%7E\"]",
            "cannot invalidate",
        ),
        (
            "[[distribution]]\nid = \"E\"\nspellings = [\"%2A\"]",
            "cannot invalidate",
        ),
        (
            "[[distribution]]\nid = \"E\"\nspellings = [\" \"]",
            "cannot invalidate",
        ),
        (
            "[[distribution]]\nid = \"E\"\nspellings = [\"ab\"]",
            "not one character",
        ),
        (
            "[[distribution]]\nid = \"E\"\nspellings = [\"%2b\", \"%40\", \"%21\", \"%24\", \"%27\"]",
            "32 ways",
        ),
        (
            "[[distribution]]\nid = \"E\"\nindex_documents = [\"a/b\"]",
            "not a file name",
        ),
        ("[mapping]\nindex_documents = [\"\"]", "not a file name"),
        (
            "[[rule]]\nbucket = \"b\"\nmatch = \"a\"\nalso = []",
            "has no items",
        ),
        (
            "[[rule]]\nbucket = \"b\"\nmatch = \"{a\"\nalso = [\"/a\"]",
            "capture",
        ),
        (
            "[[rule]]\nbucket = \"b\"\nmatch = \"a\"\nalso = [\"a\"]",
            "starts with",
        ),
        ("[[ignore]]\nbucket = \"b\"\nmatch = \"\"", "it is empty"),
        ("[economy]\nprotected = [\"a\"]", "starts with"),
        ("[economy]\nmin_stem = -1", "a whole number"),
    ] {
        let told = faults(&format!("{TOPICS}{text}\n"), &[]);
        assert!(told.contains(part), "{text}: {told}");
    }
}

#[test]
fn p1_a_spelling_that_changes_nothing_is_a_fault() {
    for spelling in ["+", "%2B", "%20", "%C3%A9", "a"] {
        let file = format!("{TOPICS}[[distribution]]\nid = \"E1\"\nspellings = [\"{spelling}\"]\n");
        let told = faults(&file, &[]);
        assert!(
            told.contains("changes nothing") && told.contains(spelling),
            "{told}"
        );
    }
}

#[test]
fn more_ways_to_write_a_path_than_can_be_counted_are_too_many() {
    let letters = (b'0'..=b'9')
        .chain(b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(*b"-'");
    let spellings: Vec<_> = letters.map(|letter| format!("\"%{letter:02X}\"")).collect();
    // Each doubles the number of ways: 2^64, which overflows to 0 in 64 bits.
    assert_eq!(spellings.len(), 64);
    let spellings = spellings.join(", ");
    let file = format!("{TOPICS}[[distribution]]\nid = \"E1\"\nspellings = [{spellings}]\n");
    assert!(faults(&file, &[]).contains("ways to write one path"));
}

/// Configuration that would do nothing, or something else than it says.
#[test]
fn point_17_what_would_do_nothing_is_a_fault() {
    for (text, part) in [
        (
            "[events]\ninvalidate_on = [\"ObjectCrated:*\"]",
            "did you mean \"ObjectCreated:*\"?",
        ),
        (
            "[events]\ninvalidate_on = [\"ObjectCreated:Putt\"]",
            "did you mean \"ObjectCreated:Put\"?",
        ),
        ("[events]\ninvalidate_on = []", "it is empty"),
        (
            "[[rule]]\nbucket = \"b\"\nmatch = \"/*.map\"\nalso = [\"/a\"]",
            "no leading slash",
        ),
        (
            "[[ignore]]\nbucket = \"b\"\nmatch = \"/*.map\"",
            "no leading slash",
        ),
        (
            "[[ignore]]\nbucket = \"s3://b\"\nmatch = \"*\"",
            "is not the name of a bucket",
        ),
        (
            "[[ignore]]\nbucket = \"\"\nmatch = \"*\"",
            "is not the name of a bucket",
        ),
        ("[server]\nfoo = 1", "[server] has server.listen, "),
        (
            "[origin]\ndomain = \"x\"\nbucket = \"b\"",
            "written [[origin]]",
        ),
        ("[api.tokens]\nname = \"x\"", "written [[api.tokens]]"),
        ("[[server]]\nlisten = \"x\"", "written [server]"),
        ("rule = 1", "not a list of tables"),
        ("rule = [1]", "not a table"),
    ] {
        // Keys of the top level have to come first.
        let told = faults(&format!("{text}\n{TOPICS}"), &[]);
        assert!(told.contains(part), "{text}: {told}");
        assert!(told.contains("1 fault:"), "{text}: {told}");
        assert!(!told.contains("server.drain?"), "{told}");
    }
}

#[test]
fn point_17_all_faults_of_all_tables_are_told_with_their_lines() {
    let file = format!(
        "{TOPICS}[[ignore]]\nmatch = \"a\"\nbuckt = \"b\"\nx = 1\n[[ignore]]\nbucket = 5\n\
         match = \"a\"\n[mapping]\nindex_documents = [\"a/b\", \"\"]\n[limits]\nreserve_paths = 9000\n"
    );
    let told = faults(&file, &[]);
    for part in [
        "ignore 1 (in test.toml, line 3)",
        "unknown field `buckt`",
        "unknown field `x`",
        "missing field `bucket`",
        "ignore 2 (in test.toml, line 7)",
        "mapping.index_documents (in test.toml, line 11)\n    \"a/b\"",
        "mapping.index_documents (in test.toml, line 11)\n    \"\"",
        "limits.reserve_paths (in test.toml, line 13)",
    ] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
    let tokens = format!("{TOPICS}[[api.tokens]]\nname = \"a\"\n[[api.tokens]]\nsecret-key = 5\n");
    let told = faults(&tokens, &[]);
    assert!(told.contains("api.tokens 1 (in test.toml, line 3)\n    missing field `sha256`"));
    assert!(
        told.contains("api.tokens 2") && !told.contains("secret-key"),
        "{told}"
    );
}

#[test]
fn point_17_variables_that_are_ignored_are_told() {
    let ignored = [
        ("PURGEFRONT_RULE", "[]"),
        ("PURGEFRONT_SERVER_LISTEN", "127.0.0.1:80"),
        ("PURGEFRONT_PORT", "tcp://10.0.0.1:80"),
    ];
    let told = read(TOPICS, &ignored).unwrap().warnings.join("\n");
    assert!(
        told.contains("PURGEFRONT_RULE: it is ignored: lists of tables"),
        "{told}"
    );
    assert!(
        told.contains("did you mean PURGEFRONT_SERVER__LISTEN?"),
        "{told}"
    );
    assert!(!told.contains("PURGEFRONT_PORT"), "{told}");
    // Where it is the reason for a fault, it stands beside it.
    let told = faults("", &[("PURGEFRONT_SNS_TOPICS", "[]")]);
    assert!(
        told.contains("did you mean PURGEFRONT_SNS__TOPICS?"),
        "{told}"
    );
    let told = faults(
        TOPICS,
        &[("PURGEFRONT_API__TOKENS", "[{\"name\": \"a-secret\"}]")],
    );
    assert!(told.contains("can only be set in the file"), "{told}");
    assert!(!told.contains("a-secret"), "{told}");
}

#[test]
fn point_18_faults_have_no_words_of_the_inside() {
    let file = format!(
        "{TOPICS}[server]\nmax_requests = \"many\"\ndrain = 5\n[limits]\npaths_per_day = -1\n\
         calls_per_second = true\n[mapping]\nindex_documents = 1\n"
    );
    let told = faults(&file, &[]);
    for inside in ["usize", "u64", "f64", "struct", "sequence", "invalid type"] {
        assert!(!told.contains(inside), "{inside} in:\n{told}");
    }
    assert!(
        told.contains("\"many\" is not valid: expected a whole number"),
        "{told}"
    );
}
