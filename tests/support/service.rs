//! The real binary, started and stopped, and spoken to over HTTP.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{aws::FakeAws, signer::TOPIC, until};

/// The token that the tests use.
pub const TOKEN: &str = "a-token-of-the-tests";

/// The program: that of this build, unless the environment names another one.
pub fn program() -> String {
    super::text("PURGEFRONT_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_purgefront").to_owned())
}

/// How to start the service: its home survives restarts.
pub struct Setup {
    pub home: Arc<tempfile::TempDir>,
    store: PathBuf,
    /// Of the store, if it is not that file.
    store_url: Option<String>,
    program: String,
    settings: String,
    environment: Vec<(String, String)>,
    /// Put before the binary, such as `prlimit --fsize=…`.
    wrapper: Vec<String>,
}

impl Setup {
    /// A service that speaks to `aws`, quick where a test would wait.
    pub fn new(aws: &FakeAws) -> Self {
        let mut setup = Self::alone();
        for (name, value) in aws.environment() {
            setup.set_env(name, value);
        }
        setup
    }

    /// A service that can reach nobody.
    pub fn alone() -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let store = home.path().join("purgefront.db");
        Self {
            home,
            store,
            store_url: None,
            program: program(),
            settings: "[batching]\nquiet = \"50ms\"\nmax_wait = \"500ms\"\n\
                       [limits]\ncalls_per_second = 50\ncall_burst = 50\n\
                       reads_per_second = 200\nread_burst = 100\n\
                       paths_per_second = 100000\nwildcards_per_second = 1000\n\
                       paths_in_progress = 100000\nwildcards_in_progress = 1000\n\
                       paths_per_day = 0\n"
                .to_owned(),
            environment: vec![("PURGEFRONT_API_TOKEN".to_owned(), TOKEN.to_owned())],
            wrapper: Vec::new(),
        }
    }

    pub fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// The directory in which commands run.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    pub fn unset_env(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Starts without any token.
    pub fn forget_token(&mut self) {
        self.unset_env("PURGEFRONT_API_TOKEN");
    }

    pub fn set_store(&mut self, path: PathBuf) {
        self.store = path;
    }

    pub fn set_store_url(&mut self, url: String) {
        self.store_url = Some(url);
    }

    /// Another build of the program.
    pub fn set_program(&mut self, program: &str) {
        program.clone_into(&mut self.program);
    }

    /// The same, on the store of another setup, whose service has to be gone.
    pub fn sharing(mut self, other: &Self) -> Self {
        self.home = Arc::clone(&other.home);
        self.store.clone_from(&other.store);
        self
    }

    /// Adds to the settings, after them.
    pub fn add_settings(&mut self, settings: &str) {
        self.settings.push_str(settings);
    }

    /// Adds a token with this name and with more settings, and returns it.
    pub fn add_token(&mut self, name: &str, more: &str) -> String {
        let (_, said, _) = self.run(&["token", "--name", name]);
        let token = said.lines().find(|line| line.starts_with("pf_")).unwrap();
        let (_, table) = said.split_once("[[api.tokens]]").unwrap();
        self.add_settings(&format!("[[api.tokens]]{table}\n{more}\n"));
        token.to_owned()
    }

    pub fn set_wrapper(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|part| (*part).to_owned()).collect();
    }

    /// Replaces the quick settings.
    pub fn set_settings(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Starts it and waits until it listens.
    pub async fn start(&self) -> Service {
        let mut service = self.spawn();
        let logs = Arc::clone(&service.logs);
        let listening = || {
            let logs = logged(&logs);
            let address = |key: &str| {
                let line = logs
                    .iter()
                    .find(|line| line["key"] == key && line["address"].is_string());
                Some(format!("http://{}", line?["address"].as_str()?))
            };
            Some((address("server.listen")?, address("server.admin_listen")?))
        };
        let (url, admin_url) = until("the service listens", listening).await;
        service.url = url;
        service.admin_url = admin_url;
        service
    }

    /// Starts it, however that ends.
    pub fn spawn(&self) -> Service {
        let file = self.home.path().join("purgefront.toml");
        let file_url = || format!("sqlite://{}", self.store.display());
        let url = self.store_url.clone().unwrap_or_else(file_url);
        let settings = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             drain = \"200ms\"\n\
             [store]\nurl = \"{url}\"\n[sns]\ntopics = [\"{TOPIC}\"]\n{}",
            self.settings
        );
        std::fs::write(&file, settings).unwrap();
        let mut words = self.wrapper.iter().chain([&self.program]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env!("PATH"))
            .env("RUST_LOG", "warn,purgefront=debug")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let logs = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (
            BufReader::new(child.stderr.take().unwrap()),
            Arc::clone(&logs),
        );
        let reader = thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Service {
            _home: Arc::clone(&self.home),
            child,
            reader: Some(reader),
            logs,
            client: Client::builder().no_proxy().build().unwrap(),
            url: String::new(),
            admin_url: String::new(),
        }
    }

    /// Runs another subcommand to its end: exit code, standard output, standard error.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.run_with(arguments, "")
    }

    /// The same, with standard output going elsewhere: exit code and standard error.
    pub fn run_into(&self, arguments: &[&str], stdout: std::fs::File) -> (Option<i32>, String) {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout)
            .output()
            .unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), complaint)
    }

    /// The same, with something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut child = Command::new(program())
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not read it may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

