//! Mapping against a naive model of how CloudFront serves viewers, written apart from it.
//!
//! The model goes the other way: from a viewer's URL by its behaviour to an origin and the key
//! that is asked for. Wherever it serves a key from its cache, mapping has to drop it.

use std::{collections::HashSet, sync::Arc};

use proptest::{prelude::*, sample::select};
use purgefront::domain::{
    catalogue::{
        Behaviour, CacheKey, Caching, Catalogue, Details, Distribution, Origin, OriginGroup,
        Snapshot,
    },
    mapping::{Mapping, MappingPolicy, Missing, map_object},
};

/// A distribution as the model has it.
#[derive(Debug, Clone)]
struct Site {
    enabled: bool,
    root: Option<&'static str>,
    origins: Vec<Source>,
    /// Whether the first two origins are a group, `o0` being the first of them.
    grouped: bool,
    behaviours: Vec<Way>,
}

#[derive(Debug, Clone)]
struct Source {
    bucket: &'static str,
    kind: Kind,
    path: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rest,
    Website,
    Custom,
}

/// A behaviour; a target beyond the origins is the group, or else the first origin.
#[derive(Debug, Clone)]
struct Way {
    pattern: String,
    target: usize,
    caches: bool,
    query_strings: bool,
}

/// How the model serves a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    url: String,
    query_strings: bool,
}

impl Site {
    fn target(&self, way: &Way) -> String {
        match way.target {
            at if at < self.origins.len() => format!("o{at}"),
            _ if self.grouped && self.origins.len() > 1 => "group".to_owned(),
            _ => "o0".to_owned(),
        }
    }

    fn catalogued(&self, id: usize) -> Distribution {
        let domain = |one: &Source| match one.kind {
            Kind::Rest => format!("{}.s3.eu-west-1.amazonaws.com", one.bucket),
            Kind::Website => format!("{}.s3-website.eu-west-1.amazonaws.com", one.bucket),
            Kind::Custom => format!("{}.example.com", one.bucket),
        };
        let origins = self.origins.iter().enumerate().map(|(at, one)| Origin {
            id: format!("o{at}"),
            domain: domain(one),
            path: one.path.to_owned(),
        });
        let group = OriginGroup {
            id: "group".to_owned(),
            members: vec!["o0".to_owned(), "o1".to_owned()],
        };
        let behaviours = self.behaviours.iter().map(|way| Behaviour {
            pattern: way.pattern.clone(),
            target: self.target(way),
            caching: Caching::Inline(CacheKey {
                caches: way.caches,
                query_strings: way.query_strings,
            }),
            rewrites: false,
            smooth_streaming: false,
        });
        Distribution {
            id: format!("E{id}"),
            enabled: self.enabled,
            aliases: Vec::new(),
            origins: origins.collect(),
            groups: self.grouped.then_some(group).into_iter().collect(),
            behaviours: behaviours.collect(),
            revision: "1".to_owned(),
            details: Details::Read {
                revision: "1".to_owned(),
                root: self.root.map(str::to_owned),
                cache_tags: false,
            },
        }
    }

    /// Whether a request for `url` may be answered with this object out of the cache, and
    /// whether query strings then make other cached objects.
    fn serves(&self, url: &str, bucket: &str, key: &str) -> Option<bool> {
        if !self.enabled {
            return None;
        }
        let root = self.root.filter(|_| url == "/");
        // By which of the two names behaviours are looked for is not documented: either.
        let path = root.map_or_else(|| decoded(url), |root| format!("/{root}"));
        let mut served: Option<bool> = None;
        for name in [url, &encoded(&path)] {
            let way = self
                .behaviours
                .iter()
                .find(|way| is_for(&way.pattern, name));
            let Some(way) = way.filter(|way| way.caches) else {
                continue;
            };
            let members = match self.target(way).as_str() {
                "group" => vec![0, 1],
                id => vec![id[1..].parse().unwrap()],
            };
            if members
                .iter()
                .any(|at| self.origins[*at].has(&path, bucket, key))
            {
                served = Some(served.unwrap_or_default() || way.query_strings);
            }
        }
        served
    }

