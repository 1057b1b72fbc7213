//! What behaviours and cache policies say about caching.

use serde::{Deserialize, Serialize};

/// Where a behaviour's caching is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caching {
    /// In the cache policy with this id.
    Policy(String),
    /// In the behaviour's own (legacy) settings.
    Inline(CacheKey),
}

/// The parts of a cache policy that mapping needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheKey {
    /// Whether anything is cached at all.
    pub caches: bool,
    /// Whether any query string is part of the cache key.
    pub query_strings: bool,
}

/// What is known about a cache policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// `GetCachePolicy` was denied. Mapping assumes that it caches without query strings, and
    /// notes that.
    Denied,
    Read(CacheKey),
}

/// All managed cache policies. Source: CloudFront Developer Guide, "Use managed cache policies".
/// They never change, so they need neither a request nor a permission to read.
pub(super) const MANAGED: &[(&str, CacheKey)] = &[
    // CachingDisabled
    (
        "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
        CacheKey {
            caches: false,
            query_strings: false,
        },
    ),
    // CachingOptimized
    (
        "658327ea-f89d-4fab-a63d-7e88639e58f6",
        CacheKey {
            caches: true,
            query_strings: false,
        },
    ),
    // CachingOptimizedForUncompressedObjects
    (
        "b2884449-e4de-46a7-ac36-70bc7f1ddd6d",
        CacheKey {
            caches: true,
            query_strings: false,
        },
    ),
    // Elemental-MediaPackage
    (
        "08627262-05a9-4f76-9ded-b50ca2e3a84f",
        CacheKey {
            caches: true,
            query_strings: true,
        },
    ),
    // Amplify
    (
        "2e54312d-136d-493c-8eb9-b001f22f67d2",
        CacheKey {
            caches: true,
            query_strings: true,
        },
    ),
    // UseOriginCacheControlHeaders
    (
        "83da9c7e-98b4-4e11-a168-04f0df8e2c65",
        CacheKey {
            caches: true,
            query_strings: false,
        },
    ),
    // UseOriginCacheControlHeaders-QueryStrings
    (
        "4cc15a8a-d715-48a4-82b8-cc0b614638fe",
        CacheKey {
            caches: true,
            query_strings: true,
        },
    ),
];
