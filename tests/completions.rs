//! `purgefront completions`: each script is one that its shell takes, and bash completes with it.

use std::process::{Command, Stdio};

use crate::support::{not_tested, service::Setup};

fn script(shell: &str) -> String {
    let (code, script, complaint) = Setup::alone().run(&["completions", shell]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    assert!(script.contains("deadletters"), "{shell}: {script}");
    assert!(!script.contains('\u{1b}'));
    script
}

/// What a shell prints when it runs a script; `None` if there is no such shell.
fn ran(shell: &str, words: &[&str]) -> Option<String> {
    let run = Command::new(shell)
        .args(words)
        .env_clear()
        .env("PATH", env!("PATH"))
        .stdin(Stdio::null())
        .output();
    let Ok(output) = run else {
        not_tested(&format!("there is no {shell} here"));
        return None;
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{shell}: {complaint}"
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn each_shell_takes_its_script() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let file = home.path().join(shell);
        std::fs::write(&file, script(shell)).unwrap();
        ran(shell, &["-n", file.to_str().unwrap()]);
    }
    let (code, _, complaint) = Setup::alone().run(&["completions", "cmd"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("[possible values: bash, zsh, fish]"));
}

#[test]
fn bash_completes_commands_and_options() {
    let script = script("bash");
    for (typed, expected) in [
        (&["dea"][..], "deadletters"),
        (&["deadletters", "re"], "replay"),
        (&["deadletters", "replay", "--al"], "--all"),
        (&["connect", "--dry"], "--dry-run"),
        (&["completions", "f"], "fish"),
        (&["serve", "--toke"], ""),
        // Never as an argument, where others would see it.
        (&["pause", "--token"], "--token-file"),
    ] {
        // As bash does it on TAB, with the function that the script has registered.
        let ask = "\nCOMP_WORDS=(purgefront \"$@\")\nCOMP_CWORD=$#\n\
            registered=$(complete -p purgefront)\nfunction=${registered#*-F }\n\
            \"${function%% *}\" purgefront \"${!#}\" \"${COMP_WORDS[$# - 1]}\"\n\
            echo \"${COMPREPLY[*]}\"";
        let ask = format!("{script}{ask}");
        let words = [&["--norc", "-c", &ask, "bash"], typed].concat();
        let Some(answer) = ran("bash", &words) else {
            return;
        };
        assert_eq!(answer.trim_end(), expected, "{typed:?}");
    }
}
