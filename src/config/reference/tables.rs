//! The keys of the lists of tables.

use super::{Section, field};

pub(super) const TABLES: &[Section] = &[
    Section {
        name: "origin",
        about: "An origin whose domain name does not reveal its bucket; see [mapping](mapping.md#from-a-key-to-the-urls-that-can-be-stale).",
        keys: &[
            field(
                "domain",
                "a domain name",
                "",
                "**Required.** The origin's domain name, as the distribution has it.",
            ),
            field(
                "bucket",
                "a bucket's name",
                "",
                "**Required.** The bucket that it serves.",
            ),
            field(
                "prefix",
                "the beginning of keys",
                "\"\"",
                "What that server puts before the path to get the key.",
            ),
            field(
                "path",
                "\"key\" or \"service\"",
                "\"key\"",
                "Whether the origin path is a part of the key, or of the service, like the stage of an API.",
            ),
        ],
    },
    Section {
        name: "distribution",
        about: "What is different for one distribution.",
        keys: &[
            field(
                "id",
                "a distribution's id",
                "",
                "**Required.** The distribution; one table for each.",
            ),
            field(
                "enabled",
                "true or false",
                "true",
                "Whether events are mapped to it; manual requests work in any case.",
            ),
            field(
                "spellings",
                "a list of characters as they appear in URLs, such as [\"%40\"]",
                "[]",
                "Second spellings of characters, which viewers use as well; each costs an item.",
            ),
            field(
                "index_documents",
                "a list of file names",
                "`mapping.index_documents`",
                "Index documents of this distribution, whatever its origin is.",
            ),
            field(
                "index_without_slash",
                "true or false",
                "`mapping.index_without_slash`",
                "Whether they also go out as `/dir`.",
            ),
            field(
                "error_pages",
                "\"tell\" or \"clear\"",
                "\"tell\"",
                "What follows from a change of a custom error page that CloudFront keeps for long: a warning, or `/*`; see [error pages](mapping.md#error-pages).",
            ),
            field(
                "origin_change",
                "\"tell\" or \"clear\"",
                "\"tell\"",
                "What follows when the distribution gets other origins, origin paths or behaviours: a warning, or `/*`; see [other origins](mapping.md#other-origins).",
            ),
        ],
    },
    Section {
        name: "rule",
        about: "Additional items for keys; see [rules](mapping.md#rules).",
        keys: &[
            field("bucket", "a bucket's name", "", "**Required.** The bucket."),
            field(
                "match",
                "a pattern of whole keys, without a leading slash",
                "",
                "**Required.** `*` is anything, `?` one character, and `{name}` and `{*name}` capture.",
            ),
            field(
                "also",
                "a list of paths and #tags",
                "",
                "**Required.** The items, with captures as `{name}`.",
            ),
            field(
                "instead",
                "true or false",
                "false",
                "Whether only these items go out, and not the key's own path.",
            ),
        ],
    },
    Section {
        name: "ignore",
        about: "Keys whose changes are ignored.",
        keys: &[
            field("bucket", "a bucket's name", "", "**Required.** The bucket."),
            field(
                "match",
                "a pattern of whole keys, as in [[rule]]",
                "",
                "**Required.** The keys.",
            ),
        ],
    },
    Section {
        name: "api.tokens",
        about: "A token of the API. `purgefront token` generates one and its table; the file has only the hash.",
        keys: &[
            field(
                "name",
                "a text",
                "",
                "**Required.** Identifies the token in history and logs.",
            ),
            field(
                "sha256",
                "64 hex digits",
                "",
                "**Required.** The hash of the token.",
            ),
            field(
                "distributions",
                "a list of distributions' ids",
                "all",
                "The distributions that the token may see and act on.",
            ),
            field(
                "wildcards",
                "true or false",
                "true",
                "Whether the token may ask for paths with a wildcard. What its keys need is not its choice, and goes out as for events.",
            ),
        ],
    },
    Section {
        name: "notify",
        about: "Who is told of completed and failed invalidations and of dead letters; see [notices](operations.md#notices).",
        keys: &[
            field(
                "name",
                "a text of at most 100 bytes",
                "`url`",
                "What its waiting notices are kept by: with a name, they go to another `url` if that is changed.",
            ),
            field(
                "url",
                "an HTTPS URL",
                "",
                "**Required.** Where notices are posted to; http only for a loopback address.",
            ),
            field(
                "secret_file",
                "the path of a file",
                "",
                "**Required.** The secrets that sign, one on each line: `whsec_` followed by the base64 of 24 to 64 bytes. Each of them signs, so that one can be replaced by another.",
            ),
            field(
                "events",
                "a list of \"invalidation.completed\", \"invalidation.failed\" and \"dead_letter\"",
                "all",
                "What is told.",
            ),
            field(
                "distributions",
                "a list of distributions' ids",
                "all",
                "Only what concerns these is told. A dead letter of no distribution is then not told.",
            ),
            field(
                "allow_private",
                "true or false",
                "false",
                "Whether the URL's host may be at a private address, such as loopback or 10.0.0.0/8.",
            ),
        ],
    },
];
