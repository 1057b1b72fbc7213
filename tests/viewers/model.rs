//! What CloudFront serves viewers and keeps, told from the viewer's side.
//!
//! The model knows nothing of the mapper: it goes from a viewer's URL to the key that is asked for,
//! the mapper the other way. It is slow and simple on purpose.

use std::{collections::BTreeSet, iter, ptr};

use purgefront::domain::{
    catalogue::{Behaviour, Caching, Details, Distribution, Origin, OriginGroup},
    change::Effect,
    path::Item,
};

/// What a domain name stands for.
pub struct Place {
    pub domain: &'static str,
    pub bucket: Option<&'static str>,
    kind: Kind,
    /// What it puts before the path that it is asked for.
    pub before: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rest,
    Website,
    Other,
}

pub const PLACES: &[Place] = &[
    place(
        "site.s3.eu-west-1.amazonaws.com",
        Some("site"),
        Kind::Rest,
        "",
    ),
    place(
        "site.s3-website-eu-west-1.amazonaws.com",
        Some("site"),
        Kind::Website,
        "",
    ),
    place("other.s3.amazonaws.com", Some("other"), Kind::Rest, ""),
    place(
        "other.s3-website.eu-central-1.amazonaws.com",
        Some("other"),
        Kind::Website,
        "",
    ),
    place(PROXY, Some("site"), Kind::Other, "/prod"),
    place("www.example.com", None, Kind::Other, ""),
];

/// A domain name that does not tell its bucket; the configuration does.
pub const PROXY: &str = "files.example.com";

const fn place(
    domain: &'static str,
    bucket: Option<&'static str>,
    kind: Kind,
    before: &'static str,
) -> Place {
    Place {
        domain,
        bucket,
        kind,
        before,
    }
}

/// A URL under which an answer with the key in question stays in the cache.
#[derive(Debug)]
pub struct Kept {
    pub url: String,
    /// What follows a `?` makes another answer.
    pub query_strings: bool,
}

/// A byte outside of it is written as `%XX`: the visible ones, without those that RFC 1738
/// calls unsafe, and without `?`, which would begin a query string. `~` is unsafe by RFC 1738,
/// but viewers write it as it is.
fn stays(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"<>\"#%{}|\\^[]`?".contains(&byte)
}

/// How viewers write a path.
fn written(path: &str) -> String {
    let one = |byte| {
        if stays(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    path.bytes().map(one).collect()
}

/// All ways in which viewers write a path: a plus as it is or not, a space as a plus or not.
fn all_written(path: &str) -> BTreeSet<String> {
    let usual = written(path);
    let without_plus = usual.replace('+', "%2B");
    let all = [usual, without_plus];
    let spaced = all.iter().map(|url| url.replace("%20", "+"));
    all.iter().cloned().chain(spaced).collect()
}

/// What a place reads from a URL: its bytes, of which some are written as `%XX`. S3's REST endpoints
/// take a plus for a space.
fn read(kind: Kind, url: &str) -> String {
    let mut bytes = url.bytes();
    let mut all = Vec::new();
    while let Some(byte) = bytes.next() {
        all.push(match byte {
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            b'+' if kind == Kind::Rest => b' ',
            byte => byte,
        });
    }
    String::from_utf8(all).unwrap()
}

/// What behaviours are matched with: no empty segments, no dot segments (RFC 3986, 5.2.4).
fn normalised(url: &str) -> String {
    let mut kept = Vec::new();
    let mut folder = false;
    for segment in url.split('/') {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let end = if folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Whether a pattern matches all of a path.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=path.len()).any(|run| matches(rest, &path[run..])),
        ([b'?', pattern @ ..], [_, path @ ..]) => matches(pattern, path),
        ([a, pattern @ ..], [b, path @ ..]) => a == b && matches(pattern, path),
        _ => false,
    }
}

/// The behaviour that answers for a URL.
fn first<'a>(distribution: &'a Distribution, url: &str) -> &'a Behaviour {
    let path = normalised(url);
    let hit = |behaviour: &&Behaviour| {
        // CloudFront takes a pattern without its slash for the one with it.
        let pattern = &behaviour.pattern;
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        matches(format!("/{pattern}").as_bytes(), path.as_bytes())
    };
    let found = distribution.behaviours.iter().find(hit);
    found.expect("the default behaviour matches all")
}

/// The behaviours that may answer a viewer who asks for a URL, and the URL that they ask origins for.
fn asked<'a>(distribution: &'a Distribution, url: &str) -> (Vec<&'a Behaviour>, String) {
    let by_url = first(distribution, url);
    let Details::Read {
        root: Some(root), ..
    } = &distribution.details
    else {
        return (vec![by_url], url.to_owned());
    };
    if url != "/" {
        return (vec![by_url], url.to_owned());
    }
    // Nowhere is it said whether "/" or the root object's own path chooses the behaviour.
    let named = written(&format!("/{root}"));
    let by_root = first(distribution, &named);
    let both = if ptr::eq(by_url, by_root) {
        vec![by_url]
    } else {
        vec![by_url, by_root]
    };
    (both, named)
}

/// The URLs that a function may ask a place for instead of a viewer's: the index document of a folder,
/// and what S3 reads as a plus.
fn rewritten(url: &str, kind: Kind) -> BTreeSet<String> {
    let named = url.ends_with('/').then(|| format!("{url}index.html"));
    let all: Vec<_> = iter::once(url.to_owned()).chain(named).collect();
    let rest = all.iter().filter(|_| kind == Kind::Rest);
    let plus = rest.map(|url| url.replace('+', "%2B"));
    all.iter().cloned().chain(plus).collect()
}

