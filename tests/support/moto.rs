//! moto, where it is installed: S3, SNS, SQS and CloudFront under their real host names, behind a proxy.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{not_tested, service::Setup, shell, until};

const CLIENTS: &str = r#"
import json, os
import boto3
from botocore.config import Config
config = Config(proxies={"https": os.environ["HTTPS_PROXY"]})
def client(name):
    return boto3.client(name, region_name="us-east-1", verify=os.environ["SSL_CERT_FILE"], config=config)
s3, sns, sqs = client("s3"), client("sns"), client("sqs")
"#;

/// Runs a script in which moto takes the place of AWS by itself, without a proxy, and returns what it
/// prints. None if moto is not installed.
pub fn in_process(script: &str, arguments: &[&str]) -> Option<Value> {
    let python = shell::tools().join("python");
    if !python.exists() {
        not_tested("moto is not installed in .venv; `make test` installs it");
        return None;
    }
    let output = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .env_clear()
        .env("PATH", env!("PATH"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A `moto_proxy`, with a state of its own.
pub struct Moto {
    child: Child,
    python: PathBuf,
    environment: Vec<(&'static str, String)>,
    home: tempfile::TempDir,
}

impl Moto {
    /// None if it is not installed.
    pub async fn start() -> Option<Self> {
        Self::trusting("").await
    }

    /// The same, which trusts further authorities, as its clients then do.
    pub async fn trusting(authorities: &str) -> Option<Self> {
        let bin = shell::tools();
        let proxy = bin.join("moto_proxy");
        if !proxy.exists() || !bin.join("aws").exists() {
            not_tested(
                "moto and AWS's command line are not both in .venv; `make test` installs them",
            );
            return None;
        }
        let python = bin.join("python");
        let script = "import moto.moto_proxy, pathlib; \
            print(pathlib.Path(moto.moto_proxy.__file__).parent / 'ca.crt', end='')";
        let found = Command::new(&python).args(["-c", script]).output().unwrap();
        let ca = String::from_utf8(found.stdout).unwrap();
        let its_own = std::fs::read_to_string(ca).unwrap();
        let home = tempfile::tempdir().unwrap();
        let ca = home.path().join("ca.pem");
        std::fs::write(&ca, format!("{its_own}\n{authorities}")).unwrap();
        let ca = ca.to_str().unwrap().to_owned();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let port = address.port().to_string();
        let child = Command::new(proxy)
            .args(["-H", "127.0.0.1", "-p", &port])
            .env_clear()
            .env("PATH", env!("PATH"))
            // For what it delivers.
            .env("REQUESTS_CA_BUNDLE", &ca)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self {
            child,
            python,
            environment: vec![
                ("HTTPS_PROXY", format!("http://{address}")),
                ("NO_PROXY", "localhost,127.0.0.1".to_owned()),
                ("SSL_CERT_FILE", ca.clone()),
                ("AWS_CA_BUNDLE", ca),
                ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
                ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ],
            home,
        };
        until("moto listens", || TcpStream::connect(address).ok()).await;
        Some(moto)
    }

    /// What leads the AWS SDKs and the command line to it.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// Runs a script with clients of S3, SNS and SQS, and returns what it prints.
    pub fn script(&self, script: &str) -> Value {
        let output = Command::new(&self.python)
            .args(["-c", &format!("{CLIENTS}{script}")])
            .env_clear()
            .env("PATH", env!("PATH"))
            .envs(self.environment.clone())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Runs commands as a person types them, with AWS's command line and purgefront on the path, in
    /// a directory that stays the same: exit code, standard output, standard error.
    pub fn shell(&self, commands: &str) -> (Option<i32>, String, String) {
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| ((*name).to_owned(), value.clone()));
        shell::run(commands, self.home.path(), environment)
    }

    /// Where [`Self::shell`] runs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs purgefront as somebody with credentials: exit code, standard output, standard error.
    pub fn purgefront(&self, words: &[&str]) -> (Option<i32>, String, String) {
        self.setup().run(words)
    }

    /// For a service or commands with credentials.
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::alone();
        for (name, value) in self.environment.clone() {
            setup.set_env(name, value);
        }
        setup
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
