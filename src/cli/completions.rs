//! `purgefront completions`: prints a shell's completion script.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::{aot, generate};

use super::{Cli, output};

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// source <(purgefront completions bash), or save it in the directory
    /// ~/.local/share/bash-completion/completions, as purgefront
    Bash,
    /// save it in a directory of $fpath, as _purgefront
    Zsh,
    /// save it in the directory ~/.config/fish/completions, as purgefront.fish
    Fish,
}

pub(super) fn run(arguments: &CompletionsArguments) {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    match arguments.shell {
        Shell::Bash => generate(aot::Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(aot::Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(aot::Fish, &mut command, name, &mut script),
    }
    output::print(String::from_utf8_lossy(&script));
}
