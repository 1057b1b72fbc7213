//! Configured rules: additional items for keys, and keys to ignore.

use std::iter;

use super::{
    glob::{Captures, Glob, GlobError, is_name},
    path::{IllegalItem, Item, MAX_ITEM_BYTES, Respelling, Spelling, Unnameable, spell_as},
};

const ENCODED_PLUS: Respelling<'_> = Respelling {
    char: '+',
    text: "%2B",
};

/// A `[[rule]]`: items to invalidate when a matching key of a bucket changes.
#[derive(Debug, Clone)]
pub struct Rule {
    bucket: String,
    glob: Glob,
    also: Vec<Template>,
    instead: bool,
}

/// An `[[ignore]]`: keys of a bucket whose changes are ignored.
#[derive(Debug, Clone)]
pub struct Ignore {
    bucket: String,
    glob: Glob,
}

/// Why a rule is invalid, in words for the author of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("match = {0:?}: {1}")]
    Glob(String, GlobError),
    /// The rule would never match.
    #[error(
        "match = {0:?}: keys have no leading slash, so it would match nothing; leave the slash out, or \
             write \"?\" for one that your keys really begin with"
    )]
    LeadingSlash(String),
    #[error("bucket = {0:?} is not the name of a bucket, such as \"my-bucket\"")]
    Bucket(String),
    #[error("{0:?}: {1}")]
    Template(String, TemplateError),
}

/// Why an item of a rule is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("an item is a path that starts with \"/\", or \"#\" and a cache tag")]
    Kind,
    /// An unmatched brace, or an invalid capture name.
    #[error("\"{{\" and \"}}\" must enclose the name of a capture")]
    Brace,
    #[error("match has no capture named {0:?}")]
    Unknown(String),
    /// The text around the captures is illegal.
    #[error("{0}")]
    Illegal(IllegalItem),
}

/// A rule that matches a key.
#[derive(Debug)]
pub struct RuleMatch<'a> {
    pub rule: &'a Rule,
    captures: Captures,
}

impl Rule {
    /// A rule for keys of `bucket` that match `glob`: invalidates the items `also`, in addition to
    /// what mapping finds or `instead` of it.
    pub fn new(
        bucket: &str,
        glob: &str,
        also: &[String],
        instead: bool,
    ) -> Result<Self, RuleError> {
        let read = read_match(bucket, glob)?;
        let also = also.iter().map(|text| {
            let template = Template::new(text, &read);
            template.map_err(|why| RuleError::Template(text.clone(), why))
        });
        let also = also.collect::<Result<_, _>>()?;
        Ok(Self {
            bucket: bucket.to_owned(),
            glob: read,
            also,
            instead,
        })
    }

    /// The pattern as written.
    pub fn glob(&self) -> &str {
        self.glob.as_str()
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether the rule's items replace what mapping finds.
    pub fn is_instead(&self) -> bool {
        self.instead
    }

    /// What the paths begin with that it makes of keys, as far as their beginning is the same for all keys. An
    /// item that is a single path, whatever the key, is none of them.
    pub fn derived_stems(&self) -> impl Iterator<Item = &str> {
        self.also.iter().filter_map(Template::derived_stem)
    }

    /// Whether any of its items is a cache tag.
    pub fn has_tags(&self) -> bool {
        self.also
            .iter()
            .any(|template| template.text.starts_with('#'))
    }

    /// Matches the rule against a key.
    pub fn matches(&self, bucket: &str, key: &str) -> Option<RuleMatch<'_>> {
        if self.bucket != bucket {
            return None;
        }
        let captures = self.glob.captures(key)?;
        Some(RuleMatch {
            rule: self,
            captures,
        })
    }
}

impl RuleMatch<'_> {
    /// The rule's items for the key. Paths that no exact item can name are widened; an illegal tag
    /// is an error. A `+` in a capture goes out as it is and as `%2B`: it is unknown which of the two
    /// the origin behind the path reads as a plus.
    pub fn items(&self) -> impl Iterator<Item = Result<Rendered, IllegalItem>> {
        self.rule.also.iter().flat_map(|one| {
            let usual = one.render(&self.captures, &[]);
            let encoded = one.render(&self.captures, &[ENCODED_PLUS]);
            let differs = encoded != usual;
            iter::once(usual).chain(differs.then_some(encoded))
        })
    }
}