    /// Every URL from which it may serve the object.
    fn urls(&self, bucket: &str, key: &str) -> Vec<Served> {
        let mut urls = HashSet::from(["/".to_owned()]);
        let whole = format!("/{key}");
        for (at, _) in whole.match_indices('/') {
            let rest = &whole[at..];
            urls.insert(encoded(rest));
            if let Some(folder) = rest.strip_suffix("index.html") {
                urls.insert(encoded(folder));
            }
        }
        let serve = |url: String| {
            let query_strings = self.serves(&url, bucket, key)?;
            Some(Served { url, query_strings })
        };
        urls.into_iter().filter_map(serve).collect()
    }
}

impl Source {
    /// Whether asking it for a path gives the object.
    fn has(&self, path: &str, bucket: &str, key: &str) -> bool {
        let mut asked = format!("{}{path}", self.path);
        if self.kind == Kind::Website && asked.ends_with('/') {
            asked += "index.html";
        }
        self.kind != Kind::Custom && self.bucket == bucket && asked[1..] == *key
    }
}

/// Whether a behaviour's pattern is for a URL's path.
fn is_for(pattern: &str, path: &str) -> bool {
    fn rest(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            ([b'*', more @ ..], _) => (0..=path.len()).any(|at| rest(more, &path[at..])),
            ([b'?', more @ ..], [_, left @ ..]) => rest(more, left),
            ([one, more @ ..], [other, left @ ..]) => one == other && rest(more, left),
            _ => false,
        }
    }
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    rest(pattern.as_bytes(), &resolved(path).as_bytes()[1..])
}

/// RFC 3986's dot segments taken out, and slashes made one.
fn resolved(path: &str) -> String {
    let mut path = path.to_owned();
    loop {
        let before = path.clone();
        path = path.replace("//", "/").replace("/./", "/");
        if let Some(cut) = path.strip_suffix("/.") {
            path = format!("{cut}/");
        }
        if let Some(cut) = path.strip_suffix("/..") {
            path = format!("{cut}/../");
        }
        if let Some(at) = path.find("/../") {
            let parent = path[..at].rfind('/').unwrap_or(0);
            path = format!("{}{}", &path[..parent], &path[at + 3..]);
        }
        if path == before {
            return path;
        }
    }
}

/// The canonical spelling of a path in a viewer's request.
fn encoded(path: &str) -> String {
    let byte = |byte: u8| match byte {
        b'?'
        | b' '
        | b'"'
        | b'<'
        | b'>'
        | b'#'
        | b'%'
        | b'{'
        | b'}'
        | b'|'
        | b'\\'
        | b'^'
        | b'['
        | b']'
        | b'`'
        | 0..=0x1f
        | 0x7f.. => format!("%{byte:02X}"),
        byte => char::from(byte).to_string(),
    };
    path.bytes().map(byte).collect()
}

fn decoded(url: &str) -> String {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(url).collect();
    String::from_utf8(bytes).unwrap()
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let kind = select(vec![Kind::Rest, Kind::Rest, Kind::Website, Kind::Custom]);
    let path = select(vec!["", "", "/prod", "/prod/x", "/pro"]);
    let one = (select(vec!["site", "site", "other"]), kind, path);
    let one = one.prop_map(|(bucket, kind, path)| Source { bucket, kind, path });
    prop::collection::vec(one, 1..4)
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    let piece = select(vec![
        "a", "b", "/", "*", "?", ".", "html", "prod", "index", "%20", "~",
    ]);
    let pattern = prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat());
    let one = (
        pattern,
        0..4_usize,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.2),
    );
    let one = one.prop_map(|(pattern, target, caches, query_strings)| Way {
        pattern,
        target,
        caches,
        query_strings,
    });
    let default = (
        0..4_usize,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.2),
    );
    (prop::collection::vec(one, 0..4), default).prop_map(|(mut ways, default)| {
        let (target, caches, query_strings) = default;
        let pattern = "*".to_owned();
        ways.push(Way {
            pattern,
            target,
            caches,
            query_strings,
        });
        ways
    })
}

fn site() -> impl Strategy<Value = Site> {
    let roots = vec![
        None,
        None,
        Some("index.html"),
        Some("prod/index.html"),
        Some("a"),
        Some("a b"),
    ];
    let parts = (
        prop::bool::weighted(0.95),
        select(roots),
        sources(),
        any::<bool>(),
        ways(),
    );
    parts.prop_map(|(enabled, root, origins, grouped, behaviours)| Site {
        enabled,
        root,
        grouped: grouped && origins.len() > 1,
        origins,
        behaviours,
    })
}

