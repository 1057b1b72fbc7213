//! What the documents' commands may use: what runs as it is, what stands in for what cannot run here,
//! and what the documents' placeholders mean. What is in none of the tables is no command.

/// Tools that run as they are.
pub const REAL: &[&str] = &[
    "aws",
    "base64",
    "bash",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "cut",
    "date",
    "df",
    "diff",
    "env",
    "find",
    "git",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "id",
    "jq",
    "ln",
    "ls",
    "man",
    "mkdir",
    "mktemp",
    "moto_proxy",
    "mv",
    "od",
    "openssl",
    "python",
    "rm",
    "sed",
    "seq",
    "sleep",
    "sort",
    "sqlite3",
    "stat",
    "tail",
    "tar",
    "tee",
    "timeout",
    "touch",
    "tr",
    "uniq",
    "wc",
    "xargs",
];

/// A tool, why it is not run, and what is checked of its arguments instead (in bash, where
/// `fault TEXT` fails, and `$REPO` is the repository).
pub struct StandIn {
    pub name: &'static str,
    pub why: &'static str,
    pub check: &'static str,
}

/// Commands that do something else in the tests.
pub const STAND_INS: &[StandIn] = &[
    StandIn {
        name: "purgefront",
        why: "serve runs until it is stopped: in the foreground, it is left alone once it is ready; and \
              the next one takes its place",
        check: r#"
            [ "${1-}" = serve ] || exec "$REAL" "$@"
            stop_service
            # What bash starts with & has nothing on standard input.
            if [ /dev/stdin -ef /dev/null ]; then
                echo $$ >"$SCENE/service"
                exec "$REAL" "$@"
            fi
            "$REAL" "$@" &
            echo $! >"$SCENE/service"
            until curl -s -o "$SCENE/ready" "http://$PURGEFRONT_SERVER__LISTEN/healthz"; do
                kill -0 $! || { wait $!; exit; }
                sleep 0.1
            done"#,
    },
    StandIn {
        name: "curl",
        why: "the status of an error fails the test, if it comes from purgefront",
        check: r#"
            case "$*" in *"$LISTEN"* | *"$ADMIN"* | *"$PUBLIC"*) set -- --fail-with-body "$@" ;; esac
            exec "$REAL" --silent --show-error "$@""#,
    },
    StandIn {
        name: "sudo",
        why: "the tests run as anybody",
        check: r#"exec "$@""#,
    },
    StandIn {
        name: "make",
        why: "its targets take minutes; .ci/run runs them",
        check: r#"
            for word; do
                case "$word" in *=* | -*) ;; *) target "$word" ;; esac
            done"#,
    },
    StandIn {
        name: "cargo",
        why: "the tests do not run themselves",
        check: r#"
            [ "$1" = test ] || fault "what does it do?"
            test -e "$REPO/tests/${!#}.rs" -o -d "$REPO/tests/${!#}" || fault "no test ${!#}""#,
    },
    StandIn {
        name: "pip",
        why: "the tests install nothing; .venv has it",
        check: r#"grep -qxF -- "$2" "$REPO"/deploy/demo/requirements.txt "$REPO"/tests/requirements.txt \
            || fault "not the version that the tests use""#,
    },
    StandIn {
        name: "docker",
        why: "there is no container engine in the tests",
        check: r#"
            case "$1" in
                build) file "${!#}/Dockerfile" ;;
                run) case "${!#}" in purgefront | localstack/*) ;; *) fault "unknown image" ;; esac ;;
                compose) shift; while [ $# -gt 1 ]; do [ "$1" != -f ] || file "$2"; shift; done ;;
                exec | logs | pull | stop | restart) ;;
                *) fault "what does it do?" ;;
            esac"#,
    },
    StandIn {
        name: "fakecloud",
        why: "it is in no package registry",
        check: "[ $# = 0 ]",
    },
    StandIn {
        name: "caddy",
        why: "a public name is needed for a certificate",
        check: r#"[ "$1" = reverse-proxy ] || fault "what does it do?""#,
    },
    StandIn {
        name: "install",
        why: "nothing is installed outside of the scene, and `make release` has made nothing",
        check: r#"
            from=${*: -2:1}
            case "$from" in
                target/*) ;;
                deploy/*) file "$from" ;;
                *) cp "$from" "${!#}" ;;
            esac"#,
    },
    StandIn {
        name: "systemctl",
        why: "there is no systemd in the tests; the unit is the scene's service",
        check: r#"
            case "${!#}" in
                purgefront | purgefront.service)
                    case "$1" in
                        stop) stop_service ;;
                        start | restart) purgefront serve ;;
                    esac ;;
                nginx | caddy | daemon-reload) ;;
                *) fault "unknown unit" ;;
            esac"#,
    },
];

/// A placeholder or an address of the documents, what stands in the scene instead, and why.
pub const PLACEHOLDERS: &[(&str, &str, &str)] = &[
    (
        "https://your-host",
        "$PUBLIC",
        "nothing in the scene has a public name, and the certificate is by the tests' own authority",
    ),
    (
        "/var/lib/purgefront",
        "$HOME",
        "nothing is outside of the scene",
    ),
    ("/backups", "$HOME", "nothing is outside of the scene"),
    (
        "postgres://purgefront@db.example.com/purgefront",
        "$DATABASE",
        "an empty database of this machine's PostgreSQL",
    ),
    ("127.0.0.1:8080", "$LISTEN", "ports that are free"),
    ("127.0.0.1:9090", "$ADMIN", "ports that are free"),
    ("5005", "$PORT", "a port that is free"),
    ("E2EXAMPLE", "$DISTRIBUTION", "moto makes ids up"),
    ("/requests/ID", "/requests/$REQUEST", "an id that exists"),
    (
        "/invalidations/ID",
        "/invalidations/$INVALIDATION",
        "an id that exists",
    ),
    (
        "localhost.localstack.cloud",
        "localhost",
        "a name that resolves, to the same address, only on the internet",
    ),
];