fn place_of(origin: &Origin) -> &'static Place {
    let place = PLACES.iter().find(|place| place.domain == origin.domain);
    place.expect("every origin is at one of the places")
}

/// Whether an origin that is asked for a URL answers with this object.
fn answers(origin: &Origin, url: &str, bucket: &str, key: &str) -> bool {
    let place = place_of(origin);
    let asked = read(place.kind, &format!("{}{url}", origin.path));
    let mut asked = format!("{}{asked}", place.before);
    if place.kind == Kind::Website && asked.ends_with('/') {
        asked.push_str("index.html");
    }
    place.bucket == Some(bucket) && asked.strip_prefix('/') == Some(key)
}

/// The origins that a behaviour asks: a group asks all of its members, one after the other.
fn origins<'a>(
    distribution: &'a Distribution,
    behaviour: &'a Behaviour,
) -> impl Iterator<Item = &'a Origin> {
    let asks = move |origin: &&Origin| {
        let member = |group: &OriginGroup| {
            group.id == behaviour.target && group.members.contains(&origin.id)
        };
        behaviour.target == origin.id || distribution.groups.iter().any(member)
    };
    distribution.origins.iter().filter(asks)
}

/// Every URL that could serve a key: an origin may add whatever the key begins with, and a website
/// endpoint or a function the index document that it ends with. The last cut leaves `/`.
fn candidates(key: &str) -> BTreeSet<String> {
    let cuts = key.char_indices().map(|(at, _)| at).chain([key.len()]);
    let paths = cuts.flat_map(|cut| {
        let path = format!("/{}", &key[cut..]);
        let folder = path.strip_suffix("index.html").map(str::to_owned);
        iter::once(path).chain(folder)
    });
    paths.flat_map(|path| all_written(&path)).collect()
}

/// Whether a behaviour that caches nothing else keeps the error that a viewer got before the object
/// was there. Everything is kept for 10 seconds, which is not worth a word.
fn keeps_errors(distribution: &Distribution, effect: Effect) -> bool {
    let mut errors = distribution.custom_errors.iter();
    effect == Effect::Appears
        && errors.any(|error| [403, 404].contains(&error.status) && error.min_ttl > 10)
}

/// All URLs under which a distribution keeps an object, or what stood in its place.
pub fn kept(distribution: &Distribution, bucket: &str, key: &str, effect: Effect) -> Vec<Kept> {
    let mut all = Vec::new();
    if !distribution.enabled {
        return all;
    }
    for url in candidates(key) {
        let (behaviours, at_origin) = asked(distribution, &url);
        for behaviour in behaviours {
            let Caching::Inline(cache) = behaviour.caching else {
                unreachable!("every behaviour says itself what it caches");
            };
            if !cache.caches && !keeps_errors(distribution, effect) {
                continue;
            }
            let mut keep = |url: &str| {
                all.push(Kept {
                    url: url.to_owned(),
                    query_strings: cache.query_strings,
                });
            };
            let chosen_by_url = ptr::eq(behaviour, first(distribution, &url));
            for origin in origins(distribution, behaviour) {
                if answers(origin, &at_origin, bucket, key) {
                    keep(&url);
                }
                if !behaviour.rewrites {
                    continue;
                }
                let kind = place_of(origin).kind;
                let mut requests = rewritten(&at_origin, kind);
                if chosen_by_url && url != at_origin {
                    // It is not said whether it sees "/" or the root object's path. If it leaves "/" as
                    // it is, the root object is asked for.
                    requests.extend(
                        rewritten(&url, kind)
                            .into_iter()
                            .filter(|asked| *asked != url),
                    );
                }
                for asked in requests {
                    if answers(origin, &asked, bucket, key) {
                        // It depends on the kind of function which of the two is the cache's key.
                        keep(&url);
                        keep(&asked);
                    }
                }
            }
        }
    }
    all
}

/// Whether the key is a page that viewers get for errors, and that is kept for long under any URL.
pub fn is_error_page(distribution: &Distribution, bucket: &str, key: &str) -> bool {
    let mut errors = distribution.custom_errors.iter();
    distribution.enabled
        && errors.any(|error| {
            let Some(page) = error.page.as_deref().filter(|_| error.min_ttl > 10) else {
                return false;
            };
            let (behaviours, at_origin) = asked(distribution, page);
            let mut origins = behaviours.iter().flat_map(|one| origins(distribution, one));
            origins.any(|origin| answers(origin, &at_origin, bucket, key))
        })
}

/// The part of a URL that an item may have: it ends before the first thing that no item can
/// name, which is `~`, an encoded `?`, or a `*` at the end.
pub fn nameable(url: &str) -> &str {
    let cut = [url.find('~'), url.find("%3F")].into_iter().flatten().min();
    match cut {
        Some(at) => &url[..at],
        None => url.strip_suffix('*').unwrap_or(url),
    }
}

/// Whether one of the items drops what is cached for a URL.
pub fn drops(items: &[&Item], url: &str) -> bool {
    let exact = Item::parse(url).ok().filter(|_| nameable(url) == url);
    items.iter().any(|item| match &exact {
        Some(exact) => item.covers(exact),
        None => item.stem().is_some_and(|stem| url.starts_with(stem)),
    })
}
