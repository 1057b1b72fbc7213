//! Reads the body of POST /invalidate: what is asked for, or all that is wrong with it.

use std::collections::HashSet;

use super::members::{self, Faults, Unread};
use crate::domain::{
    json::{Object, Value},
    path::Item,
};

const MAX_ITEMS: usize = 10_000;
/// In bytes, as of S3.
const MAX_KEY: usize = 1_024;
/// In bytes: more than a domain name can have.
const MAX_ALIAS: usize = 255;

const MEMBERS: &str = "distribution_id, alias, bucket, paths, tags, keys, reason and dry_run";

/// What a caller asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) asked: Asked,
    pub(super) reason: Option<String>,
    /// Only show what would be sent.
    pub(super) dry_run: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Paths followed by tags, without duplicates, in the given order.
    Items { at: At, items: Vec<Item> },
    /// Keys without duplicates, in the given order.
    Keys { bucket: String, keys: Vec<String> },
}

/// How a caller names a distribution.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum At {
    Id(String),
    Alias(String),
}

impl Order {
    /// Reads a body, or returns all of its faults. The content type is ignored, because curl -d sends
    /// everything as a form. Wildcards are faults if the caller may not ask for them.
    pub(super) fn read(body: &[u8], wildcards: bool) -> Result<Self, Unread> {
        let mut members = members::read(body)?;
        let mut faults = Faults::default();
        let address = read_address(&mut members, &mut faults);
        let asked = read_asked(&mut members, address, wildcards, &mut faults);
        let reason = members::reason(&mut members, &mut faults);
        let dry_run = read_dry_run(&mut members, &mut faults);
        faults.unknown(members, MEMBERS);
        match asked {
            Some(asked) if faults.0.is_empty() => Ok(Self {
                asked,
                reason,
                dry_run,
            }),
            _ => Err(Unread::Faults(faults.0)),
        }
    }
}

enum Address {
    At(At),
    Bucket(String),
    /// There is none, or more than one, or it is malformed.
    Faulty,
}

fn read_address(members: &mut Object, faults: &mut Faults) -> Address {
    let names = ["distribution_id", "alias", "bucket"];
    let given: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((name, members.remove(name)?)))
        .collect();
    if given.len() > 1 {
        for (name, _) in &given {
            faults.at(name, "give only one of distribution_id, alias and bucket");
        }
        return Address::Faulty;
    }
    let Some((name, value)) = given.into_iter().next() else {
        faults.at(
            "distribution_id",
            "one of distribution_id, alias and bucket is required",
        );
        return Address::Faulty;
    };
    match (name, value) {
        ("distribution_id", value) => {
            if let Some(id) = members::distribution_id(value, faults) {
                return Address::At(At::Id(id));
            }
        }
        ("bucket", value) => {
            if let Some(bucket) = members::bucket(value, faults) {
                return Address::Bucket(bucket);
            }
        }
        ("alias", Value::Text(alias)) if (1..=MAX_ALIAS).contains(&alias.len()) => {
            return Address::At(At::Alias(alias.into_owned()));
        }
        _ => faults.at(
            name,
            "must be an alias of a distribution, such as \"www.example.com\"",
        ),
    }
    Address::Faulty
}

fn read_asked(
    members: &mut Object,
    address: Address,
    wildcards: bool,
    faults: &mut Faults,
) -> Option<Asked> {
    let before = faults.0.len();
    let [paths, tags, keys] =
        ["paths", "tags", "keys"].map(|name| read_texts(members, name, faults));
    let given = [&paths, &tags, &keys].map(Option::is_some);
    let items = read_items(paths, tags, wildcards, faults);
    let keys = read_keys(keys, faults);
    let sound = faults.0.len() == before;
    match (&address, given) {
        (Address::Bucket(_), [has_paths, has_tags, has_keys]) => {
            for (name, _) in [("paths", has_paths), ("tags", has_tags)]
                .iter()
                .filter(|(_, given)| *given)
            {
                faults.at(
                    name,
                    format!("{name} go with distribution_id or alias: with bucket, give keys"),
                );
            }
            if !has_keys {
                faults.at("keys", "is required with bucket");
            } else if sound && !(1..=MAX_ITEMS).contains(&keys.len()) {
                faults.at("keys", format!("must be 1 to {MAX_ITEMS} keys"));
            }
        }
        (Address::At(_), [has_paths, has_tags, has_keys]) => {
            if has_keys {
                faults.at(
                    "keys",
                    "keys go with bucket: with distribution_id or alias, give paths or tags",
                );
            }
            if !has_paths && !has_tags {
                faults.at("paths", "paths or tags are required");
            } else if sound && !(1..=MAX_ITEMS).contains(&items.len()) {
                faults.at(
                    "paths",
                    format!("paths and tags must be 1 to {MAX_ITEMS} together"),
                );
            }
        }
        (Address::Faulty, [false, false, false]) => {
            faults.at("paths", "paths or tags, or with bucket keys, are required");
        }
        (Address::Faulty, _) => {}
    }
    match address {
        Address::At(at) => Some(Asked::Items { at, items }),
        Address::Bucket(bucket) => Some(Asked::Keys { bucket, keys }),
        Address::Faulty => None,
    }
}