impl Ignore {
    /// Ignores keys of `bucket` that match `glob`.
    pub fn new(bucket: &str, glob: &str) -> Result<Self, RuleError> {
        let read = read_match(bucket, glob)?;
        Ok(Self {
            bucket: bucket.to_owned(),
            glob: read,
        })
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether the key is ignored.
    pub fn is_about(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && self.glob.matches(key)
    }

    /// The pattern as written.
    pub fn glob(&self) -> &str {
        self.glob.as_str()
    }
}

/// Checks a bucket, and reads a pattern for its keys.
fn read_match(bucket: &str, glob: &str) -> Result<Glob, RuleError> {
    // The names of old buckets may have capital letters and underscores.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(plain) {
        return Err(RuleError::Bucket(bucket.to_owned()));
    }
    if glob.starts_with('/') {
        return Err(RuleError::LeadingSlash(glob.to_owned()));
    }
    Glob::new(glob).map_err(|why| RuleError::Glob(glob.to_owned(), why))
}

/// An item of a rule, with the captures filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub item: Item,
    /// Set if a capture cannot be named exactly, so that `item` is a wildcard that covers it.
    pub widened: Option<Unnameable>,
}

/// An item with placeholders for captures: `/blog/{slug}/`, `#post-{slug}`.
#[derive(Debug, Clone)]
struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Capture(String),
}