fn logged(lines: &Mutex<Vec<String>>) -> Vec<Value> {
    let lines = lines.lock().unwrap();
    let events = lines.iter().map(|line| serde_json::from_str(line));
    events.filter_map(Result::ok).collect()
}

/// A running service. It is killed when the test is over.
pub struct Service {
    /// The store outlives the setup that it came from.
    _home: Arc<tempfile::TempDir>,
    child: Child,
    reader: Option<thread::JoinHandle<()>>,
    /// The lines, as they came.
    pub logs: Arc<Mutex<Vec<String>>>,
    pub client: Client,
    pub url: String,
    pub admin_url: String,
}

impl Service {
    /// Posts a body to `/sns`.
    pub async fn sns(&self, body: impl Into<String>) -> Response {
        let request = self
            .client
            .post(format!("{}/sns", self.url))
            .body(body.into());
        request
            .header("content-type", "text/plain; charset=UTF-8")
            .send()
            .await
            .unwrap()
    }

    /// Gets a JSON document with the token of the tests.
    pub async fn get(&self, path: &str) -> Value {
        self.get_as(TOKEN, path).await.1
    }

    /// Gets a JSON document with some token: the status and the body.
    pub async fn get_as(&self, token: &str, path: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{path}", self.url));
        let answer = request.bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks for an invalidation of paths.
    pub async fn invalidate(&self, distribution_id: &str, paths: &[&str]) -> Response {
        let body = json!({"distribution_id": distribution_id, "paths": paths, "reason": "a test"});
        let request = self
            .client
            .post(format!("{}/invalidate", self.url))
            .bearer_auth(TOKEN);
        request.body(body.to_string()).send().await.unwrap()
    }

    /// What readiness tells operators: the status and the body.
    pub async fn ready(&self) -> (u16, Value) {
        let response = self
            .client
            .get(format!("{}/readyz", self.admin_url))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// A metric's value, by its name and labels as they are written.
    pub async fn metric(&self, name: &str) -> u64 {
        let request = self.client.get(format!("{}/metrics", self.admin_url));
        let text = request.send().await.unwrap().text().await.unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until the catalogue was read.
    pub async fn knows_the_catalogue(&self) {
        eventually!(self.ready().await.1["checks"]["catalogue"]["state"] == "ok");
    }

    /// All that was logged, as text.
    pub fn log_text(&self) -> String {
        self.logs.lock().unwrap().join("\n")
    }

    /// What was logged as JSON.
    pub fn events(&self) -> Vec<Value> {
        logged(&self.logs)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns how it ended.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.has_ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = self.has_ended().await;
        (status, self.log_text())
    }

    /// It has ended, and all that it logged was read.
    async fn has_ended(&mut self) -> ExitStatus {
        let status = until("the service ends", || self.child.try_wait().unwrap()).await;
        self.reader.take().unwrap().join().unwrap();
        status
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let mut logs = self.log_text();
            let begin = logs.len().saturating_sub(6_000);
            eprintln!("the service's log ended:\n{}", logs.split_off(begin));
        }
    }
}

/// How long a test waits at most for what has to come, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_mins(5);
