//! The keys of the sections.

use super::{Section, key};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        about: "The two listeners, and how the service stops.",
        keys: &[
            key(
                "listen",
                "\"0.0.0.0:8080\"",
                "The public listener: `/sns`, the API and probes. Something in front of it has to terminate TLS.",
            ),
            key(
                "admin_listen",
                "\"127.0.0.1:9090\"",
                "The listener for operators: the status page, metrics, operations, and probes with details. On an address that is not loopback, the page and operations need a token.",
            ),
            key(
                "drain",
                "\"5s\"",
                "How long requests are still accepted after SIGTERM, while `/readyz` fails.",
            ),
            key(
                "grace",
                "\"20s\"",
                "How long running work may take to finish after that.",
            ),
            key(
                "max_connections",
                "4096",
                "Open connections per listener; further ones wait to be accepted.",
            ),
            key(
                "max_requests",
                "1024",
                "Requests served at a time; further ones are answered with 503 immediately. A quarter as many may wait with `?wait=` besides; further ones are answered with 429.",
            ),
            key(
                "idle_timeout",
                "\"75s\"",
                "How long a connection may be idle, which should be longer than a load balancer's timeout; also the limit for a request's headers.",
            ),
        ],
    },
    Section {
        name: "store",
        about: "Where accepted work and history are kept.",
        keys: &[
            key(
                "url",
                "\"sqlite://purgefront.db\"",
                "The store: a file such as `sqlite:///var/lib/purgefront/purgefront.db`, on a local disk, not a network file system; or a database of PostgreSQL, for [several replicas](operations.md#several-replicas). `PGPASSWORD`, `~/.pgpass`, `sslmode` and `sslrootcert` work as with other clients of PostgreSQL.",
            ),
            key(
                "keep",
                "\"30d\"",
                "How long finished work is kept; at least `sns.max_age` plus `sns.max_skew`, or a message could be replayed.",
            ),
        ],
    },
    Section {
        name: "sns",
        about: "Which messages are accepted, and how they are checked.",
        keys: &[
            key(
                "topics",
                "[]",
                "**Required.** The topics whose messages are accepted.",
            ),
            key("max_age", "\"24h\"", "Older messages are refused (403)."),
            key(
                "max_skew",
                "\"15m\"",
                "Messages dated further in the future are answered with 503, because the clock that is wrong may be ours.",
            ),
            key(
                "cert_fetches_per_minute",
                "1500",
                "How many signing certificates are fetched a minute.",
            ),
            key(
                "cert_fetch_burst",
                "50",
                "How many of them may be fetched at once.",
            ),
            key(
                "authenticate_on_unsubscribe",
                "true",
                "Whether subscriptions are confirmed so that only somebody with AWS credentials can end them.",
            ),
            key(
                "basic_auth",
                "",
                "The credentials that SNS must send (`https://user:password@your-host/sns`), preferably as a variable.",
            ),
            key(
                "basic_auth_file",
                "",
                "A file with these credentials, instead of `basic_auth`.",
            ),
            key(
                "emulator",
                "",
                "The origin of an SNS emulator, whose certificates are trusted as well. Never in production: see [emulators](emulators.md).",
            ),
        ],
    },
    Section {
        name: "events",
        about: "What S3 events mean.",
        keys: &[key(
            "invalidate_on",
            "[\"ObjectCreated:*\", \"ObjectRemoved:*\", \"LifecycleExpiration:*\", \"ReducedRedundancyLostObject\", \"ObjectRestore:Completed\", \"ObjectRestore:Delete\", \"ObjectAcl:Put\"]",
            "The events that invalidate; others are counted and ignored.",
        )],
    },
    Section {
        name: "catalogue",
        about: "What is known of the account's distributions.",
        keys: &[key(
            "refresh",
            "\"10m\"",
            "How often the distributions are read. An unknown bucket makes purgefront read them at once.",
        )],
    },
    Section {
        name: "mapping",
        about: "From keys to paths, for all distributions; see [mapping](mapping.md).",
        keys: &[
            key(
                "index_documents",
                "[\"index.html\"]",
                "Files that are also served as the path of their folder.",
            ),
            key(
                "index_without_slash",
                "false",
                "Whether index documents also go out as `/dir`, not only as `/dir/`.",
            ),
        ],
    },
    Section {
        name: "batching",
        about: "How long a distribution's changes are collected.",
        keys: &[
            key(
                "quiet",
                "\"1s\"",
                "A distribution is due when no change has arrived for this long; not longer than `max_wait`.",
            ),
            key(
                "max_wait",
                "\"10s\"",
                "Or when its oldest change has waited this long.",
            ),
        ],
    },
    Section {
        name: "planning",
        about: "The size of a plan.",
        keys: &[key(
            "window",
            "100000",
            "The most waiting changes that are planned together.",
        )],
    },
    Section {
        name: "dispatch",
        about: "Whether anything is sent.",
        keys: &[key(
            "mode",
            "\"live\"",
            "In shadow mode, everything is planned and recorded, but nothing is sent.",
        )],
    },
    Section {
        name: "limits",
        about: "CloudFront's quotas, for the account unless noted otherwise, and a limit on what automatic work may cost.",
        keys: &[
            key(
                "calls_per_second",
                "0.5",
                "Calls that create an invalidation.",
            ),
            key("call_burst", "5", "How many of them may go at once."),
            key(
                "reads_per_second",
                "2",
                "Calls that only read, such as those that follow an invalidation.",
            ),
            key("read_burst", "10", "How many of them may go at once."),
            key(
                "items_per_call",
                "1000",
                "Items in one call; CloudFront accepts at most 3,000.",
            ),
            key(
                "paths_per_second",
                "150",
                "Paths without a wildcard, and tags.",
            ),
            key("wildcards_per_second", "1", "Paths with a wildcard."),
            key(
                "paths_in_progress",
                "3000",
                "Paths that a distribution has not completed yet.",
            ),
            key(
                "wildcards_in_progress",
                "15",
                "Wildcards that a distribution has not completed yet.",
            ),
            key(
                "reserve_paths",
                "100",
                "The part of `paths_in_progress` that only manual requests may use; less than that.",
            ),
            key(
                "reserve_wildcards",
                "2",
                "The part of `wildcards_in_progress` that only manual requests may use; less than that.",
            ),
            key(
                "paths_per_day",
                "200000",
                "Items that may be sent in a day (UTC). It holds automatic work, but not manual requests. 0: no limit.",
            ),
        ],
    },
    Section {
        name: "economy",
        about: "What [merging](merging.md) paths into wildcards may cost. `min_stem`, `allow_root` and `protected` bind every \
                wildcard that purgefront makes by itself: to merge paths, and for keys that \
                [no exact path can name](mapping.md#from-a-key-to-the-urls-that-can-be-stale). They do not bind the \
                wildcards that a request or a rule asks for.",
        keys: &[
            key(
                "evictions_per_path",
                "20",
                "How many unchanged objects may be evicted to save one path. 0: none.",
            ),
            key(
                "max_delay",
                "\"60s\"",
                "How long paths may wait for the wildcard that replaces them. If the limits do not let everything that waits through within this time, more is merged. Longer than zero.",
            ),
            key(
                "min_interval",
                "\"60s\"",
                "A wildcard that evicts unchanged objects is not made again within this time. `0s`: it always may be.",
            ),
            key(
                "list_objects",
                "true",
                "Whether buckets are listed to know which objects there are, which needs `s3:ListBucket`. Without a list, paths are merged only if `widen_unlisted` permits it.",
            ),
            key(
                "widen_unlisted",
                "\"never\"",
                "Whether paths may be merged although it is not known which objects there are. With `backlog`, they are if they cannot pass the limits within `max_delay` otherwise.",
            ),
            key(
                "monthly_paths",
                "0",
                "A soft budget of paths for a month (UTC). [As it runs out](merging.md#what-it-costs), more unchanged objects are evicted to save a path; nothing is held. 0: no budget.",
            ),
            key(
                "min_stem",
                "1",
                "The minimum number of bytes between the first `/` and the `*`.",
            ),
            key(
                "allow_root",
                "false",
                "Whether such a wildcard may be `/*`.",
            ),
            key("protected", "[]", "Paths that it must not cover."),
        ],
    },
];
