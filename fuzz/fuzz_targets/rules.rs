//! Evaluates a rule: the first line is the pattern, the last the key, those between are the items.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use purgefront::domain::{
    glob::{Captures, Glob},
    path::{IllegalItem, Item},
    rules::{Ignore, Rendered, Rule},
};

/// S3's limit on the length of a key.
const MAX_KEY_BYTES: usize = 1024;

/// The path that a template describes: escapes decoded, captures verbatim.
fn decode(mut template: &str, captures: &Captures) -> Vec<u8> {
    let mut decoded = Vec::new();
    while let Some((before, behind)) = template.split_once('{') {
        let (name, after) = behind.split_once('}').expect("a closing brace");
        decoded.extend(percent_decode_str(before));
        decoded.extend(captures[name].as_bytes());
        template = after;
    }
    decoded.extend(percent_decode_str(template));
    decoded
}

fn check(glob: &str, also: &[String], key: &str) {
    let read = Glob::new(glob);
    let Ok(rule) = Rule::new("site", glob, also, false) else {
        return;
    };
    let read = read.expect("a rule's pattern is a glob");
    let captures = read.captures(key);
    assert_eq!(captures.is_some(), read.matches(key));
    let ignore = Ignore::new("site", glob).expect("a glob");
    assert_eq!(captures.is_some(), ignore.is_about("site", key));
    let found = rule.matches("site", key);
    assert_eq!(captures.is_some(), found.is_some());
    let (Some(captures), Some(found)) = (captures, found) else {
        return;
    };

    let mut items = found.items();
    for template in also {
        let alone = Rule::new("site", glob, std::slice::from_ref(template), false);
        let alone = alone.expect("a part of a rule is one");
        let alone = alone.matches("site", key).expect("the same pattern");
        let of_it: Vec<_> = alone.items().collect();
        // A `+` in a capture goes out in two ways.
        assert!((1..=2).contains(&of_it.len()), "{of_it:?}");
        for rendered in of_it {
            assert_eq!(items.next().as_ref(), Some(&rendered));
            check_item(rendered, template, &captures);
        }
    }
    assert!(items.next().is_none());
}

fn check_item(rendered: Result<Rendered, IllegalItem>, template: &str, captures: &Captures) {
    let rendered = match rendered {
        Ok(rendered) => rendered,
        Err(why) => {
            assert!(template.starts_with('#'), "{template:?}: {why}");
            return;
        }
    };
    let item = &rendered.item;
    assert_eq!(Item::read(item.as_str()).as_ref(), Ok(item));
    assert_eq!(item.is_tag(), template.starts_with('#'));
    if item.is_tag() {
        return;
    }
    let whole = decode(template, captures);
    match (rendered.widened, item.stem()) {
        (Some(_), Some(stem)) => {
            let stem: Vec<u8> = percent_decode_str(stem).collect();
            assert!(whole.starts_with(&stem), "{item} does not cover it");
        }
        (Some(_), None) => panic!("{item} is not a wildcard"),
        (None, _) => {
            assert_eq!(item.is_wildcard(), template.ends_with('*'));
            let named: Vec<u8> = percent_decode_str(item.as_str()).collect();
            assert_eq!(named, whole);
        }
    }
}

fuzz_target!(|text: &str| {
    let mut lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
    let key = lines.pop().unwrap_or_default();
    if lines.is_empty() || key.len() > MAX_KEY_BYTES {
        return;
    }
    let glob = lines.remove(0);
    check(&glob, &lines, &key);
});
