//! Encodes paths as items, and parses items.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use purgefront::domain::path::{Item, Named, Respelling, Spelling, spell, spell_as};

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

fn check(path: &str, spelling: Spelling) {
    let Spelling { item, widened, url } = &spelling;
    assert_eq!(Item::read(item.as_str()).as_ref(), Ok(item));
    assert_eq!(decode(url), path.as_bytes());
    match item.stem() {
        None => assert_eq!((item.as_str(), *widened), (url.as_str(), None)),
        Some(stem) => {
            assert!(widened.is_some(), "{item} is unintentionally a wildcard");
            assert!(path.as_bytes().starts_with(&decode(stem)));
            assert!(url.starts_with(stem));
        }
    }
    let (item, url) = (item.clone(), format!("{url}?a=b"));
    let (items, _) = spelling.with_query_strings(Named::File);
    for one in &items {
        assert_eq!(Item::read(one.as_str()).as_ref(), Ok(one));
    }
    assert!(items.iter().any(|one| one.covers(&item)));
    assert!(
        items
            .iter()
            .any(|one| one.stem().is_some_and(|stem| url.starts_with(stem)))
    );
}

fuzz_target!(|text: &str| {
    let path = format!("/{text}");
    check(&path, spell(&path));

    // Two alternative encodings, of characters that may have one.
    let chars = text.chars().filter(|char| !"~?*".contains(*char));
    let written = chars.take(2).map(|char| {
        (
            char,
            utf8_percent_encode(char.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC).to_string(),
        )
    });
    let written: Vec<_> = written.collect();
    let respellings = written
        .iter()
        .map(|(char, text)| Respelling { char: *char, text });
    check(&path, spell_as(&path, &respellings.collect::<Vec<_>>()));

    for text in [text, &path] {
        if let Ok(item) = Item::parse(text) {
            assert_eq!(item.as_str(), text);
            assert!(item.covers(&item) && !item.is_tag());
        }
        if let Ok(item) = Item::tag(text) {
            assert_eq!(item.as_str(), format!("#{text}"));
            assert!(item.covers(&item) && item.is_tag() && !item.is_wildcard());
            assert_eq!(Item::read(item.as_str()), Ok(item));
        }
    }
});
