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