/// A text of a list, and its place in the body.
type Placed = (String, String);

/// Reads a list of strings, and reports elements that are none.
fn read_texts(members: &mut Object, name: &str, faults: &mut Faults) -> Option<Vec<Placed>> {
    let mut texts = Vec::new();
    match members.remove(name)? {
        Value::List(values) if values.len() > MAX_ITEMS => {
            faults.at(name, format!("must be 1 to {MAX_ITEMS} {name}"));
        }
        Value::List(values) => {
            for (at, value) in values.into_iter().enumerate() {
                let pointer = format!("/{name}/{at}");
                match value {
                    Value::Text(text) => texts.push((pointer, text.into_owned())),
                    _ => faults.add(pointer, "must be a string"),
                }
            }
        }
        _ => faults.at(name, format!("must be a list of {name}")),
    }
    Some(texts)
}

fn read_items(
    paths: Option<Vec<Placed>>,
    tags: Option<Vec<Placed>>,
    wildcards: bool,
    faults: &mut Faults,
) -> Vec<Item> {
    let paths = paths.unwrap_or_default().into_iter();
    let paths = paths.map(|(pointer, text)| (pointer, Item::parse(&text)));
    let tags = tags.unwrap_or_default().into_iter();
    let tags = tags.map(|(pointer, text)| (pointer, Item::tag(&text)));
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for (pointer, read) in paths.chain(tags) {
        match read {
            Ok(item) if item.is_wildcard() && !wildcards => faults.add(
                pointer,
                format!("{item} is a wildcard, and this token may not ask for wildcards"),
            ),
            Ok(item) if seen.insert(item.clone()) => items.push(item),
            Ok(_) => {}
            Err(illegal) => faults.add(pointer, illegal.to_string()),
        }
    }
    items
}

fn read_keys(keys: Option<Vec<Placed>>, faults: &mut Faults) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut read = Vec::new();
    for (pointer, key) in keys.unwrap_or_default() {
        if !(1..=MAX_KEY).contains(&key.len()) {
            faults.add(pointer, format!("must be a key of 1 to {MAX_KEY} bytes"));
        } else if seen.insert(key.clone()) {
            read.push(key);
        }
    }
    read
}

