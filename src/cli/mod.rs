//! The command line: one file a subcommand.

mod catalogue;
mod check;
mod client;
mod deadletters;
mod healthcheck;
mod pause;
mod plan;
mod serve;
mod token;
mod verify;

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, ConfigErrors},
    printable::{printable, printable_lines},
};

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
    /// Where do these keys lead? Says what would be sent, and why; sends nothing.
    Plan(plan::Arguments),
    /// Print the account's distributions as purgefront sees them, as JSON.
    Catalogue(ConfigFile),
    /// Does the service of this container answer? Says nothing when it does.
    Healthcheck(healthcheck::Probe),
    /// See, replay and drop what could never succeed.
    #[command(subcommand)]
    Deadletters(deadletters::Action),
    /// Why is this message of SNS's refused? Says what each check finds.
    Verify(verify::Arguments),
    /// Make a token for the API, and the table with its hash for the configuration.
    Token(token::Arguments),
    /// Stop sending, for a distribution or for all; intake goes on.
    Pause(pause::PauseArguments),
    /// Start sending again; for all, it also lifts the day's limit until the day is over.
    Resume(pause::PauseArguments),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; by default purgefront.toml, where it exists. Every key can
    /// also be set as `PURGEFRONT_SECTION__KEY`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(self.config.as_deref(), environment())
    }

    /// The same for those who only want to know where keys lead.
    fn load_for_mapping(&self) -> Result<Config, ConfigErrors> {
        Config::load_for_mapping(self.config.as_deref(), environment())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "here the environment becomes a value"
)]
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Done; failed; wrong usage or configuration.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Does what was typed. Exit codes: 0 done, 1 failed, 2 usage or configuration.
pub fn run() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let command = match Cli::try_parse_from(&words) {
        Ok(cli) => cli.command,
        Err(told) => {
            // It repeats what was typed, or what a script took for an argument.
            let words = words
                .iter()
                .map(|word| printable(word.display()).to_string());
            return tell(&Cli::try_parse_from(words).err().unwrap_or(told));
        }
    };
    let code = match command {
        Command::Serve(file) => serve::run(&file),
        Command::Check(file) => check::run(&file),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Catalogue(file) => catalogue::run(&file),
        Command::Healthcheck(probe) => healthcheck::run(&probe),
        Command::Deadletters(action) => done(deadletters::run(&action)),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Token(arguments) => done(token::run(&arguments)),
        Command::Pause(scope) => done(pause::pause(&scope)),
        Command::Resume(scope) => done(pause::resume(&scope)),
    };
    ExitCode::from(code)
}

/// Says what clap has to say: help and the version, or what is wrong with what was typed.
fn tell(told: &clap::Error) -> ExitCode {
    let text = told.render();
    if told.use_stderr() {
        let _ = write!(io::stderr(), "{}", printable_lines(text));
    } else {
        let _ = write!(io::stdout(), "{}", printable_lines(text));
    }
    ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(USAGE))
}

fn done(result: anyhow::Result<()>) -> u8 {
    match result {
        Ok(()) => DONE,
        Err(error) => {
            complain(format_args!("{error:#}"));
            FAILED
        }
    }
}

/// Says one line to whoever typed; that they no longer listen is no failure.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{}", printable(line));
}

/// Says what is laid out already, with other people's text made printable in it.
fn say_lines(text: impl Display) {
    let _ = writeln!(io::stdout(), "{}", printable_lines(text));
}

/// Says in one line what went wrong.
fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// Says everything that is wrong with the configuration.
fn complain_of(faults: &ConfigErrors) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(faults));
}
