//! How keys map to items: `[mapping]`, `[economy]` and the lists of tables.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{Reader, tables::tables};
use crate::domain::{
    mapping::{DistributionPolicy, MappingPolicy, Reaction, WildcardPolicy},
    origin::{OriginOverride, PathRole},
    path::{Item, spell},
    rules::{Ignore, Rule},
};

/// The most ways in which `spellings` may write one path. CloudFront bills each as an item.
const MOST_SPELLINGS: usize = 16;

/// `[mapping]`, `[economy]`, `[[origin]]`, `[[distribution]]`, `[[rule]]` and `[[ignore]]`
#[derive(Debug, Clone)]
pub struct MappingConfig {
    pub policy: MappingPolicy,
    /// Buckets behind origins whose domain name does not reveal them.
    pub origins: Vec<OriginOverride>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOrigin {
    domain: String,
    bucket: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    path: WrittenPath,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenPath {
    #[default]
    Key,
    Service,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDistribution {
    id: String,
    enabled: Option<bool>,
    #[serde(default)]
    spellings: Vec<String>,
    index_documents: Option<Vec<String>>,
    index_without_slash: Option<bool>,
    #[serde(default)]
    error_pages: WrittenReaction,
    #[serde(default)]
    origin_change: WrittenReaction,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenReaction {
    #[default]
    Tell,
    Clear,
}

impl From<WrittenReaction> for Reaction {
    fn from(written: WrittenReaction) -> Self {
        match written {
            WrittenReaction::Tell => Self::Tell,
            WrittenReaction::Clear => Self::Clear,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    bucket: String,
    #[serde(rename = "match")]
    glob: String,
    also: Vec<String>,
    #[serde(default)]
    instead: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIgnore {
    bucket: String,
    #[serde(rename = "match")]
    glob: String,
}

impl MappingConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let wanted = "a list of file names, such as [\"index.html\"]";
        let key = "mapping.index_documents";
        let index_documents = reader.take(key, wanted, vec!["index.html".to_owned()]);
        check_documents(reader, key, &index_documents);
        let without_slash = "mapping.index_without_slash";
        Self {
            policy: MappingPolicy {
                index_documents,
                index_without_slash: reader.take(without_slash, "true or false", false),
                distributions: read_distributions(reader),
                rules: read_rules(reader),
                ignores: read_ignores(reader),
                wildcards: read_wildcards(reader),
            },
            origins: read_origins(reader),
        }
    }
}

fn read_wildcards(reader: &mut Reader) -> WildcardPolicy {
    let key = "economy.protected";
    let wanted = "a list of paths, such as [\"/api/*\"]";
    let written: Vec<String> = reader.take(key, wanted, Vec::new());
    let mut protected = Vec::new();
    for text in written {
        match Item::parse(&text) {
            Ok(item) => protected.push(item),
            Err(why) => reader.refuse(key, format!("{text:?}: {why}")),
        }
    }
    WildcardPolicy {
        protected,
        min_stem: reader.take("economy.min_stem", "a whole number of bytes", 1),
        allow_root: reader.take("economy.allow_root", "true or false", false),
    }
}

fn read_origins(reader: &mut Reader) -> Vec<OriginOverride> {
    let wanted = "[[origin]] tables, each with a domain, a bucket and, if needed, a prefix";
    let mut origins = Vec::new();
    for WrittenOrigin {
        domain,
        bucket,
        prefix,
        path,
    } in tables(reader, "origin", wanted)
    {
        if domain.is_empty() || bucket.is_empty() || domain.contains('/') {
            let text = format!(
                "domain {domain:?}, bucket {bucket:?}: both are required, and the domain must not \
                   have a scheme or a path"
            );
            reader.refuse("origin", text);
        }
        origins.push(OriginOverride {
            domain,
            bucket,
            prefix,
            path: match path {
                WrittenPath::Key => PathRole::Key,
                WrittenPath::Service => PathRole::Service,
            },
        });
    }
    origins
}

fn read_distributions(reader: &mut Reader) -> HashMap<String, DistributionPolicy> {
    let key = "distribution";
    let wanted = "[[distribution]] tables, each with an id and its own settings";
    let mut distributions = HashMap::new();
    for written in tables::<WrittenDistribution>(reader, key, wanted) {
        let id = written.id;
        if let Some(documents) = &written.index_documents {
            check_documents(
                reader,
                &format!("distribution {id}: index_documents"),
                documents,
            );
        }
        let spellings = read_spellings(&written.spellings).unwrap_or_else(|why| {
            reader.refuse(&format!("distribution {id}: spellings"), why);
            Vec::new()
        });
        let own = DistributionPolicy {
            enabled: written.enabled.unwrap_or(true),
            spellings,
            index_documents: written.index_documents,
            index_without_slash: written.index_without_slash,
            error_pages: written.error_pages.into(),
            origin_change: written.origin_change.into(),
        };
        if id.is_empty() || distributions.insert(id.clone(), own).is_some() {
            let text =
                format!("the id {id:?} is empty or repeated: use one table per distribution");
            reader.refuse(key, text);
        }
    }
    distributions
}

/// Groups spellings by the character that they encode. One that is sent anyway would change nothing.
fn read_spellings(written: &[String]) -> Result<Vec<(char, Vec<String>)>, String> {
    let mut spellings: Vec<(char, Vec<String>)> = Vec::new();
    for text in written {
        let decoded = percent_decode_str(text).decode_utf8().unwrap_or_default();
        let mut chars = decoded.chars();
        let (Some(char), None) = (chars.next(), chars.next()) else {
            return Err(format!(
                "{text:?} is not one character as it appears in URLs, such as \"%2B\""
            ));
        };
        let usual = spell(&format!("/{char}."));
        if usual.widened.is_some() || char == '*' || Item::parse(&format!("/{text}")).is_err() {
            return Err(format!(
                "CloudFront cannot invalidate paths with {text:?}: remove it"
            ));
        }
        // A "+" goes out in both ways wherever the origin may have answered with the object.
        if usual.item.as_str()[1..] == format!("{text}.") || text == "%2B" {
            return Err(format!(
                "{text:?} changes nothing, because it is always sent: remove it"
            ));
        }
        match spellings.iter_mut().find(|(known, _)| *known == char) {
            Some((_, texts)) => texts.push(text.clone()),
            None => spellings.push((char, vec![text.clone()])),
        }
    }
    let ways = spellings.iter().map(|(_, texts)| texts.len() + 1);
    let ways = ways.fold(1, usize::saturating_mul);
    if ways > MOST_SPELLINGS {
        return Err(format!(
            "up to {ways} ways to write one path, each billed: at most {MOST_SPELLINGS} are allowed"
        ));
    }
    Ok(spellings)
}

fn read_rules(reader: &mut Reader) -> Vec<Rule> {
    let key = "rule";
    let wanted = "[[rule]] tables, each with a bucket, match and also";
    let mut rules = Vec::new();
    for WrittenRule {
        bucket,
        glob,
        also,
        instead,
    } in tables(reader, key, wanted)
    {
        if also.is_empty() {
            let fix = if instead {
                "add some, or use [[ignore]] to skip the keys"
            } else {
                "add some, or remove the rule"
            };
            let text = format!("match = {glob:?} has no items in `also`: {fix}");
            reader.refuse(key, text);
        }
        match Rule::new(&bucket, &glob, &also, instead) {
            Ok(rule) => rules.push(rule),
            Err(why) => reader.refuse(key, why.to_string()),
        }
    }
    rules
}

fn read_ignores(reader: &mut Reader) -> Vec<Ignore> {
    let wanted = "[[ignore]] tables, each with a bucket and match";
    let mut ignores = Vec::new();
    for WrittenIgnore { bucket, glob } in tables(reader, "ignore", wanted) {
        match Ignore::new(&bucket, &glob) {
            Ok(ignore) => ignores.push(ignore),
            Err(why) => reader.refuse("ignore", why.to_string()),
        }
    }
    ignores
}

fn check_documents(reader: &mut Reader, key: &str, documents: &[String]) {
    let wrong = documents
        .iter()
        .filter(|name| name.is_empty() || name.contains('/'));
    for name in wrong {
        reader.refuse(
            key,
            format!("{name:?} is not a file name: it must not be empty or contain \"/\""),
        );
    }
}
