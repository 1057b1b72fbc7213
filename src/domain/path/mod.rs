//! Items: the paths and tags of an invalidation, and how decoded paths are encoded as items.

use std::{fmt, sync::LazyLock};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// CloudFront's limit on the length of a path.
pub const MAX_ITEM_BYTES: usize = 4_000;
/// CloudFront's limit on the length of a cache tag.
const MAX_TAG_BYTES: usize = 256;

/// The ASCII bytes that CloudFront requires to be percent-encoded: those that RFC 1738, section
/// 2.2, calls unsafe. If any other byte is encoded, the invalidation is accepted and billed, but
/// has no effect. `~` is unsafe too, but no encoding of it is invalidated: see [`spell`].
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'%')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'`');

/// One line of an invalidation: an exact path, a wildcard path (ends in `*`, and covers every path
/// that starts with the part before it), or a cache tag (starts with `#`, and covers every cached
/// object with that tag).
///
/// Every `Item` is legal, that is, CloudFront accepts it. A path starts with `/` and has at most
/// 4,000 bytes of visible ASCII, without `~`, without the bytes that RFC 1738 calls unsafe, and
/// with `%` only before two hex digits. A tag has at most 256 bytes of visible ASCII without
/// commas. Sources: CloudFront Developer Guide, "Specify the objects to invalidate" and
/// "Invalidate by tags".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Item(String);

/// Why an item is illegal, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalItem {
    #[error("a path starts with \"/\"")]
    NoSlash,
    #[error("a path has at most {MAX_ITEM_BYTES} bytes, but this one has {0}")]
    TooLong(usize),
    #[error("\"%\" must be followed by two hex digits; a literal percent sign is written %25")]
    LonePercent,
    /// CloudFront rejects a raw `~` and ignores an encoded one.
    #[error("CloudFront cannot invalidate a path with \"~\": end it with \"*\" before the \"~\"")]
    Tilde,
    #[error("{0:?} must be percent-encoded")]
    Unencoded(char),
    #[error("a tag has between 1 and {MAX_TAG_BYTES} bytes, but this one has {0}")]
    TagLength(usize),
    #[error("a tag is visible ASCII without commas: it cannot have {0:?}")]
    NotInTags(char),
}

impl Item {
    /// Parses an item in its stored form: a path, or `#` and a tag.
    pub fn read(text: &str) -> Result<Self, IllegalItem> {
        match text.strip_prefix('#') {
            Some(tag) => Self::tag(tag),
            None => Self::parse(text),
        }
    }

    /// Takes a cache tag verbatim, without the `#`.
    pub fn tag(tag: &str) -> Result<Self, IllegalItem> {
        if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
            return Err(IllegalItem::TagLength(tag.len()));
        }
        let legal = |char: &char| char.is_ascii_graphic() && *char != ',';
        match tag.chars().find(|char| !legal(char)) {
            Some(char) => Err(IllegalItem::NotInTags(char)),
            None => Ok(Self(format!("#{tag}"))),
        }
    }

    /// Takes a path verbatim.
    pub fn parse(text: &str) -> Result<Self, IllegalItem> {
        if !text.starts_with('/') {
            return Err(IllegalItem::NoSlash);
        }
        if text.len() > MAX_ITEM_BYTES {
            return Err(IllegalItem::TooLong(text.len()));
        }
        check(text, Tilde::Refused)?;
        Ok(Self(text.to_owned()))
    }

    /// An escape that keeps a path from having any effect: an encoded tilde or asterisk. Source:
    /// CloudFront Developer Guide, "What you need to know when invalidating files".
    pub fn purges_nothing(&self) -> Option<&'static str> {
        let holds = |escape: &&str| self.0.contains(*escape) && !self.is_tag();
        ["%7E", "%7e", "%2A", "%2a"].into_iter().find(holds)
    }

    /// The item as sent to CloudFront.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A wildcard without its `*`: the prefix of every path that it covers. `None` for other items.
    pub fn stem(&self) -> Option<&str> {
        self.0.strip_suffix('*').filter(|_| is_wildcard(&self.0))
    }

    /// Whether the item is a path that ends in `*`. A `*` elsewhere is an ordinary character.
    pub fn is_wildcard(&self) -> bool {
        self.stem().is_some()
    }

    pub fn is_tag(&self) -> bool {
        self.0.starts_with('#')
    }

    /// Whether this item makes `other` redundant. A tag covers only itself, because it is unknown
    /// which paths have it.
    pub fn covers(&self, other: &Self) -> bool {
        match self.stem() {
            Some(stem) => other.0.starts_with(stem),
            None => self == other,
        }
    }

    /// Whether the item and the wildcard with this stem have any path in common.
    pub(super) fn meets(&self, stem: &str) -> bool {
        match self.stem() {
            Some(own) => stem.starts_with(own) || own.starts_with(stem),
            None => self.as_str().starts_with(stem),
        }
    }

    /// The item that clears the whole distribution.
    pub fn everything() -> Self {
        Self("/*".to_owned())
    }

    /// Whether the item is `/*`, which clears the whole distribution.
    pub fn is_root_wildcard(&self) -> bool {
        self.0 == "/*"
    }
}

