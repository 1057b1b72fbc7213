//! Resolves names to public addresses only, at the moment of each connection: a name cannot be changed to a
//! private address after it was checked.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::addresses::is_global;

pub(super) const REFUSED: &str =
    "its address is private, which needs allow_private = true in its [[notify]]";

/// Whether a host is written as an address that is not public.
pub(super) fn is_private_literal(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .is_ok_and(|address| !is_global(address))
}

/// The resolver of a target. A proxy of the environment may be at a private address, so only the target's
/// own name is restricted.
#[derive(Debug)]
pub(super) struct PublicOnly {
    host: String,
}

impl PublicOnly {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: plain(host).to_owned(),
        }
    }
}

fn plain(host: &str) -> &str {
    host.trim_end_matches('.')
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let restricted = plain(name.as_str()).eq_ignore_ascii_case(&self.host);
        Box::pin(async move {
            let resolved = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = |address: &SocketAddr| !restricted || is_global(address.ip());
            let addresses: Vec<_> = resolved.filter(allowed).collect();
            if addresses.is_empty() {
                return Err(io::Error::other(REFUSED).into());
            }
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolves(host: &str, name: &str) -> Result<usize, String> {
        let resolving = PublicOnly::new(host).resolve(name.parse().unwrap());
        match resolving.await {
            Ok(addresses) => Ok(addresses.count()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost.", "localhost"),
            ("localhost", "LOCALHOST"),
        ] {
            let refused = resolves(host, name).await;
            assert_eq!(refused, Err(REFUSED.to_owned()), "{name}");
        }
        // A proxy.
        assert!(resolves("hooks.example.com", "localhost").await.is_ok());
    }

    #[test]
    fn an_address_in_the_place_of_a_name_is_seen() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "::1",
            "[::ffff:10.0.0.1]",
            "169.254.169.254",
        ] {
            assert!(is_private_literal(host), "{host}");
        }
        for host in [
            "8.8.8.8",
            "[2606:4700::1111]",
            "localhost",
            "10.example.com",
        ] {
            assert!(!is_private_literal(host), "{host}");
        }
    }
}