fn read_dry_run(members: &mut Object, faults: &mut Faults) -> bool {
    match members.remove("dry_run") {
        None => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => {
            faults.at("dry_run", "must be true or false");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::domain::json::JsonFault;

    fn read(body: &Json) -> Result<Order, Unread> {
        Order::read(body.to_string().as_bytes(), true)
    }

    fn faults(body: &Json, wildcards: bool) -> Vec<(String, String)> {
        let Err(Unread::Faults(faults)) = Order::read(body.to_string().as_bytes(), wildcards)
        else {
            panic!("{body} has faults");
        };
        let faults = faults.into_iter();
        faults.map(|one| (one.pointer, one.detail)).collect()
    }

    fn pointers(body: &Json) -> Vec<String> {
        let faults = faults(body, true).into_iter();
        faults.map(|(pointer, _)| pointer).collect()
    }

    #[test]
    fn duplicates_are_merged_and_order_is_kept() {
        let body = json!({"distribution_id": "E1", "paths": ["/b", "/a", "/b"], "reason": null});
        let items = |texts: &[&str]| texts.iter().map(|text| Item::read(text).unwrap()).collect();
        let order = Order {
            asked: Asked::Items {
                at: At::Id("E1".to_owned()),
                items: items(&["/b", "/a"]),
            },
            reason: None,
            dry_run: false,
        };
        assert_eq!(read(&body), Ok(order));
        let body = json!({"alias": "*.x.org", "paths": ["/b"], "tags": ["b", "a:1", "b"],
            "reason": "r", "dry_run": true});
        let order = Order {
            asked: Asked::Items {
                at: At::Alias("*.x.org".to_owned()),
                items: items(&["/b", "#b", "#a:1"]),
            },
            reason: Some("r".to_owned()),
            dry_run: true,
        };
        assert_eq!(read(&body), Ok(order));
        let body = json!({"bucket": "site", "keys": ["a b", "\u{e4}", "a b", "/"]});
        let order = Order {
            asked: Asked::Keys {
                bucket: "site".to_owned(),
                keys: ["a b", "\u{e4}", "/"].map(str::to_owned).into(),
            },
            reason: None,
            dry_run: false,
        };
        assert_eq!(read(&body), Ok(order));
    }

    #[test]
    fn all_faults_are_returned_at_once() {
        assert_eq!(pointers(&json!([])), [""]);
        assert_eq!(pointers(&json!({})), ["/distribution_id", "/paths"]);
        let body = json!({"distribution_id": 1, "paths": ["/a", "b", 3, "/~"], "reason": 4,
            "a/b~c": 1, "tags": ["ok", "a,b"], "keys": ["", 7, "x".repeat(1025)],
            "dry_run": null});
        let mut found = pointers(&body);
        found.sort();
        let expected = [
            "/a~1b~0c",
            "/distribution_id",
            "/dry_run",
            "/keys/0",
            "/keys/1",
            "/keys/2",
            "/paths/1",
            "/paths/2",
            "/paths/3",
            "/reason",
            "/tags/1",
        ];
        assert_eq!(found, expected);
        for (body, expected) in [
            (json!({"distribution_id": "E1", "paths": []}), "/paths"),
            (json!({"bucket": "b", "keys": []}), "/keys"),
            (json!({"bucket": "b", "keys": vec!["a"; 10_001]}), "/keys"),
            (json!({"alias": "a", "tags": vec!["a"; 10_001]}), "/tags"),
            (json!({"alias": "", "tags": ["a"]}), "/alias"),
            (json!({"bucket": "x".repeat(256), "keys": ["a"]}), "/bucket"),
            (json!({"bucket": "b", "keys": {}}), "/keys"),
        ] {
            assert_eq!(pointers(&body), [expected], "{body}");
        }
        let paths: Vec<_> = (0..6_000).map(|at| format!("/{at}")).collect();
        let tags: Vec<_> = (0..4_001).map(|at| format!("{at}")).collect();
        let many = json!({"distribution_id": "E1", "paths": paths, "tags": tags});
        assert_eq!(pointers(&many), ["/paths"]);
    }

    #[test]
    fn there_is_one_address_and_what_goes_with_it() {
        let two = json!({"bucket": "b", "alias": "a", "keys": ["k"]});
        assert_eq!(pointers(&two), ["/alias", "/bucket"]);
        let both = json!({"bucket": "b", "paths": ["/a"], "tags": ["t"]});
        assert_eq!(pointers(&both), ["/paths", "/tags", "/keys"]);
        let both = json!({"alias": "a", "keys": ["k"]});
        assert_eq!(pointers(&both), ["/keys", "/paths"]);
    }

    #[test]
    fn a_wildcard_is_named_if_the_token_may_not() {
        let body = json!({"alias": "a", "paths": ["/a", "/b/*", "/*"], "tags": ["t*"]});
        let found = faults(&body, false);
        let pointers: Vec<_> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/paths/1", "/paths/2"]);
        assert!(found[0].1.starts_with("/b/* is a wildcard"), "{found:?}");
        assert!(read(&body).is_ok());
    }

    #[test]
    fn a_member_given_twice_is_refused() {
        let body = br#"{"alias": "a", "paths": ["/a"], "paths": ["/b"]}"#;
        let twice = JsonFault::DuplicateKey("paths".to_owned());
        assert_eq!(Order::read(body, true), Err(Unread::Json(twice)));
        let read = Order::read(b"alias=a", true);
        assert!(matches!(read, Err(Unread::Json(JsonFault::NotJson(_)))));
    }
}
