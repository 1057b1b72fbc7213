//! How paths and tags are encoded, and what is refused.

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;

#[test]
fn keys_are_spelled_as_cloudfront_matches_them() {
    for (path, item) in [
        ("/img/logo@2x.png", "/img/logo@2x.png"),
        ("/a b.html", "/a%20b.html"),
        ("/résumé.pdf", "/r%C3%A9sum%C3%A9.pdf"),
        ("/q&a.html", "/q&a.html"),
        ("/100%.html", "/100%25.html"),
        ("/it's.html", "/it's.html"),
        ("/(1).jpg", "/(1).jpg"),
        ("/x//y.html", "/x//y.html"),
        ("/[id].js", "/%5Bid%5D.js"),
        ("/news,2026.html", "/news,2026.html"),
        ("/price$.html", "/price$.html"),
        ("/c++/i.html", "/c++/i.html"),
        ("/a%20b", "/a%2520b"),
        ("/<{|}>\\^`\"#", "/%3C%7B%7C%7D%3E%5C%5E%60%22%23"),
        ("/tab\there\u{7f}", "/tab%09here%7F"),
        ("/a*b", "/a*b"),
        ("/=:;!'()-_.", "/=:;!'()-_."),
        ("/", "/"),
    ] {
        let spelled = spell(path);
        assert_eq!(
            (spelled.item.as_str(), spelled.widened),
            (item, None),
            "{path}"
        );
    }
}

#[test]
fn what_cannot_be_named_gets_its_narrowest_wildcard() {
    let long = format!("/{}", "é".repeat(1_000));
    // Without the slash and the star, 3,998 bytes are left: 1,332 escapes of three bytes.
    let long_item = format!("/{}*", "%C3%A9".repeat(666));
    for (path, item, why) in [
        ("/vendors~main.js", "/vendors*", Unnameable::Tilde),
        ("/a/b?c~d", "/a/b*", Unnameable::QuestionMark),
        ("/a/~", "/a/*", Unnameable::Tilde),
        ("/end*", "/end*", Unnameable::TrailingStar),
        ("/end**", "/end**", Unnameable::TrailingStar),
        ("/é~", "/%C3%A9*", Unnameable::Tilde),
        ("/~home", "/*", Unnameable::Tilde),
        (long.as_str(), long_item.as_str(), Unnameable::TooLong),
    ] {
        let spelled = spell(path);
        assert_eq!(
            (spelled.item.as_str(), spelled.widened),
            (item, Some(why)),
            "{path}"
        );
    }
}

#[test]
fn the_longest_stem_is_kept() {
    for length in 3_995..4_005 {
        for tail in ["~", "é~", "", "é"] {
            let path = format!("/{}{tail}", "a".repeat(length));
            let spelled = spell(&path);
            assert!(spelled.item.as_str().len() <= MAX_ITEM_BYTES);
            assert_eq!(
                Item::parse(spelled.item.as_str()).as_ref(),
                Ok(&spelled.item)
            );
            if spelled.widened.is_some() {
                assert!(spelled.item.as_str().len() > MAX_ITEM_BYTES - 7);
            }
        }
    }
}

#[test]
fn a_persons_path_is_taken_as_it_is_or_refused_with_a_mend() {
    for good in [
        "/", "/*", "/a%20b", "/b/*", "/a?b=c", "/a*b", "/%7e", "/%2A",
    ] {
        assert_eq!(Item::parse(good).unwrap().as_str(), good);
    }
    let too_long = format!("/{}", "a".repeat(MAX_ITEM_BYTES));
    for (bad, why) in [
        ("", IllegalItem::NoSlash),
        ("a", IllegalItem::NoSlash),
        ("#tag", IllegalItem::NoSlash),
        ("/a b", IllegalItem::Unencoded(' ')),
        ("/é", IllegalItem::Unencoded('é')),
        ("/a\n", IllegalItem::Unencoded('\n')),
        ("/a#b", IllegalItem::Unencoded('#')),
        ("/~a", IllegalItem::Tilde),
        ("/100%", IllegalItem::LonePercent),
        ("/100%2", IllegalItem::LonePercent),
        ("/100%zz", IllegalItem::LonePercent),
        (too_long.as_str(), IllegalItem::TooLong(4_001)),
    ] {
        assert_eq!(Item::parse(bad), Err(why), "{bad}");
    }
}

#[test]
fn a_tag_is_taken_as_it_is_or_refused_with_a_mend() {
    for good in [
        "product:1",
        "a",
        "*",
        "a*",
        "#",
        "~x/y?z\"",
        &"t".repeat(256),
    ] {
        let item = Item::tag(good).unwrap();
        assert_eq!(item.as_str(), format!("#{good}"));
        assert_eq!(Item::read(item.as_str()), Ok(item.clone()));
        assert!(item.is_tag() && !item.is_wildcard());
        assert!(item.covers(&item) && !item.covers(&Item(format!("#{good}x"))));
    }
    for (bad, why) in [
        ("", IllegalItem::TagLength(0)),
        (&*"t".repeat(257), IllegalItem::TagLength(257)),
        ("a,b", IllegalItem::NotInTags(',')),
        ("a b", IllegalItem::NotInTags(' ')),
        ("é", IllegalItem::NotInTags('é')),
        ("a\n", IllegalItem::NotInTags('\n')),
    ] {
        assert_eq!(Item::tag(bad), Err(why), "{bad}");
    }
}

