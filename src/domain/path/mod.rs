//! Items: how an invalidation names a path, and how an S3 key is spelled as one.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The longest path that CloudFront takes, in bytes.
pub const MAX_ITEM_BYTES: usize = 4_000;
/// The longest cache tag that CloudFront takes, in bytes.
const MAX_TAG_BYTES: usize = 256;

/// What CloudFront wants percent-encoded besides non-ASCII: the bytes that RFC 1738 section
/// 2.2 calls unsafe. Anything else that is encoded makes an invalidation that is taken, paid
/// for, and misses. `~` is unsafe too, but no spelling of it purges anything: see [`spell`].
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

/// One line of an invalidation that CloudFront accepts: an exact path, a wildcard path (ends
/// in `*`, and covers every path that starts with what stands before it), or a cache tag
/// (begins with `#`, and covers every cached object that carries the tag).
///
/// Only [`Item::parse`], [`Item::tag`] and [`spell`] make one, so every `Item` is a *legal*
/// one. A path starts with `/`, has at most 4,000 bytes, all of them visible ASCII, none of
/// them `~` or one of those that RFC 1738 calls unsafe, and `%` only before two hex digits. A
/// tag has at most 256 bytes, all of them visible ASCII, none of them a comma. Sources:
/// `CloudFront` Developer Guide, "Specify the objects to invalidate" and "Invalidate by tags".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Item(String);

/// Why a text is no legal item, in words for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalItem {
    /// Does not start with a slash.
    #[error("a path starts with \"/\"")]
    NoSlash,
    /// Longer than `CloudFront` takes; carries its length in bytes.
    #[error("a path has at most {MAX_ITEM_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// A percent sign that begins no escape.
    #[error("\"%\" must stand before two hex digits; a percent sign itself is written %25")]
    LonePercent,
    /// A tilde, which `CloudFront` refuses raw and ignores encoded.
    #[error("CloudFront cannot invalidate a path with \"~\": end it with \"*\" before the \"~\"")]
    Tilde,
    /// A character that has to be percent-encoded.
    #[error("{0:?} must be percent-encoded")]
    Unencoded(char),
    /// A tag of no bytes, or of more than `CloudFront` takes; carries its length.
    #[error("a tag has between 1 and {MAX_TAG_BYTES} bytes, this one has {0}")]
    TagLength(usize),
    /// A character that a tag cannot have.
    #[error("a tag is made of visible ASCII without commas: it cannot have {0:?}")]
    NotInTags(char),
}

impl Item {
    /// Reads an item as it was sent or kept: a path, or `#` and a tag.
    pub fn read(text: &str) -> Result<Self, IllegalItem> {
        match text.strip_prefix('#') {
            Some(tag) => Self::tag(tag),
            None => Self::parse(text),
        }
    }

    /// Takes a cache tag exactly as a person gave it, without the `#`.
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

