//! Matches request paths against the path patterns of cache behaviours.

use std::borrow::Cow;

/// Whether a path pattern matches the path of a viewer's URL, which must be percent-encoded and
/// [`normalised`].
///
/// `*` matches any number of characters, including `/`, and `?` exactly one. Matching is
/// case-sensitive, the leading slash is optional, and the pattern must match the whole path.
/// Source: CloudFront Developer Guide, "Path pattern".
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern).as_bytes();
    let path = path.strip_prefix('/').unwrap_or(path).as_bytes();
    let (mut p, mut t) = (0, 0);
    // Where to resume if the last star has to match one more character.
    let mut retry = None;
    while t < path.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(b'?') => {
                p += 1;
                t += 1;
            }
            Some(byte) if *byte == path[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else {
                    return false;
                };
                p = after_star;
                t = from + 1;
                retry = Some((p, t));
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Which of the paths that begin alike a path pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    None,
    Some,
    All,
}

/// Which of the paths that begin with `stem` a pattern matches. The stem is percent-encoded and normalised, and
/// begins with a slash.
pub fn reach(pattern: &str, stem: &str) -> Reach {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern).as_bytes();
    let stem = stem.strip_prefix('/').unwrap_or(stem).as_bytes();
    // How much of the pattern the stem may have matched, as places in it. A star may match nothing.
    let mut places = vec![false; pattern.len() + 1];
    let arrive = |places: &mut [bool], mut at: usize| {
        places[at] = true;
        while pattern.get(at) == Some(&b'*') {
            at += 1;
            places[at] = true;
        }
    };
    arrive(&mut places, 0);
    for byte in stem {
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|at| places[*at]) {
            match pattern[at] {
                b'*' => arrive(&mut next, at),
                b'?' => arrive(&mut next, at + 1),
                same if same == *byte => arrive(&mut next, at + 1),
                _ => {}
            }
        }
        places = next;
    }
    let last_star = |at: usize| pattern[at..].iter().all(|byte| *byte == b'*');
    if (0..pattern.len()).any(|at| places[at] && last_star(at)) {
        Reach::All
    } else if places.contains(&true) {
        Reach::Some
    } else {
        Reach::None
    }
}

/// The path that CloudFront compares with path patterns: dot segments (RFC 3986) are resolved
/// and runs of slashes are collapsed. The origin request and the cache key have the original
/// path. Source: CloudFront Developer Guide, "Path pattern".
pub fn normalised(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let end = if folder && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    Cow::Owned(format!("/{}{end}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_no_trap_for_time() {
        let pattern = "*a".repeat(60) + "b";
        assert!(!matches(&pattern, &"a".repeat(4_000)));
    }

    #[test]
    fn a_pattern_reaches_all_some_or_none_of_what_begins_alike() {
        for (pattern, stem, reaches) in [
            ("*", "/", Reach::All),
            ("*", "/a/b", Reach::All),
            ("/img/*", "/img/", Reach::All),
            ("img/*", "/img/a/b", Reach::All),
            ("img/*", "/img", Reach::Some),
            ("img/*", "/", Reach::Some),
            ("img/*", "/imp", Reach::None),
            ("img/*.jpg", "/img/a", Reach::Some),
            ("*.jpg", "/img/a.jpg", Reach::Some),
            ("img/?/*", "/img/a/", Reach::All),
            ("img/?/*", "/img/ab/", Reach::None),
            ("img/**", "/img/", Reach::All),
            ("index.html", "/index.html", Reach::Some),
            ("index.html", "/index.html2", Reach::None),
        ] {
            assert_eq!(reach(pattern, stem), reaches, "{pattern} {stem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_reached_is_what_matches(
            pattern in "/?[ab*?/]{0,6}",
            stem in "/[ab/]{0,4}",
            rest in proptest::collection::vec("[ab/]{0,4}", 1..20),
        ) {
            let all: Vec<_> = rest.iter().map(|rest| matches(&pattern, &format!("{stem}{rest}"))).collect();
            match reach(&pattern, &stem) {
                Reach::All => proptest::prop_assert!(all.iter().all(|matched| *matched)),
                Reach::None => proptest::prop_assert!(all.iter().all(|matched| !matched)),
                Reach::Some => {}
            }
        }
    }

    #[test]
    fn dots_and_runs_of_slashes_are_resolved() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/../a", "/a"),
            ("/a//", "/a/"),
            ("//", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/.../b", "/a/.../b"),
        ] {
            assert_eq!(normalised(path), expected, "{path}");
        }
    }
}
