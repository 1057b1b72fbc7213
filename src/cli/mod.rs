//! The command line: one file a subcommand.

mod check;
mod serve;

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Faults};

/// Makes CloudFront drop exactly what changed in S3.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve(ConfigFile),
    /// Is this configuration right? Reads it, says so, and runs nothing.
    Check(ConfigFile),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; by default purgefront.toml, where it exists. Every key can
    /// also be set as `PURGEFRONT_SECTION__KEY`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Faults> {
        #[expect(
            clippy::disallowed_methods,
            reason = "here the environment becomes a value"
        )]
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Config::load(self.config.as_deref(), environment)
    }
}

/// Done; failed; wrong usage or configuration.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Does what was typed. Exit codes: 0 done, 1 failed, 2 usage or configuration.
pub fn run() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Serve(file) => serve::run(&file),
        Command::Check(file) => check::run(&file),
    };
    ExitCode::from(code)
}

/// Says something to whoever typed; that they no longer listen is no failure.
fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Says what went wrong.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
