//! PostgreSQL, where it is installed: one server for all tests of the process, with a database for each.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::OnceCell,
};
use uuid::Uuid;

use super::{not_tested, quick_directory, until};

/// How the server runs until its input ends, which is when the tests' process does, however it ends. The first
/// argument is the directory; the others are the command.
const SUPERVISOR: &str = r#"
home=$1; shift
"$@" > "$home/log" 2>&1 < /dev/null &
server=$!
read -r _
kill -QUIT "$server"; wait "$server"
rm -rf "$home"
"#;

/// Whoever may create databases, and what ends the server.
struct Server {
    options: PgConnectOptions,
    _supervisor: Option<Child>,
}

static SERVER: OnceCell<Option<Server>> = OnceCell::const_new();
/// A directory on the disk, in which the server is to commit as durably as in production. For benchmarks, which set it
/// before they ask for a database.
pub static DURABLE: OnceLock<PathBuf> = OnceLock::new();
/// Databases that nobody uses any more. The next that is created drops them.
static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());

async fn server() -> Option<&'static Server> {
    let start = || async {
        if let Some(url) = super::text("TEST_POSTGRES_URL") {
            return Some(Server {
                options: url.parse().unwrap(),
                _supervisor: None,
            });
        }
        let Some(binaries) = binaries() else {
            not_tested("PostgreSQL is not installed, and TEST_POSTGRES_URL names no server");
            return None;
        };
        Some(start(&binaries).await)
    };
    SERVER.get_or_init(start).await.as_ref()
}

/// Where the server's programs are: the newest version in Debian's place, or what `pg_config` says.
fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().or_else(|| {
        let said = Command::new("pg_config").arg("--bindir").output().ok()?;
        let bin = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
        bin.join("initdb").exists().then_some(bin)
    })
}

/// A command as a user who is not root, as whom PostgreSQL refuses to run.
fn unprivileged(home: &Path, program: &Path) -> Command {
    let uid = Command::new("id").arg("-u").output().unwrap();
    if uid.stdout != b"0\n" {
        return Command::new(program);
    }
    let is_there = Command::new("id").arg("postgres").output().unwrap();
    let user = if is_there.status.success() {
        "postgres"
    } else {
        "nobody"
    };
    let given = Command::new("chown").args(["-R", user]).arg(home).status();
    assert!(given.unwrap().success());
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}"));
    command.args(["--regid", "nogroup", "--clear-groups", "--"]);
    command.arg(program);
    command
}

async fn start(binaries: &Path) -> Server {
    // Not deleted by this process: the supervisor does it, once the server has ended.
    let home = match DURABLE.get() {
        Some(directory) => tempfile::tempdir_in(directory).unwrap(),
        None => quick_directory(),
    };
    let home = home.keep();
    let data = home.join("data");
    let made = unprivileged(&home, &binaries.join("initdb"))
        .args(["--no-sync", "--auth=trust", "--username=purgefront"])
        .args(["--encoding=UTF8", "--no-locale", "--pgdata"])
        .arg(&data)
        .current_dir(&home)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{complaint}");
    let mut server = unprivileged(&home, &binaries.join("postgres"));
    server.arg("-D").arg(&data).arg("-k").arg(&home);
    let common = [
        "listen_addresses=",
        "max_connections=500",
        "shared_buffers=64MB",
        "max_wal_size=256MB",
        // In its directory, with which it goes.
        "dynamic_shared_memory_type=mmap",
    ];
    // Nothing in a test outlives the process.
    let quick = ["fsync=off", "full_page_writes=off"];
    let quick = quick.into_iter().filter(|_| DURABLE.get().is_none());
    for setting in common.into_iter().chain(quick) {
        server.args(["-c", setting]);
    }
    let supervisor = Command::new("sh")
        .args(["-c", SUPERVISOR, "sh"])
        .arg(&home)
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(&home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let socket = home.join(".s.PGSQL.5432");
    until("PostgreSQL listens", || socket.exists().then_some(())).await;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(&home)
        .username("purgefront")
        .database("postgres");
    Server {
        options,
        _supervisor: Some(supervisor),
    }
}

/// An empty database.
pub struct Database {
    name: String,
    url: String,
    options: PgConnectOptions,
}

impl Database {
    /// None if there is no PostgreSQL.
    pub async fn new() -> Option<Self> {
        let server = server().await?;
        let mut admin = connect(&server.options).await;
        let done = std::mem::take(&mut *DONE.lock().unwrap_or_else(PoisonError::into_inner));
        for name in done {
            execute(
                &mut admin,
                format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            )
            .await;
        }
        let name = format!("purgefront_{}", Uuid::new_v4().simple());
        execute(&mut admin, format!("CREATE DATABASE {name}")).await;
        let options = server.options.clone().database(&name);
        let url = options.to_url_lossy().to_string();
        Some(Self { name, url, options })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection to look at what is there, or to break it.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.options).await
    }

    /// Ends all connections to it.
    pub async fn cut(&self) {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ";
        self.administer(format!("{cut}'{}'", self.name)).await;
    }

    /// Permits or refuses connections, and ends those that there are.
    pub async fn permit(&self, connections: bool) {
        let permit = format!(
            "ALTER DATABASE {} ALLOW_CONNECTIONS {connections}",
            self.name
        );
        self.administer(permit).await;
        if !connections {
            self.cut().await;
        }
    }

    async fn administer(&self, statement: String) {
        let server = server().await.unwrap();
        execute(&mut connect(&server.options).await, statement).await;
    }

    /// Begins the next epoch, whose leader is whoever asks the store for its handle. The first is 1.
    pub async fn lead(&self) {
        let next = "INSERT INTO leases AS lease (name, epoch, holder, acquired_at, expires_at) \
                    VALUES ('dispatch', 1, 'a test', 0, 9e18::bigint) \
                    ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1";
        execute(&mut self.connect().await, next.to_owned()).await;
    }
}

impl Database {
    /// Where the server listens.
    pub fn address(&self) -> Address {
        match self.options.get_socket() {
            Some(home) => {
                Address::Socket(home.join(format!(".s.PGSQL.{}", self.options.get_port())))
            }
            None => Address::Host(self.options.get_host().to_owned(), self.options.get_port()),
        }
    }

    /// The database as it is found at another port of this machine.
    pub fn url_at(&self, port: u16) -> String {
        let mut url = reqwest::Url::parse(&self.url).unwrap();
        url.set_query(None);
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        url.into()
    }

    /// What a query counts.
    pub async fn count(&self, query: &'static str) -> i64 {
        let mut connection = self.connect().await;
        let counted = sqlx::query_scalar(query).fetch_one(&mut connection);
        counted.await.unwrap()
    }
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    Socket(PathBuf),
    Host(String, u16),
}

/// A connection that is only passed on.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Address {
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Self::Host(host, port) => Box::new(TcpStream::connect((host.as_str(), *port)).await?),
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        DONE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name);
    }
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    let patience = super::Patience::new();
    loop {
        match options.connect().await {
            Ok(connection) => return connection,
            // It listens before it serves.
            Err(_) => patience.pause("PostgreSQL serves").await,
        }
    }
}

async fn execute(connection: &mut PgConnection, statement: String) {
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(connection).await.unwrap();
}
