//! A home directory in a small world, and bash in it, which runs a document's blocks one after another.

use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use super::{
    markdown::Block,
    tools::{PLACEHOLDERS, REAL, STAND_INS},
};
use crate::support::{
    moto::Moto, proxy::Ca, service::TOKEN, shell::path, signer::TOPIC, terminator,
};

/// A bucket, a distribution in front of it, and the role of a host.
const PREPARE: &str = r#"
cloudfront = client("cloudfront")
s3.create_bucket(Bucket="my-bucket")
origin = {"Id": "site", "DomainName": "my-bucket.s3.us-east-1.amazonaws.com", "OriginPath": "",
    "S3OriginConfig": {"OriginAccessIdentity": ""}}
# CachingOptimized. Without a policy, moto says that nothing may be cached.
behaviour = {"ViewerProtocolPolicy": "redirect-to-https", "TargetOriginId": "site",
    "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"}
made = cloudfront.create_distribution(DistributionConfig={"CallerReference": "documents",
    "Comment": "", "Enabled": True, "DefaultRootObject": "index.html",
    "Origins": {"Quantity": 1, "Items": [origin]}, "DefaultCacheBehavior": behaviour})
client("iam").create_role(RoleName="my-instance", AssumeRolePolicyDocument="{}")
print(json.dumps(made["Distribution"]["Id"]))
"#;

/// How long one document may take, in seconds.
const PATIENCE: &str = "180";

/// The longest that a failure quotes of an output.
const QUOTED: usize = 6_000;

/// What there is before the first command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// A bucket behind a distribution, and nothing else.
    Bare,
    /// See `prelude.sh`.
    Running,
}

pub struct Scene {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// What was started, by the ids of process groups.
    groups: Mutex<Vec<u32>>,
    _moto: Moto,
}