/// Whether an item, as it is sent, covers more than one path: a path whose last byte is `*`.
pub fn is_wildcard(item: &str) -> bool {
    item.starts_with('/') && item.ends_with('*')
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Item {
    type Error = IllegalItem;

    fn try_from(text: String) -> Result<Self, IllegalItem> {
        Self::read(&text)
    }
}

impl From<Item> for String {
    fn from(item: Item) -> Self {
        item.0
    }
}

/// A viewer's path, and the narrowest item that covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    pub item: Item,
    /// Set if no exact item can name the path, so that `item` is a wildcard that covers it.
    pub widened: Option<Unnameable>,
    /// The path in a viewer's request: percent-encoded, and never truncated.
    pub url: String,
}

/// An alternative encoding of a character in viewers' URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Respelling<'a> {
    pub char: char,
    pub text: &'a str,
}

/// Why no exact item can name a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unnameable {
    /// CloudFront rejects a raw `~`, and accepts `%7E` without effect.
    #[error("CloudFront cannot name a \"~\"")]
    Tilde,
    #[error("a \"?\" in a path starts a query string")]
    QuestionMark,
    /// An encoded `*` is accepted without effect.
    #[error("a \"*\" at the end is a wildcard")]
    TrailingStar,
    #[error("CloudFront accepts paths of at most {MAX_ITEM_BYTES} bytes")]
    TooLong,
}

/// Encodes a decoded viewer path, which must start with `/`, as CloudFront matches it.
///
/// Percent-encodes non-ASCII and unsafe bytes, and no others. A path that no exact item can name
/// becomes the wildcard with the longest legal stem before the first offending character. That
/// may be `/*`; the caller decides whether it is allowed.
pub fn spell(viewer_path: &str) -> Spelling {
    spell_as(viewer_path, &[])
}