impl Template {
    fn new(text: &str, glob: &Glob) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or(TemplateError::Brace)?;
            if !is_name(name) {
                return Err(TemplateError::Brace);
            }
            if !glob.has(name) {
                return Err(TemplateError::Unknown(name.to_owned()));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Capture(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self {
            text: text.to_owned(),
            parts,
        };
        if !text.starts_with(['/', '#']) {
            return Err(TemplateError::Kind);
        }
        // With a harmless value for every capture, only the text around them can be illegal.
        let filled = template.fill(|_| "x".to_owned());
        Item::read(&filled).map_err(TemplateError::Illegal)?;
        Ok(template)
    }

    fn derived_stem(&self) -> Option<&str> {
        let is_one_path = self.parts.len() == 1 && !self.text.ends_with('*');
        match self.parts.first() {
            Some(Part::Text(text)) if text.starts_with('/') && !is_one_path => {
                Some(text.strip_suffix('*').unwrap_or(text))
            }
            _ => None,
        }
    }

    fn fill(&self, capture: impl Fn(&str) -> String) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Capture(name) => capture(name),
        });
        parts.collect()
    }

    /// Fills in the captures: verbatim in a tag, encoded in a path. A path becomes a wildcard that
    /// ends at the first character that cannot be named.
    fn render(
        &self,
        captures: &Captures,
        respellings: &[Respelling<'_>],
    ) -> Result<Rendered, IllegalItem> {
        if self.text.starts_with('#') {
            let filled = self.fill(|name| captures.get(name).cloned().unwrap_or_default());
            let item = Item::read(&filled)?;
            return Ok(Rendered {
                item,
                widened: None,
            });
        }
        let mut text = String::new();
        let mut widened = None;
        let last = self.parts.iter().rposition(|part| !part.is_empty());
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Capture(name) => {
                    let text_of_it = captures.get(name).map_or("", String::as_str);
                    // A "*" is a wildcard only at the end of an item, so encode other captures
                    // as if something followed them.
                    let inside = last != Some(at);
                    let path = format!("/{text_of_it}{}", if inside { "." } else { "" });
                    let Spelling {
                        item, widened: why, ..
                    } = spell_as(&path, respellings);
                    let spelled = item.as_str();
                    let end = spelled.len() - usize::from(inside || why.is_some());
                    text.push_str(&spelled[1..end]);
                    widened = why;
                }
            }
            if widened.is_some() {
                break;
            }
        }
        if text.len() > MAX_ITEM_BYTES {
            widened = Some(Unnameable::TooLong);
        }
        let item = match widened {
            Some(_) => Item::around(&text),
            None => Item::read(&text)?,
        };
        Ok(Rendered { item, widened })
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(glob: &str, also: &str, key: &str) -> Vec<Result<(String, bool), IllegalItem>> {
        let rule = Rule::new("b", glob, &[also.to_owned()], false).unwrap();
        let found = rule.matches("b", key).unwrap();
        found
            .items()
            .map(|one| one.map(|one| (one.item.to_string(), one.widened.is_some())))
            .collect()
    }

    #[test]
    fn the_beginning_of_what_a_rule_makes_is_known() {
        let also = [
            "/img/{name}/*",
            "/list/*",
            "/feed.xml",
            "#tag-{name}",
            "/{name}",
        ];
        let rule = Rule::new("b", "photos/{name}.jpg", &also.map(str::to_owned), false).unwrap();
        assert_eq!(
            rule.derived_stems().collect::<Vec<_>>(),
            ["/img/", "/list/", "/"]
        );
    }

    #[test]
    fn captures_are_spelled_into_items() {
        for (glob, also, key, item, widened) in [
            (
                "posts/{s}.md",
                "/blog/{s}/",
                "posts/a.md",
                "/blog/a/",
                false,
            ),
            (
                "posts/{s}.md",
                "/blog/{s}",
                "posts/a b é.md",
                "/blog/a%20b%20%C3%A9",
                false,
            ),
            ("posts/{s}.md", "/blog/", "posts/a.md", "/blog/", false),
            ("posts/{s}.md", "/blog/*", "posts/a.md", "/blog/*", false),
            ("posts/{s}.md", "/*", "posts/a.md", "/*", false),
            (
                "posts/{s}.md",
                "/blog/{s}/",
                "posts/x~y.md",
                "/blog/x*",
                true,
            ),
            (
                "posts/{s}.md",
                "/blog/{s}/",
                "posts/x?y.md",
                "/blog/x*",
                true,
            ),
            (
                "posts/{s}.md",
                "/blog/{s}/",
                "posts/x*.md",
                "/blog/x*/",
                false,
            ),
            ("posts/{s}.md", "/blog/{s}", "posts/x*.md", "/blog/x*", true),
            (
                "{*d}/{s}.md",
                "/{d}/{s}.html",
                "a/b/c.md",
                "/a/b/c.html",
                false,
            ),
            ("{s}.md", "/{s}?v=1", "c.md", "/c?v=1", false),
            ("{s}.md", "#post-{s}", "c.md", "#post-c", false),
        ] {
            let expected = Ok((item.to_owned(), widened));
            assert_eq!(items(glob, also, key), [expected], "{glob} {also} {key}");
        }
    }

    #[test]
    fn p1_a_plus_in_a_capture_is_written_in_both_ways() {
        let plain = |item: &str| Ok((item.to_owned(), false));
        let got = items("{s}.md", "/{s}/", "c++.md");
        assert_eq!(got, [plain("/c++/"), plain("/c%2B%2B/")]);
        assert_eq!(items("{s}.md", "/a+b", "c++.md"), [plain("/a+b")]);
        assert_eq!(items("{s}.md", "#{s}", "c++.md"), [plain("#c++")]);
    }

    #[test]
    fn captures_that_make_a_path_too_long_make_a_wildcard() {
        let key = "é".repeat(512);
        // Without the slash and the star, 3,998 bytes are left: 1,332 escapes of three bytes.
        let cut = format!("/{}*", "%C3%A9".repeat(666));
        for also in ["/{s}{s}", "/{s}{s}/", "/{s}{s}*"] {
            assert_eq!(
                items("{s}", also, &key),
                [Ok((cut.clone(), true))],
                "{also}"
            );
        }
        // Widened because of the tilde, and also too long.
        let tilde = format!("{}~", "é".repeat(511));
        let also = format!("/{}/{{s}}", "a".repeat(3_000));
        let (item, widened) = items("{s}", &also, &tilde)[0].clone().unwrap();
        assert!(
            widened && item.len() > MAX_ITEM_BYTES - 3 && item.ends_with('*'),
            "{item}"
        );
    }

    #[test]
    fn a_capture_that_makes_no_tag_is_an_error() {
        let got = items("{s}.md", "#post-{s}", "a b.md");
        assert_eq!(got, [Err(IllegalItem::NotInTags(' '))]);
    }

    #[test]
    fn a_rule_is_about_its_bucket_and_keys() {
        let rule = Rule::new("b", "{s}.md", &["/{s}".to_owned()], true).unwrap();
        assert!(rule.matches("c", "a.md").is_none());
        assert!(rule.matches("b", "a.txt").is_none());
        let ignore = Ignore::new("b", "*.map").unwrap();
        assert!(ignore.is_about("b", "x/a.map"));
        assert!(!ignore.is_about("c", "x/a.map"));
    }

    #[test]
    fn what_is_no_rule_says_why() {
        let fault = |glob: &str, also: &str| {
            let rule = Rule::new("b", glob, &[also.to_owned()], false);
            rule.unwrap_err().to_string()
        };
        for (glob, also, part) in [
            ("{s", "/a", "must enclose the name"),
            ("{s}", "a", "starts with \"/\""),
            ("{s}", "/{t}", "no capture named \"t\""),
            ("{s}", "/{s", "must enclose the name"),
            ("{s}", "/a b", "percent-encoded"),
            ("{s}", "/a~", "~"),
            ("{s}", "/%{s}", "hex digits"),
            ("{s}", "#a,b", "commas"),
            ("{s}", "#", "between 1 and"),
        ] {
            let text = fault(glob, also);
            assert!(text.contains(part), "{glob} {also}: {text}");
        }
    }
}
