//! Which keys of which buckets are cached under the paths that begin alike.

use percent_encoding::percent_decode_str;

use crate::domain::{
    behaviour::{self, Reach},
    catalogue::{Behaviour, CachePolicy, Catalogue, Distribution},
    origin::{Address, Server},
    path::{Respelling, spell_as},
};

/// The keys of a bucket that one of a distribution's origins serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The origin's index in the distribution.
    origin: usize,
    pub(super) address: Address,
    /// What the keys begin with.
    pub(super) prefix: String,
}

/// Where everything comes from that is cached under paths with this stem; `None` if that cannot be known:
/// other origins than buckets have a part in it, or viewers may write its paths in several ways.
pub(super) fn sources(
    catalogue: &Catalogue,
    distribution_id: &str,
    stem: &str,
) -> Option<Vec<Source>> {
    let distribution = catalogue.get(distribution_id)?;
    if behaviour::normalised(stem) != stem {
        return None;
    }
    let mut sources: Vec<Source> = Vec::new();
    for behaviour in &distribution.behaviours {
        let reach = behaviour::reach(&behaviour.pattern, stem);
        if reach != Reach::None && caches(catalogue, behaviour) {
            let mut origins = distribution
                .origins
                .iter()
                .enumerate()
                .filter(|(_, origin)| distribution.reaches(behaviour, &origin.id))
                .peekable();
            // Its target is not known.
            origins.peek()?;
            for (index, origin) in origins {
                let addresses = catalogue.addresses(origin);
                if addresses.is_empty() {
                    return None;
                }
                for address in addresses {
                    let source = Source::of(index, address, stem)?;
                    if !sources.contains(&source) {
                        sources.push(source);
                    }
                }
            }
        }
        if reach == Reach::All {
            break;
        }
    }
    Some(sources)
}

/// Whether a behaviour caches anything, as far as that is known.
fn caches(catalogue: &Catalogue, behaviour: &Behaviour) -> bool {
    match catalogue.cache_policy(behaviour) {
        Some(CachePolicy::Read(key)) => key.caches,
        Some(CachePolicy::Denied) | None => true,
    }
}

impl Source {
    fn of(origin: usize, address: Address, stem: &str) -> Option<Self> {
        let bytes: Vec<u8> = percent_decode_str(stem).collect();
        let (whole, cut) = match std::str::from_utf8(&bytes) {
            Ok(whole) => (whole, false),
            // The stem ends within a character. All keys that are meant have what comes before it.
            Err(error) if error.error_len().is_none() => {
                let whole = &bytes[..error.valid_up_to()];
                (std::str::from_utf8(whole).ok()?, true)
            }
            Err(_) => return None,
        };
        let usual = spelled(whole, address.server);
        if !(usual == stem || (cut && stem.starts_with(&usual))) {
            return None;
        }
        let key = format!("{}{whole}", address.prefix);
        Some(Self {
            origin,
            prefix: key.strip_prefix('/').unwrap_or(&key).to_owned(),
            address,
        })
    }

    /// Whether another source is a part of this one.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.origin == other.origin
            && self.address == other.address
            && other.prefix.starts_with(&self.prefix)
    }

    /// The path under which viewers get a key, in its usual spelling; `None` if it is not cached.
    pub(super) fn viewer_path(
        &self,
        catalogue: &Catalogue,
        distribution_id: &str,
        key: &str,
    ) -> Option<String> {
        let distribution: &Distribution = catalogue.get(distribution_id)?;
        let asked = format!("/{key}");
        let path = asked.strip_prefix(&self.address.prefix)?;
        if !path.starts_with('/') {
            return None;
        }
        let url = spelled(path, self.address.server);
        let behaviour = distribution.behaviour(&url)?;
        let origin = distribution.origins.get(self.origin)?;
        let is_cached = distribution.reaches(behaviour, &origin.id) && caches(catalogue, behaviour);
        is_cached.then_some(url)
    }
}

/// The usual spelling of a path, which begins with a slash, or of the beginning of one.
fn spelled(path: &str, server: Server) -> String {
    let plus = Respelling {
        char: '+',
        text: "%2B",
    };
    match server {
        Server::Rest => spell_as(path, &[plus]).url,
        Server::Website | Server::Custom => spell_as(path, &[]).url,
    }
}
