//! CloudFront's rules for paths and tags, written down apart from the service's.

/// Whether it counts as a wildcard: a path that ends in `*`. A tag never is one.
pub fn is_wildcard(item: &str) -> bool {
    item.starts_with('/') && item.ends_with('*')
}

/// Whether CloudFront takes it.
pub fn is_legal(item: &str) -> bool {
    match item.strip_prefix('#') {
        Some(tag) => is_legal_tag(tag),
        None => is_legal_path(item),
    }
}

fn is_legal_tag(tag: &str) -> bool {
    let legal = |byte: u8| (33..=126).contains(&byte) && byte != b',';
    (1..=256).contains(&tag.len()) && tag.bytes().all(legal)
}

fn is_legal_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_escape = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    bytes.first() == Some(&b'/')
        && bytes.len() <= 4_000
        && bytes.iter().enumerate().all(|(at, byte)| match byte {
            b'%' => is_escape(at),
            b'"' | b'<' | b'>' | b'#' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'[' | b']' | b'`'
            | b'~' => false,
            byte => (0x21..=0x7e).contains(byte),
        })
}