impl Scene {
    /// `database` is the URL of an empty one.
    pub fn set(moto: Moto, ca: &Ca, world: World, database: Option<&str>) -> Result<Self, String> {
        let id = moto.script(PREPARE);
        let [listen, admin, other] = free_addresses();
        let port = other.rsplit(':').next().unwrap().to_owned();
        let public = terminator::start(ca, listen.clone());
        let mut variables = vec![
            (
                "PUBLIC".to_owned(),
                format!("https://{}:{public}", terminator::NAME),
            ),
            ("LISTEN".to_owned(), listen),
            ("ADMIN".to_owned(), admin),
            ("PORT".to_owned(), port),
            ("DISTRIBUTION".to_owned(), id.as_str().unwrap().to_owned()),
        ];
        let home = tempfile::tempdir().unwrap();
        let mut environment = environment(&moto, home.path(), world, &variables);
        environment.extend(database.map(|url| ("DATABASE".to_owned(), url.to_owned())));
        let mut scene = Self {
            home,
            variables: Vec::new(),
            environment,
            groups: Mutex::default(),
            _moto: moto,
        };
        scene.put_tools();
        scene.run("prelude.sh", &[(1, include_str!("prelude.sh").to_owned())])?;
        for name in ["REQUEST", "INVALIDATION", "LETTER"] {
            if let Ok(value) = fs::read_to_string(scene.file(name)) {
                variables.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        scene.variables = variables;
        Ok(scene)
    }

    /// Runs blocks of a document, and returns what each printed.
    pub fn play(&self, document: &str, blocks: &[&Block]) -> Result<Vec<String>, String> {
        let translated = |block: &&Block| (block.line, mark_failures(&self.translate(&block.text)));
        let blocks: Vec<_> = blocks.iter().map(translated).collect();
        self.run(document, &blocks)
    }

    /// Puts what the scene has in the place of placeholders.
    pub fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (placeholder, meaning, _) in PLACEHOLDERS {
            let mut meaning = (*meaning).to_owned();
            for (name, value) in &self.variables {
                meaning = meaning.replace(&format!("${name}"), value);
            }
            text = text.replace(placeholder, &meaning);
        }
        text
    }

    fn run(&self, document: &str, blocks: &[(usize, String)]) -> Result<Vec<String>, String> {
        let name = document.rsplit('/').next().unwrap();
        let mut script = "set -Eeuo pipefail\nshopt -s inherit_errexit\n\
            trap 'code=$?; echo \"$LINENO: \\`$BASH_COMMAND\\` exited with $code\" >\"$SCENE/failed\"; \
            exit $code' ERR\n\
            __exits() { local code=0; eval \"$2\" || code=$?; echo \"(exited with $code)\"; \
            [ $code = $1 ]; }\n"
            .to_owned();
        for (line, text) in blocks {
            let folder = self.file(&line.to_string());
            fs::create_dir_all(&folder).unwrap();
            // The lines before it are empty, so that bash counts as the document does.
            let text = format!("{}{text}", "\n".repeat(line - 1));
            fs::write(folder.join(name), text).unwrap();
            let _ = writeln!(
                script,
                "{{ source \"$SCENE/{line}/{name}\"; }} >\"$SCENE/{line}/output\" 2>&1"
            );
        }
        // People agree to what is asked.
        let mut agreeing = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
        let mut bash = Command::new("timeout")
            .args(["--kill-after=5", PATIENCE, "bash", "-c", &script])
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(self.home.path())
            .stdin(agreeing.stdout.take().unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        self.groups.lock().unwrap().push(bash.id());
        let status = bash.wait().unwrap();
        let _ = agreeing.kill();
        let _ = agreeing.wait();
        let output = |line: usize| fs::read(self.file(&format!("{line}/output"))).ok();
        let outputs: Vec<_> = blocks.iter().map_while(|(line, _)| output(*line)).collect();
        let outputs: Vec<_> = outputs
            .iter()
            .map(|output| String::from_utf8_lossy(output).into_owned())
            .collect();
        if status.success() {
            return Ok(outputs);
        }
        let last = outputs.last().map_or("", String::as_str);
        let line = blocks[outputs.len().saturating_sub(1)].0;
        let failed = fs::read_to_string(self.file("failed"));
        let what = failed.unwrap_or_else(|_| format!("{line}: the block {status}"));
        let cut = last.floor_char_boundary(last.len().saturating_sub(QUOTED));
        Err(format!(
            "{document}:{}\nIt printed:\n{}",
            what.trim_end(),
            &last[cut..]
        ))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(".scene").join(name)
    }

    /// Fills the one directory of the path.
    fn put_tools(&self) {
        let folder = self.file("bin");
        fs::create_dir_all(&folder).unwrap();
        let bash = found("bash").unwrap();
        let put = |name: &str, script: String| {
            let file = folder.join(name);
            fs::write(&file, format!("#!{}\n{script}\n", bash.display())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        };
        for (name, found) in REAL.iter().filter_map(|name| Some((name, found(name)?))) {
            // What starts other commands starts those of the scene.
            let path = if ["bash", "env", "find", "timeout", "xargs"].contains(name) {
                String::new()
            } else {
                format!("PATH='{}' ", path())
            };
            put(name, format!("{path}exec '{}' \"$@\"", found.display()));
        }
        for one in STAND_INS {
            let real = found(one.name).unwrap_or_default();
            let script = format!(
                "set -euo pipefail\nREAL='{}'\nWHY='{}'\n{}\n{}",
                real.display(),
                one.why.replace('\'', r"'\''"),
                include_str!("stand_in.sh"),
                one.check
            );
            put(one.name, script);
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for group in self.groups.lock().unwrap().iter() {
            let group = format!("-{group}");
            let _ = Command::new("kill")
                .args(["-KILL", "--", &group])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn environment(
    moto: &Moto,
    home: &Path,
    world: World,
    variables: &[(String, String)],
) -> Vec<(String, String)> {
    let scene = home.join(".scene");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let value = |name: &str| {
        variables
            .iter()
            .find(|one| one.0 == name)
            .unwrap()
            .1
            .clone()
    };
    let world_name = format!("{world:?}").to_lowercase();
    let mut environment = vec![
        ("PATH", text(&scene.join("bin"))),
        ("HOME", text(home)),
        ("SCENE", text(&scene)),
        ("REPO", env!("CARGO_MANIFEST_DIR").to_owned()),
        ("WORLD", world_name),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
        ("GIT_AUTHOR_NAME", "A".to_owned()),
        ("GIT_AUTHOR_EMAIL", "a@example.com".to_owned()),
        ("GIT_COMMITTER_NAME", "A".to_owned()),
        ("GIT_COMMITTER_EMAIL", "a@example.com".to_owned()),
        ("AWS_PAGER", String::new()),
        ("PURGEFRONT_SERVER__LISTEN", value("LISTEN")),
        ("PURGEFRONT_SERVER__ADMIN_LISTEN", value("ADMIN")),
        ("PURGEFRONT_SERVER__DRAIN", "0s".to_owned()),
    ];
    if world == World::Running {
        environment.extend([
            ("TOKEN", TOKEN.to_owned()),
            ("PURGEFRONT_API_TOKEN", TOKEN.to_owned()),
            ("PURGEFRONT_SNS__TOPICS", format!("[\"{TOPIC}\"]")),
        ]);
    }
    environment.extend(moto.environment().iter().cloned());
    let owned = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    owned.chain(variables.iter().cloned()).collect()
}

fn found(name: &str) -> Option<PathBuf> {
    let path = path();
    let mut files = path.split(':').map(|folder| Path::new(folder).join(name));
    files.find(|file| file.is_file())
}

/// The tools that a document's commands need and that are not installed.
pub fn missing_tools(blocks: &[&Block]) -> Vec<&'static str> {
    let is_used = |name: &&&'static str| {
        let always = ["bash", "curl", "git", "jq", "timeout", "yes"].contains(*name);
        let mut words = blocks
            .iter()
            .flat_map(|block| block.text.split_whitespace());
        always || words.any(|word| word.trim_start_matches("$(") == **name)
    };
    let used = REAL
        .iter()
        .chain(&["curl", "timeout", "yes"])
        .filter(is_used);
    used.copied().filter(|name| found(name).is_none()).collect()
}

fn free_addresses() -> [String; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|one| one.local_addr().unwrap().to_string())
}

/// A command whose failure is its point says so in a comment, `# exits with 2`, and then has to.
fn mark_failures(block: &str) -> String {
    let mut lines: Vec<String> = block.lines().map(str::to_owned).collect();
    for at in 0..lines.len() {
        let Some((command, code)) = lines[at].rsplit_once("# exits with ") else {
            continue;
        };
        let (last, code) = (command.trim_end().to_owned(), code.to_owned());
        let before = lines[..at].iter().rev();
        let first = at - before.take_while(|line| line.ends_with('\\')).count();
        lines[at] = last;
        let command = lines[first..=at].join("\n").replace('\'', r"'\''");
        lines[first] = format!("__exits {code} '{command}'");
        for line in &mut lines[first + 1..=at] {
            line.clear();
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_failure_that_is_the_point_is_marked() {
    let marked = mark_failures("a\nb 'c' \\\n  d # exits with 2\ne # exits\n");
    let expected = "a\n__exits 2 'b '\\''c'\\'' \\\n  d'\n\ne # exits\n";
    assert_eq!(marked, expected);
}