fn key() -> impl Strategy<Value = String> {
    let segments = vec![
        "a",
        "b",
        "prod",
        "prod",
        "x",
        "index.html",
        "index.html",
        "a b",
        "é",
        "a~b",
        "c?d",
        "e*",
        "..",
        ".",
        "",
    ];
    prop::collection::vec(select(segments), 1..4).prop_map(|segments| segments.join("/"))
}

fn mapped(sites: &[Site], key: &str) -> Mapping {
    let distributions = sites
        .iter()
        .enumerate()
        .map(|(at, site)| Arc::new(site.catalogued(at)));
    let snapshot = Snapshot {
        distributions: distributions.collect(),
        ..Snapshot::default()
    };
    let catalogue = Catalogue::new(snapshot, Arc::new([]));
    match map_object(&catalogue, &MappingPolicy::default(), "site", key) {
        Ok(mapping) => mapping,
        Err(Missing::Bucket) => Mapping::default(),
        Err(missing) => panic!("{missing:?}"),
    }
}

/// Whether an item drops what is cached for a URL.
fn drops(item: &str, url: &str) -> bool {
    item == url
        || item
            .strip_suffix('*')
            .is_some_and(|stem| url.starts_with(stem))
}

/// A URL cut before the first character that CloudFront cannot name, as a wildcard.
fn widened(url: &str) -> Option<String> {
    let last = url.len() - 1;
    let star = url.ends_with('*').then_some(last);
    let cut = [url.find('~'), url.find("%3F"), star]
        .into_iter()
        .flatten()
        .min();
    cut.map(|at| format!("{}*", &url[..at]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn whatever_viewers_may_have_is_dropped_and_nothing_else(
        sites in prop::collection::vec(site(), 1..4),
        key in key(),
    ) {
        let mapping = mapped(&sites, &key);
        for (at, site) in sites.iter().enumerate() {
            let id = format!("E{at}");
            let urls = site.urls("site", &key);
            let items: Vec<_> = mapping
                .targets
                .iter()
                .filter(|target| target.distribution_id == id)
                .map(|target| (target.item.as_str(), target.because.as_str()))
                .collect();
            let dead = mapping.dead.iter().any(|one| one.distribution_id.as_ref() == Some(&id));
            for Served { url, query_strings } in &urls {
                let too_wide = dead && widened(url).as_deref() == Some("/*");
                let dropped = |url: &str| items.iter().any(|(item, _)| drops(item, url));
                prop_assert!(too_wide || dropped(url), "{id} keeps {url}: {items:?}");
                if *query_strings {
                    let query = format!("{url}?v=1");
                    prop_assert!(too_wide || dropped(&query), "{id} keeps {query}: {items:?}");
                }
            }
            prop_assert!(items.is_empty() || !urls.is_empty(), "{id} pays for {items:?}");
            prop_assert!(!dead || !urls.is_empty(), "{id} buries what nobody has");
            for (item, because) in items {
                let special = ["query strings", "index document", "default root object"];
                if because.contains("widened") {
                    let narrowest = urls.iter().any(|one| widened(&one.url).as_deref() == Some(item));
                    prop_assert!(narrowest, "{id}: {item} is not the narrowest of {urls:?}");
                } else if !special.iter().any(|reason| because.contains(reason)) {
                    let count = urls.iter().filter(|one| one.url == item).count();
                    prop_assert_eq!(count, 1, "{} gets {} of {:?}", id, item, &urls);
                }
            }
        }
    }

    /// A model that serves nothing would prove nothing.
    #[test]
    fn the_model_serves_the_plain_case(key in "[a-z]{1,8}(/[a-z]{1,8}){0,2}") {
        let site = Site {
            enabled: true,
            root: None,
            origins: vec![Source { bucket: "site", kind: Kind::Rest, path: "/prod" }],
            grouped: false,
            behaviours: vec![Way {
                pattern: "*".to_owned(),
                target: 0,
                caches: true,
                query_strings: false,
            }],
        };
        let url = format!("/{key}");
        let served = site.urls("site", &format!("prod/{key}"));
        prop_assert_eq!(served, [Served { url, query_strings: false }]);
        prop_assert!(site.urls("site", &key).is_empty() || key.starts_with("prod/"));
    }
}
