//! The store: its file and what that lies on, or its server.

use jiff::Timestamp;

use super::{Check, Command, Finding};
use crate::domain::catalogue::Snapshot;

/// What was seen of the store, without changing it.
#[derive(Debug, Clone, PartialEq)]
pub enum SeenStore {
    Local(SeenLocal),
    Server(SeenServer),
}

/// A database of PostgreSQL.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenServer {
    /// The URL, without a password.
    pub name: String,
    /// Or why nothing could be seen of it.
    pub seen: Result<ServerFacts, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServerFacts {
    /// Such as `15.4`,
    pub server: String,
    /// and its first part.
    pub major: u32,
    /// Whether the server waits for its disk (`fsync`).
    pub syncs: bool,
    /// `None` before the first start of a service.
    pub version: Option<StoreVersion>,
    /// Who leads, and since when.
    pub leader: Option<(String, Timestamp)>,
    /// The account as the service knows it.
    pub catalogue: Option<Snapshot>,
}

/// A file of SQLite.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenLocal {
    pub path: String,
    pub file: SeenFile,
    /// Whether a service has it open.
    pub in_use: bool,
    /// In bytes, where the file is or will be.
    pub free: Option<u64>,
    /// The file system there, such as `ext4`.
    pub file_system: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SeenFile {
    /// The service makes it.
    Absent,
    /// There is no such directory.
    NoDirectory(String),
    Unreadable(String),
    Read {
        version: StoreVersion,
        /// The account as the service knows it.
        catalogue: Option<Snapshot>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVersion {
    Current,
    /// The next start brings it up to date.
    Older,
    /// Of a newer or another version.
    Other,
}

/// What a busy service writes in some hours.
const LITTLE: u64 = 1 << 30;
/// What SQLite needs to go on at all.
const TOO_LITTLE: u64 = 64 << 20;

/// File systems on which SQLite's locks and its shared memory do not work between machines.
const NETWORK: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "beegfs",
    "gpfs",
    "ncpfs",
    "davfs",
    "9p2000.L",
];
/// The same through FUSE, by a part of their names.
const NETWORK_FUSE: [&str; 9] = [
    "sshfs", "s3", "gcs", "goofys", "rclone", "gluster", "ceph", "juicefs", "davfs",
];

/// The oldest PostgreSQL that is tested for.
const OLDEST_SERVER: u32 = 13;

impl SeenStore {
    /// The account as the service knows it.
    pub fn catalogue(&self) -> Option<&Snapshot> {
        match self {
            Self::Local(SeenLocal {
                file: SeenFile::Read { catalogue, .. },
                ..
            }) => catalogue.as_ref(),
            Self::Local(_) => None,
            Self::Server(server) => server.seen.as_ref().ok()?.catalogue.as_ref(),
        }
    }
}

pub fn findings(seen: &SeenStore) -> Vec<Finding> {
    match seen {
        SeenStore::Local(seen) => vec![opens(seen), version(seen), disk(seen), file_system(seen)],
        SeenStore::Server(server) => server_findings(server),
    }
}

fn server_findings(seen: &SeenServer) -> Vec<Finding> {
    let what = format!("store {}", seen.name);
    match &seen.seen {
        Ok(facts) => vec![
            Finding::ok(Check::StoreOpens, what.clone(), facts.user()),
            judge_version(what.clone(), facts.version),
            facts.judge_server(what),
        ],
        Err(text) => {
            let mend = "see that the server runs and that this machine reaches it, and compare store.url, \
                        PGPASSWORD and the server's pg_hba.conf";
            let why = format!("cannot be read: {text}");
            let opens = Finding::failure(Check::StoreOpens, what.clone(), why).mended_by(mend);
            let skipped = [Check::StoreVersion, Check::StoreServer].map(|check| {
                let why = "skipped, because nothing could be read of it";
                Finding::skipped(check, what.clone(), why)
            });
            [opens].into_iter().chain(skipped).collect()
        }
    }
}

impl ServerFacts {
    fn user(&self) -> String {
        match &self.leader {
            Some((holder, since)) => format!("can be read; {holder} leads since {since:.0}"),
            None => "can be read; no service leads".to_owned(),
        }
    }

    fn judge_server(&self, what: String) -> Finding {
        let check = Check::StoreServer;
        if self.major < OLDEST_SERVER {
            let why = format!("its server is PostgreSQL {}", self.server);
            let mend = format!("upgrade the server to {OLDEST_SERVER} or later");
            return Finding::failure(check, what, why).mended_by(mend);
        }
        if !self.syncs {
            let why = "its server does not wait for its disk (fsync is off): what was accepted can be lost";
            return Finding::failure(check, what, why).mended_by("set fsync = on for the server");
        }
        Finding::ok(check, what, format!("is on PostgreSQL {}", self.server))
    }
}

fn what(seen: &SeenLocal) -> String {
    format!("store {}", seen.path)
}

fn opens(seen: &SeenLocal) -> Finding {
    let check = Check::StoreOpens;
    let user = if seen.in_use {
        "a service has it open"
    } else {
        "no service has it open"
    };
    match &seen.file {
        SeenFile::Absent => {
            let why = "does not exist yet: the first start of the service makes it";
            Finding::ok(check, what(seen), why)
        }
        SeenFile::NoDirectory(directory) => {
            let why = format!("the directory {directory} does not exist");
            Finding::failure(check, what(seen), why)
                .mended_by(Command::new(["mkdir", "-p", "--", directory]))
        }
        SeenFile::Unreadable(text) => {
            Finding::failure(check, what(seen), format!("cannot be read: {text}; {user}"))
                .mended_by(
                    "run doctor as the service's user, and give that user the file and its \
                     directory; if the file is damaged, restore a backup",
                )
        }
        SeenFile::Read { .. } => Finding::ok(check, what(seen), format!("can be read; {user}")),
    }
}

fn version(seen: &SeenLocal) -> Finding {
    let check = Check::StoreVersion;
    let SeenFile::Read { version, .. } = &seen.file else {
        let why = "skipped, because nothing could be read of it";
        return Finding::skipped(check, what(seen), why);
    };
    judge_version(what(seen), Some(*version))
}

fn judge_version(what: String, version: Option<StoreVersion>) -> Finding {
    let check = Check::StoreVersion;
    match version {
        None => {
            let why = "has nothing of purgefront yet: the first start of the service makes it";
            Finding::ok(check, what, why)
        }
        Some(StoreVersion::Current) => Finding::ok(check, what, "is of this version"),
        Some(StoreVersion::Older) => {
            let why = "is of an older version: the next start brings it up to date";
            Finding::ok(check, what, why)
        }
        Some(StoreVersion::Other) => {
            let why = "was written by a newer or another version of purgefront";
            Finding::failure(check, what, why)
                .mended_by("run that version, or give this one a store of its own (store.url)")
        }
    }
}

fn disk(seen: &SeenLocal) -> Finding {
    let check = Check::StoreDisk;
    let Some(free) = seen.free else {
        let why = "skipped, because the free space cannot be seen";
        return Finding::skipped(check, what(seen), why);
    };
    let mib = free >> 20;
    let why = format!("its disk has {mib} MiB left");
    let mend = "free space, enlarge the disk, or shorten store.keep";
    match free {
        ..TOO_LITTLE => Finding::failure(check, what(seen), why).mended_by(mend),
        TOO_LITTLE..LITTLE => Finding::warning(check, what(seen), why).mended_by(mend),
        _ => Finding::ok(check, what(seen), why),
    }
}

fn file_system(seen: &SeenLocal) -> Finding {
    let check = Check::StoreFileSystem;
    let Some(kind) = seen.file_system.as_deref() else {
        let why = "skipped, because the file system cannot be seen";
        return Finding::skipped(check, what(seen), why);
    };
    let fuse = kind.strip_prefix("fuse.");
    let is_network = NETWORK.contains(&kind)
        || fuse.is_some_and(|name| NETWORK_FUSE.iter().any(|part| name.contains(part)));
    if is_network {
        let why = format!("is on a network file system ({kind}), on which SQLite loses data");
        return Finding::failure(check, what(seen), why)
            .mended_by("stop the service, move the file to a local disk, and set store.url to it");
    }
    Finding::ok(check, what(seen), format!("is on {kind}"))
}

/// The file system of a path, by the text of `/proc/mounts`.
pub fn mounted(mounts: &str, path: &str) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        // Spaces and other separators are written in octal.
        let point = point.replace("\\040", " ").replace("\\011", "\t");
        let point = point.trim_end_matches('/');
        let rest = path.strip_prefix(point);
        let is_within = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // Of those on the same point, the last one is on top.
        if is_within && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\nfs:/ /srv nfs4 rw 0 0\n/dev/b /srv/my\\040disk xfs rw 0 0\n\
                      tmpfs /run tmpfs rw 0 0\ns /run fuse.s3fs rw 0 0\nbroken";
        let at = |path| mounted(mounts, path);
        assert_eq!(at("/srv/purgefront").as_deref(), Some("nfs4"));
        assert_eq!(at("/srv").as_deref(), Some("nfs4"));
        assert_eq!(at("/srv2").as_deref(), Some("ext4"));
        assert_eq!(at("/srv/my disk/a").as_deref(), Some("xfs"));
        assert_eq!(at("/run/x").as_deref(), Some("fuse.s3fs"));
        assert_eq!(mounted("", "/x"), None);
    }
}