/// Like [`spell`], with some characters encoded differently.
pub fn spell_as(viewer_path: &str, respellings: &[Respelling<'_>]) -> Spelling {
    debug_assert!(
        viewer_path.starts_with('/'),
        "a viewer path starts with a slash"
    );
    let mut url = String::with_capacity(viewer_path.len() + 8);
    let mut unnameable = None;
    for (at, char) in viewer_path.char_indices() {
        let why = match char {
            '~' => Some(Unnameable::Tilde),
            '?' => Some(Unnameable::QuestionMark),
            '*' if at + 1 == viewer_path.len() => Some(Unnameable::TrailingStar),
            _ => None,
        };
        unnameable = unnameable.or(why.map(|why| (url.len(), why)));
        // The leading slash is never respelled.
        let respelled = respellings.iter().find(|one| one.char == char && at > 0);
        match (respelled, char) {
            (Some(respelled), _) => url.push_str(respelled.text),
            // A raw "?" would start the query string.
            (None, '?') => url.push_str("%3F"),
            (None, _) => {
                let text = char.encode_utf8(&mut [0; 4]).to_owned();
                url.extend(utf8_percent_encode(&text, UNSAFE));
            }
        }
    }
    let (stem, mut widened) = match unnameable {
        Some((end, why)) => (&url[..end], Some(why)),
        None => (url.as_str(), None),
    };
    if stem.len() > MAX_ITEM_BYTES {
        widened = Some(Unnameable::TooLong);
    }
    let item = match widened {
        Some(_) => Item::around(stem),
        None => Item(stem.to_owned()),
    };
    Spelling { item, widened, url }
}

impl Spelling {
    /// The items that cover the path with every query string, and the reason if they cover more
    /// than necessary.
    ///
    /// For a file, that is its path followed by `*`, which also covers longer paths that start with
    /// it. For a folder, whose files start with its own path, that would be too much: with a trailing
    /// slash or without one, the items are the path itself and the path followed by `?*`. Source:
    /// CloudFront Developer Guide, "Specify the objects to invalidate".
    pub fn with_query_strings(self, of: Named) -> (Vec<Item>, Option<Unnameable>) {
        if self.widened.is_some() {
            return (vec![self.item], self.widened);
        }
        let path = self.item.as_str();
        let folder = path.ends_with('/') || of == Named::Folder;
        if folder && path.len() + 2 <= MAX_ITEM_BYTES {
            let queries = Item(format!("{path}?*"));
            return (vec![self.item, queries], None);
        }
        let too_long = folder || path.len() + 1 > MAX_ITEM_BYTES;
        let item = Item::around(path);
        (vec![item], too_long.then_some(Unnameable::TooLong))
    }
}

/// What a path without a trailing slash names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    File,
    /// A folder, and so its index document.
    Folder,
}

impl Item {
    /// The item of a text that was taken from one.
    pub(super) fn again(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The wildcard with this legal stem, truncated if it is too long.
    pub(super) fn around(stem: &str) -> Self {
        let mut text = stem.to_owned();
        truncate_stem(&mut text);
        text.push('*');
        Self(text)
    }
}

/// Truncates a stem so that it fits into an item together with `*`, without splitting an escape.
fn truncate_stem(stem: &mut String) {
    if stem.len() < MAX_ITEM_BYTES {
        return;
    }
    let mut end = MAX_ITEM_BYTES - 1;
    // An escape has three bytes, so a split one starts at most two bytes before the cut.
    if let Some(percent) = stem[end - 2..end].find('%') {
        end = end - 2 + percent;
    }
    stem.truncate(end);
}

/// The longest stem of a wildcard that a legal path's prefix allows.
pub(super) fn legal_stem(prefix: &str) -> &str {
    let mut end = prefix.len().min(MAX_ITEM_BYTES - 1);
    // A legal path has "%" only before two hex digits.
    if let Some(at) = prefix[end.saturating_sub(2)..end].find('%') {
        end = end.saturating_sub(2) + at;
    }
    &prefix[..end]
}

/// Checks that a viewer's path is spelled as CloudFront matches it. Unlike an item, it may have a `~`, and any
/// length.
pub fn check_spelling(path: &str) -> Result<(), IllegalItem> {
    if path.starts_with('/') {
        check(path, Tilde::Taken)
    } else {
        Err(IllegalItem::NoSlash)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tilde {
    Taken,
    Refused,
}

fn check(path: &str, tilde: Tilde) -> Result<(), IllegalItem> {
    let is_plain = &*PLAIN;
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            plain if is_plain[usize::from(plain)] => {}
            b'%' if begins_escape(&path.as_bytes()[at..]) => {}
            b'%' => return Err(IllegalItem::LonePercent),
            b'~' if tilde == Tilde::Taken => {}
            b'~' => return Err(IllegalItem::Tilde),
            // All bytes before are ASCII, so a character begins here.
            _ => {
                let char = path[at..].chars().next().unwrap_or_default();
                return Err(IllegalItem::Unencoded(char));
            }
        }
    }
    Ok(())
}

/// The bytes that an item may have anywhere.
static PLAIN: LazyLock<[bool; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| match u8::try_from(byte) {
        Ok(byte) => byte.is_ascii() && byte != b'~' && !is_unsafe(char::from(byte)),
        Err(_) => false,
    })
});

fn is_unsafe(char: char) -> bool {
    let mut buffer = [0; 4];
    let text: &str = char.encode_utf8(&mut buffer);
    utf8_percent_encode(text, UNSAFE).next() != Some(text)
}

fn begins_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
