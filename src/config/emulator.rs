//! `sns.emulator`: the origin of an SNS emulator, which must be on a private address.

use std::net::{SocketAddr, ToSocketAddrs as _};

use super::Reader;
use crate::addresses::is_private;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// Scheme, host and port, without a trailing slash: the prefix of the emulator's URLs.
    pub origin: String,
    pub host: String,
    /// What the host resolved to at startup. Certificates are fetched from these addresses only,
    /// even if the name resolves differently later.
    pub addresses: Vec<SocketAddr>,
}

impl Emulator {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let wanted = "a URL on a loopback or private address, such as \"http://127.0.0.1:4566\"";
        reader.take_with("sns.emulator", wanted, None, |value| {
            let text = value.as_str().ok_or("not a string")?;
            parse(text).map(Some).map_err(str::to_owned)
        })
    }
}

fn parse(text: &str) -> Result<Emulator, &'static str> {
    let origin = text.trim_end_matches('/');
    let (scheme, authority) = origin.split_once("://").ok_or("the scheme is missing")?;
    let standard = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err("the scheme is neither http nor https"),
    };
    if authority.contains(['/', '?', '#', '@']) || authority.chars().any(char::is_whitespace) {
        return Err("the URL has more than a scheme, a host and a port");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (
            host,
            port.parse()
                .map_err(|_| "the port is not a number up to 65535")?,
        ),
        _ => (authority, standard),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = (bare, port)
        .to_socket_addrs()
        .map_err(|_| "the host does not resolve")?
        .collect();
    if addresses.is_empty() {
        return Err("the host does not resolve");
    }
    if !addresses.iter().all(|address| is_private(address.ip())) {
        return Err(
            "the address is neither loopback nor private, and anyone there could forge messages",
        );
    }
    Ok(Emulator {
        origin: origin.to_owned(),
        host: host.to_owned(),
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_private() {
        for good in [
            "http://127.0.0.1:4566",
            "http://127.0.0.1:4566/",
            "https://10.1.2.3",
            "http://192.168.0.7:5000",
            "http://[::1]:4566",
            "http://[fd00::1]:4566",
            "http://localhost:4566",
        ] {
            let emulator = parse(good).unwrap();
            assert_eq!(emulator.origin, good.trim_end_matches('/'), "{good}");
        }
        for bad in [
            "http://8.8.8.8:4566",
            "http://169.254.169.254",
            "http://0.0.0.0:4566",
            "http://[::]:4566",
            "http://[::ffff:8.8.8.8]:4566",
            "http://no.such.name.invalid:4566",
            "http://127.0.0.1:4566/x",
            "http://127.0.0.1:4566@8.8.8.8",
            "http://127.0.0.1:99999",
            "ftp://127.0.0.1",
            "127.0.0.1:4566",
            "http://",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
