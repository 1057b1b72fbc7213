//! What the site's owner says of mapping: `[mapping]`, `[economy]` and the lists of tables.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};

use super::Reader;
use crate::domain::{
    mapping::{DistributionPolicy, MappingPolicy, WildcardPolicy},
    origin::OriginOverride,
    path::{Item, spell},
    rules::{Ignore, Rule},
};

/// Ways to write one path that a distribution may be told of: each is one more item to pay for.
const MOST_SPELLINGS: usize = 16;

/// `[mapping]`, `[economy]`, `[[origin]]`, `[[distribution]]`, `[[rule]]` and `[[ignore]]`
#[derive(Debug, Clone)]
pub struct Mapping {
    /// What follows for a key.
    pub policy: MappingPolicy,
    /// What the names of origins do not tell.
    pub origins: Vec<OriginOverride>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOrigin {
    domain: String,
    bucket: String,
    #[serde(default)]
    prefix: String,
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

impl Mapping {
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
    let wanted = "[[origin]] tables, each with a domain, its bucket and, where need be, a prefix";
    let mut origins = Vec::new();
    for WrittenOrigin {
        domain,
        bucket,
        prefix,
    } in tables(reader, "origin", wanted)
    {
        if domain.is_empty() || bucket.is_empty() || domain.contains('/') {
            let text = format!(
                "{domain:?} in front of {bucket:?}: give a domain name without a scheme, and a \
                 bucket's name"
            );
            reader.refuse("origin", text);
        }
        origins.push(OriginOverride {
            domain,
            bucket,
            prefix,
        });
    }
    origins
}

fn read_distributions(reader: &mut Reader) -> HashMap<String, DistributionPolicy> {
    let key = "distribution";
    let wanted = "[[distribution]] tables, each with an id and what is different there";
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
        };
        if id.is_empty() || distributions.insert(id.clone(), own).is_some() {
            let text = format!("{id:?} is no id of its own: give each distribution one table");
            reader.refuse(key, text);
        }
    }
    distributions
}

/// Each spelling stands for one character; the usual one of them needs no mention.
fn read_spellings(written: &[String]) -> Result<Vec<(char, Vec<String>)>, String> {
    let mut spellings: Vec<(char, Vec<String>)> = Vec::new();
    for text in written {
        let decoded = percent_decode_str(text).decode_utf8().unwrap_or_default();
        let mut chars = decoded.chars();
        let (Some(char), None) = (chars.next(), chars.next()) else {
            return Err(format!(
                "{text:?} is not one character as viewers write it: give for example \"%2B\""
            ));
        };
        let usual = spell(&format!("/{char}."));
        if usual.widened.is_some() || char == '*' || Item::parse(&format!("/{text}")).is_err() {
            return Err(format!(
                "{text:?} cannot stand in an invalidation: leave it out"
            ));
        }
        if usual.item.as_str()[1..] == format!("{text}.") {
            continue;
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
            "{ways} ways to write one path, each paid for: give at most {MOST_SPELLINGS}"
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
            let mend = if instead {
                "an [[ignore]] does that"
            } else {
                "it changes nothing"
            };
            let text =
                format!("match = {glob:?} gives no items: say which, or leave it out; {mend}");
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

fn tables<T: DeserializeOwned>(reader: &mut Reader, key: &str, wanted: &str) -> Vec<T> {
    reader.take_with(key, wanted, Vec::new(), |value| {
        let tables = value.clone().try_into::<Vec<T>>();
        tables.map_err(|error| error.message().to_owned())
    })
}

fn check_documents(reader: &mut Reader, key: &str, documents: &[String]) {
    let mut wrong = documents
        .iter()
        .filter(|name| name.is_empty() || name.contains('/'));
    if let Some(name) = wrong.next() {
        reader.refuse(
            key,
            format!("{name:?} is no file name: give it without folders"),
        );
    }
}
