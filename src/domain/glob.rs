//! The pattern language of rules: globs over keys, with captures.

use std::collections::BTreeMap;

use regex::Regex;

/// A glob over all of a key. `*` stands for any number of characters, `/` among them, as in
/// CloudFront's and IAM's patterns, and `?` for exactly one; `{name}` captures one or more
/// characters up to the next `/`, `{*name}` one or more of any; `\` takes the meaning from the
/// character behind it.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
    names: Vec<String>,
}

/// What a glob captured, by name.
pub type Captures = BTreeMap<String, String>;

/// Why a text is no glob, in words for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Matches nothing.
    #[error("it is empty: give the key, or a pattern of keys")]
    Empty,
    /// A brace without its other one.
    #[error("\"{{\" and \"}}\" stand around the name of a capture; a brace itself is written \\{{")]
    Brace,
    /// A capture that is called by no name.
    #[error("{0:?} is no name for a capture: use letters, digits and \"_\"")]
    Name(String),
    /// Two captures with one name.
    #[error("{0:?} is captured twice")]
    Twice(String),
    /// A backslash with nothing behind it.
    #[error("\"\\\" stands before the character that it takes the meaning from")]
    Backslash,
    /// Too large to be looked for.
    #[error("it is too long")]
    TooLong,
}

impl Glob {
    /// Reads a glob.
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

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it captures something by this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Whether it matches all of `key`.
    pub fn matches(&self, key: &str) -> bool {
        self.regex.is_match(key)
    }

    /// What it captures of `key`; `None` where it does not match.
    pub fn captures(&self, key: &str) -> Option<Captures> {
        let found = self.regex.captures(key)?;
        let texts = found.iter().skip(1).flatten();
        let texts = texts.map(|text| text.as_str().to_owned());
        Some(self.names.iter().cloned().zip(texts).collect())
    }
}

/// Whether captures can be called so.
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