    /// Takes a path exactly as a person gave it.
    pub fn parse(text: &str) -> Result<Self, IllegalItem> {
        if !text.starts_with('/') {
            return Err(IllegalItem::NoSlash);
        }
        if text.len() > MAX_ITEM_BYTES {
            return Err(IllegalItem::TooLong(text.len()));
        }
        for (at, char) in text.char_indices() {
            match char {
                '%' if !begins_escape(&text.as_bytes()[at..]) => {
                    return Err(IllegalItem::LonePercent);
                }
                '%' => {}
                '~' => return Err(IllegalItem::Tilde),
                _ if is_unsafe(char) => return Err(IllegalItem::Unencoded(char)),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The escape in a person's path for which `CloudFront` drops nothing: an encoded tilde, or
    /// an encoded asterisk. Source: `CloudFront` Developer Guide, "What you need to know when
    /// invalidating files".
    pub fn purges_nothing(&self) -> Option<&'static str> {
        let holds = |escape: &&str| self.0.contains(*escape) && !self.is_tag();
        ["%7E", "%7e", "%2A", "%2a"].into_iter().find(holds)
    }

    /// The item as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every path that this wildcard covers starts with; `None` for an exact path.
    pub fn stem(&self) -> Option<&str> {
        self.0.strip_suffix('*').filter(|_| is_wildcard(&self.0))
    }

    /// Whether it covers more than one path. `*` is a wildcard as the last byte of a path.
    pub fn is_wildcard(&self) -> bool {
        self.stem().is_some()
    }

    /// Whether it is a cache tag.
    pub fn is_tag(&self) -> bool {
        self.0.starts_with('#')
    }

    /// Whether an invalidation of this item drops all that `other` would, as far as one can
    /// tell: nobody knows which paths carry a tag.
    pub fn covers(&self, other: &Self) -> bool {
        match self.stem() {
            Some(stem) => other.0.starts_with(stem),
            None => self == other,
        }
    }

    /// Whether it drops the whole distribution.
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

/// A path as viewers ask for it, and the narrowest item that covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// What to send.
    pub item: Item,
    /// Set where the path itself cannot be named and `item` is a wildcard around it.
    pub widened: Option<Unnameable>,
    /// The path in a viewer's request: percent-encoded, and never cut.
    pub url: String,
}

/// Another way in which viewers write a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Respelling<'a> {
    /// The character,
    pub char: char,
    /// and how they write it.
    pub text: &'a str,
}

/// Why a path has no exact item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unnameable {
    /// Raw it is refused, as `%7E` it is taken and purges nothing.
    #[error("CloudFront cannot name a \"~\"")]
    Tilde,
    /// It would begin a query string.
    #[error("a \"?\" in a path begins a query string")]
    QuestionMark,
    /// The last `*` of an item is a wildcard, encoded it purges nothing.
    #[error("a \"*\" at the end is a wildcard")]
    TrailingStar,
    /// More bytes than an item may have.
    #[error("CloudFront names paths of at most {MAX_ITEM_BYTES} bytes")]
    TooLong,
}

/// Spells a decoded viewer path (it begins with `/`) as `CloudFront` matches it.
///
/// Non-ASCII and unsafe bytes are percent-encoded, all others stay as they are. A path that
/// cannot be named becomes the wildcard with the longest legal stem that ends before the
/// first byte which cannot be named; that may be `/*`, which the caller has to judge.
pub fn spell(viewer_path: &str) -> Spelling {
    spell_as(viewer_path, &[])
}

/// The same, with some characters written in another way.
pub fn spell_as(viewer_path: &str, respellings: &[Respelling<'_>]) -> Spelling {
    debug_assert!(
        viewer_path.starts_with('/'),
        "a viewer path begins with a slash"
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
        // The slash that makes it a path has no other spelling.
        let respelled = respellings.iter().find(|one| one.char == char && at > 0);
        match (respelled, char) {
            (Some(respelled), _) => url.push_str(respelled.text),
            // Raw, it would begin the query string.
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
    /// The items that drop the path with every query string, and why one of them covers more
    /// than that.
    ///
    /// For a file that is its path with a `*`; what else begins like it goes with it. Behind a
    /// slash the same would be all of a folder, so there the path goes by itself, and with
    /// `?*`. Source: `CloudFront` Developer Guide, "Specify the objects to invalidate".
    pub fn with_query_strings(self) -> (Vec<Item>, Option<Unnameable>) {
        if self.widened.is_some() {
            return (vec![self.item], self.widened);
        }
        let path = self.item.as_str();
        let folder = path.ends_with('/');
        if folder && path.len() + 2 <= MAX_ITEM_BYTES {
            let queries = Item(format!("{path}?*"));
            return (vec![self.item, queries], None);
        }
        let too_long = folder || path.len() + 1 > MAX_ITEM_BYTES;
        let item = Item::around(path);
        (vec![item], too_long.then_some(Unnameable::TooLong))
    }
}

impl Item {
    /// The wildcard with this legal stem, or the longest part of it.
    pub(super) fn around(stem: &str) -> Self {
        let mut text = stem.to_owned();
        truncate_stem(&mut text);
        text.push('*');
        Self(text)
    }
}

/// Cuts a stem so that it and its `*` fit into an item, and never inside an escape.
fn truncate_stem(stem: &mut String) {
    if stem.len() < MAX_ITEM_BYTES {
        return;
    }
    let mut end = MAX_ITEM_BYTES - 1;
    // An escape is three bytes: its percent sign stands at most two bytes before the cut.
    if let Some(percent) = stem[end - 2..end].find('%') {
        end = end - 2 + percent;
    }
    stem.truncate(end);
}

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
