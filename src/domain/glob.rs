//! The pattern language of rules: globs with captures, matched against keys.

use std::collections::BTreeMap;

use regex::Regex;

/// A glob that must match the whole key. `*` matches any number of characters, including `/`, as
/// in CloudFront's and IAM's patterns; `?` matches exactly one. `{name}` captures one or more
/// characters other than `/`, and `{*name}` one or more of any. `\` escapes the next character.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
    names: Vec<String>,
}

/// Captured text by name.
pub type Captures = BTreeMap<String, String>;

/// Why a glob is invalid, in words for the author of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("it is empty: expected a key or a pattern")]
    Empty,
    /// An unmatched brace.
    #[error(
        "\"{{\" and \"}}\" must enclose the name of a capture; a literal brace is written \\{{"
    )]
    Brace,
    #[error("{0:?} is not a valid capture name: use letters, digits and \"_\"")]
    Name(String),
    #[error("the capture {0:?} appears twice")]
    Twice(String),
    /// A trailing backslash.
    #[error("\"\\\" must be followed by the character to escape")]
    Backslash,
    /// The regex would be too large to compile.
    #[error("it is too long")]
    TooLong,
}

impl Glob {
    pub fn new(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        let mut names = Vec::new();
        let mut regex = String::from("^(?s:");
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            match char {
                '*' => regex.push_str(".*"),
                '?' => regex.push('.'),
                '\\' => {
                    let plain = rest.next().ok_or(GlobError::Backslash)?;
                    regex.push_str(&regex::escape(plain.encode_utf8(&mut [0; 4])));
                }
                '{' => {
                    let (inside, behind) = rest.as_str().split_once('}').ok_or(GlobError::Brace)?;
                    rest = behind.chars();
                    let (name, one) = match inside.strip_prefix('*') {
                        Some(name) => (name, "."),
                        None => (inside, "[^/]"),
                    };
                    if !is_name(name) {
                        return Err(GlobError::Name(name.to_owned()));
                    }
                    if names.iter().any(|known| known == name) {
                        return Err(GlobError::Twice(name.to_owned()));
                    }
                    names.push(name.to_owned());
                    regex.extend(["(", one, "+)"]);
                }
                '}' => return Err(GlobError::Brace),
                char => regex.push_str(&regex::escape(char.encode_utf8(&mut [0; 4]))),
            }
        }
        regex.push_str(")$");
        Ok(Self {
            text: text.to_owned(),
            regex: Regex::new(&regex).map_err(|_| GlobError::TooLong)?,
            names,
        })
    }

    /// The glob as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has a capture with this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    pub fn matches(&self, key: &str) -> bool {
        self.regex.is_match(key)
    }

    /// The captures in `key`; `None` if it does not match.
    pub fn captures(&self, key: &str) -> Option<Captures> {
        let found = self.regex.captures(key)?;
        let texts = found.iter().skip(1).flatten();
        let texts = texts.map(|text| text.as_str().to_owned());
        Some(self.names.iter().cloned().zip(texts).collect())
    }
}

/// Whether `text` is a valid name for a capture.
pub fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty() && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_keys() {
        for (glob, key, expected) in [
            ("a.html", "a.html", true),
            ("a.html", "xa.html", false),
            ("a.html", "axhtml", false),
            ("*.map", "js/app.js.map", true),
            ("*.map", "app.map.gz", false),
            ("logs/*", "logs/2026/a", true),
            ("logs/*", "logs/", true),
            ("logs/*", "logs", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("(a|b)+.[x]", "(a|b)+.[x]", true),
            ("\\*\\{\\?\\\\", "*{?\\", true),
            ("a*", "a\nb", true),
            ("posts/{slug}.md", "posts/x.md", true),
            ("posts/{slug}.md", "posts/.md", false),
            ("posts/{slug}.md", "posts/a/b.md", false),
            ("posts/{*slug}.md", "posts/a/b.md", true),
        ] {
            assert_eq!(
                Glob::new(glob).unwrap().matches(key),
                expected,
                "{glob} {key}"
            );
        }
    }

    #[test]
    fn captures_are_found_by_name() {
        let glob = Glob::new("{lang}/{*dir}/{slug}.md").unwrap();
        let captures = glob.captures("en/a/b/c d.md").unwrap();
        let found: Vec<_> = captures
            .iter()
            .map(|(n, t)| (n.as_str(), t.as_str()))
            .collect();
        assert_eq!(found, [("dir", "a/b"), ("lang", "en"), ("slug", "c d")]);
        assert!(glob.has("slug") && !glob.has("x"));
        assert_eq!(glob.captures("en/a.md"), None);
    }

    #[test]
    fn what_is_no_glob_says_why() {
        for (glob, why) in [
            ("", GlobError::Empty),
            ("a{b", GlobError::Brace),
            ("a}b", GlobError::Brace),
            ("{}", GlobError::Name(String::new())),
            ("{a b}", GlobError::Name("a b".to_owned())),
            ("{a}{a}", GlobError::Twice("a".to_owned())),
            ("a\\", GlobError::Backslash),
        ] {
            assert_eq!(Glob::new(glob).err(), Some(why), "{glob}");
        }
    }
}
