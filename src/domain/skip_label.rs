//! The names, in metrics, of the reasons why changes need nothing.

/// What a reason contains, and its name.
const LABELS: [(&str, &str); 9] = [
    ("no distribution has this bucket", "no_distribution"),
    ("none of the token's distributions", "no_distribution"),
    ("ignored by the configuration", "ignored"),
    ("the configuration excludes", "excluded"),
    ("distribution is disabled", "disabled"),
    ("outside every origin path", "outside"),
    ("never caches", "never_cached"),
    ("is gone", "gone"),
    (" sends ", "other_origin"),
];

/// The name of a reason. Reasons themselves contain keys and paths, so they are never labels.
pub fn label(why: &str) -> &'static str {
    let found = LABELS.iter().find(|(part, _)| why.contains(part));
    found.map_or("other", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mapping::{NO_DISTRIBUTION, NONE_VISIBLE};

    #[test]
    fn reasons_have_names_whatever_they_contain() {
        assert_eq!(label(NO_DISTRIBUTION), "no_distribution");
        assert_eq!(label(NONE_VISIBLE), "no_distribution");
        assert_eq!(
            label("behaviour /a* never caches /a\"}\u{1b}"),
            "never_cached"
        );
        assert_eq!(label("evil"), "other");
    }
}