#[test]
fn viewers_urls_are_never_cut() {
    for (path, url) in [
        ("/a~b?c*", "/a~b%3Fc*"),
        ("/a b", "/a%20b"),
        ("/é", "/%C3%A9"),
    ] {
        assert_eq!(spell(path).url, url, "{path}");
    }
    let plus = Respelling {
        char: '+',
        text: "%2B",
    };
    let spelled = spell_as("/a+b+c~", &[plus]);
    assert_eq!(spelled.url, "/a%2Bb%2Bc~");
    assert_eq!(spelled.item.as_str(), "/a%2Bb%2Bc*");
}

#[test]
fn the_first_slash_is_spelled_in_no_other_way() {
    let slash = Respelling {
        char: '/',
        text: "%2F",
    };
    for (path, item) in [
        ("/a/b", "/a%2Fb"),
        ("/", "/"),
        ("//", "/%2F"),
        ("/a/~", "/a%2F*"),
    ] {
        let spelled = spell_as(path, &[slash]);
        assert_eq!(spelled.item.as_str(), item);
        assert_eq!(Item::read(item), Ok(spelled.item));
    }
}

#[test]
fn query_strings_are_dropped_with_their_path() {
    for (path, expected) in [
        ("/a.css", vec!["/a.css*"]),
        ("/a~b", vec!["/a*"]),
        ("/", vec!["/", "/?*"]),
        ("/docs/", vec!["/docs/", "/docs/?*"]),
    ] {
        let (items, _) = spell(path).with_query_strings(Named::File);
        let items: Vec<_> = items.iter().map(Item::as_str).collect();
        assert_eq!(items, expected, "{path}");
    }
    for length in 3_997..=4_000 {
        for end in ["a", "/"] {
            let long = format!("/{}{end}", "a".repeat(length - 2));
            let (items, widened) = spell(&long).with_query_strings(Named::File);
            let exact = if end == "a" { 3_999 } else { 3_998 };
            assert_eq!(widened.is_none(), length <= exact, "{length} {end}");
            for item in items {
                assert_eq!(Item::read(item.as_str()), Ok(item.clone()));
                assert!(
                    item.stem()
                        .is_none_or(|stem| stem.starts_with(&long[..3_900]))
                );
            }
        }
    }
}

#[test]
fn a_wildcard_covers_what_starts_with_its_stem() {
    let item = |text| Item::parse(text).unwrap();
    assert!(item("/a*").covers(&item("/a")));
    assert!(item("/a*").covers(&item("/ab/c")));
    assert!(item("/a*").covers(&item("/ab*")));
    assert!(!item("/ab*").covers(&item("/a*")));
    assert!(!item("/a").covers(&item("/ab")));
    assert!(item("/*").covers(&item("/")));
    assert!(!item("/a*b").covers(&item("/axb")));
}

proptest! {
    #[test]
    fn every_spelling_is_legal_and_covers_its_path(path in "/\\PC{0,40}|/[ -~]{0,40}|/.{0,40}") {
        let Spelling { item, widened, .. } = spell(&path);
        prop_assert_eq!(Item::parse(item.as_str()), Ok(item.clone()));
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        if widened.is_none() {
            prop_assert_eq!(decoded(item.as_str()), path.as_bytes());
        } else {
            let stem = decoded(item.stem().unwrap());
            prop_assert!(path.as_bytes().starts_with(&stem));
            let next = path.as_bytes().get(stem.len());
            prop_assert!(matches!(next, Some(b'~' | b'?' | b'*')));
        }
    }

    #[test]
    fn long_paths_keep_to_the_limit(path in "/[aé~]{1300,4100}") {
        let item = spell(&path).item;
        prop_assert_eq!(Item::parse(item.as_str()), Ok(item));
    }

    #[test]
    fn different_keys_never_share_an_exact_spelling(a in "/\\PC{0,12}", b in "/\\PC{0,12}") {
        let (spelled_a, spelled_b) = (spell(&a), spell(&b));
        if spelled_a.widened.is_none() && spelled_b.widened.is_none() {
            prop_assert_eq!(a == b, spelled_a.item == spelled_b.item);
        }
    }
}

#[test]
fn escapes_that_purge_nothing_are_known() {
    for (text, escape) in [
        ("/a%7Eb", Some("%7E")),
        ("/a%7eb", Some("%7e")),
        ("/%2A", Some("%2A")),
        ("/a%20b*", None),
        ("#a%7E", None),
    ] {
        assert_eq!(Item::read(text).unwrap().purges_nothing(), escape, "{text}");
    }
}
