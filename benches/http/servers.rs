//! Starts the servers that are compared, each on the core that is theirs.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::Signer,
};

/// The driver runs on another one: see the Makefile.
const PINNED: [&str; 3] = ["taskset", "-c", "0"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Baseline,
    Purgefront,
    Express,
}

pub enum Server {
    Purgefront(Service, FakeAws),
    Other(Other),
}

pub struct Other {
    child: Child,
    address: SocketAddr,
    _certificate: tempfile::NamedTempFile,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub async fn start(kind: Kind, signer: &Signer) -> Self {
        match kind {
            Kind::Purgefront => purgefront(signer).await,
            Kind::Baseline => {
                let this = std::env::current_exe().unwrap();
                other(signer, &[this.to_str().unwrap(), "baseline"])
            }
            Kind::Express => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/http/peer/server.js");
                other(signer, &["node", script.to_str().unwrap()])
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Purgefront(service, _) => {
                service.url.strip_prefix("http://").unwrap().parse().unwrap()
            }
            Self::Other(other) => other.address,
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Purgefront(service, _) => service.pid(),
            Self::Other(other) => other.child.id(),
        }
    }

    /// Waits until everything that was accepted has been mapped.
    pub async fn settled(&self) {
        if let Self::Purgefront(service, _) = self {
            eventually!(service.metric("purgefront_unmapped_changes").await == 0);
        }
    }
}

/// With the default configuration, and a bucket that one distribution serves.
async fn purgefront(signer: &Signer) -> Server {
    let aws = FakeAws::start().await;
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    setup.set_settings("");
    setup.set_env("RUST_LOG", "info");
    setup.set_wrapper(&PINNED);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    Server::Purgefront(service, aws)
}

fn other(signer: &Signer, command: &[&str]) -> Server {
    let certificate = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(certificate.path(), &signer.certificate_pem).unwrap();
    let mut words = PINNED.iter().chain(command);
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .arg(certificate.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut address)
        .unwrap();
    Server::Other(Other {
        child,
        address: address.trim().parse().unwrap(),
        _certificate: certificate,
    })
}
