//! The command line: one file per subcommand.

mod agree;
mod catalogue;
mod check;
mod client;
mod completions;
mod connect;
mod deadletters;
mod disconnect;
mod doctor;
mod healthcheck;
mod invalidate;
mod man;
mod output;
mod pause;
mod plan;
mod redrive;
mod request;
mod resync;
mod serve;
mod status;
mod store;
mod token;
mod verify;
mod why;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use output::{complain, complain_of, say, say_lines};

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
    /// Validate the configuration without running anything.
    Check(ConfigFile),
    /// Show what a change of these keys would invalidate, and why, without sending anything.
    Plan(plan::PlanArguments),
    /// Print the account's distributions as purgefront sees them, as JSON.
    Catalogue(ConfigFile),
    /// Have the running service invalidate paths, tags or keys. Exits with 1 if the request was refused or
    /// failed, had not settled when `--wait` ended, or the service does not answer.
    Invalidate(invalidate::InvalidateArguments),
    /// Show how far a request is, or how the work of each distribution stands. Exits with 1 if the request
    /// failed or is not known, had not settled when `--wait` ended, or the service does not answer.
    Status(status::StatusArguments),
    /// Show what became of an object's changes, from the event to the completed invalidation. Exits with 1
    /// if none is known, or the changes could not be read: standard error says which.
    Why(why::WhyArguments),
    /// Make S3 and SNS send a bucket's changes here, and leave alone what others have set up.
    Connect(connect::ConnectArguments),
    /// Undo what `connect` has done.
    Disconnect(disconnect::DisconnectArguments),
    /// Check everything between S3 and CloudFront, and say how to mend what is wrong; change nothing.
    Doctor(doctor::DoctorArguments),
    /// Check that the service in this container answers; print nothing if it does.
    Healthcheck(healthcheck::Probe),
    /// List, replay and drop dead letters: accepted work that can never succeed.
    #[command(subcommand)]
    Deadletters(deadletters::Action),
    /// Show why an SNS message is refused: run the checks in order and print each result.
    Verify(verify::VerifyArguments),
    /// Take the messages of an SNS subscription's dead-letter queue to the running service, which verifies
    /// them as usual, whatever their age.
    Redrive(redrive::RedriveArguments),
    /// After an outage longer than SNS's retries, request what may be stale in a bucket: list it, leave out
    /// what the history covers, show the price, and ask.
    Resync(resync::ResyncArguments),
    /// Back up the store while the service runs, check it, or copy it to PostgreSQL and back.
    #[command(subcommand)]
    Store(store::Action),
    /// Generate an API token and the configuration table with its hash.
    Token(token::TokenArguments),
    /// Stop sending, for one distribution or for all; intake continues.
    Pause(pause::PauseArguments),
    /// Start sending again, and try now what was refused; without a distribution, also lift the daily
    /// limit until the day ends.
    Resume(pause::PauseArguments),
    /// Print the script that makes a shell complete purgefront's commands and options.
    Completions(completions::CompletionsArguments),
    /// Write the manual pages into a directory.
    Man(man::ManArguments),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; by default purgefront.toml, if it exists. Every key can also be
    /// set in the environment, as `PURGEFRONT_SECTION__KEY`, except for lists of tables.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(self.config.as_deref(), environment())
    }

    /// Like [`ConfigFile::load`], without requiring `sns.topics`.
    fn load_for_mapping(&self) -> Result<Config, ConfigErrors> {
        Config::load_for_mapping(self.config.as_deref(), environment())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment and passes it on as a value"
)]
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

// Exit codes.
const DONE: u8 = 0;
const FAILED: u8 = 1;
/// Wrong usage, or an invalid configuration.
const USAGE: u8 = 2;

/// A value that can never work, which is found out only after the arguments were read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageFault(String);

/// Runs the command line. Exit codes: 0 done, 1 failed, 2 usage or configuration.
pub fn run() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let command = match Cli::try_parse_from(&words) {
        Ok(cli) => cli.command,
        Err(told) => {
            // The error quotes the arguments, which may be untrusted: parse them again, escaped.
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
        Command::Invalidate(arguments) => coded(invalidate::run(&arguments)),
        Command::Status(arguments) => coded(status::run(&arguments)),
        Command::Why(arguments) => coded(why::run(&arguments)),
        Command::Connect(arguments) => connect::run(arguments),
        Command::Disconnect(arguments) => disconnect::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Healthcheck(probe) => healthcheck::run(&probe),
        Command::Deadletters(action) => done(deadletters::run(&action)),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Redrive(arguments) => redrive::run(&arguments),
        Command::Resync(arguments) => resync::run(&arguments),
        Command::Store(action) => store::run(&action),
        Command::Token(arguments) => done(token::run(&arguments)),
        Command::Pause(scope) => done(pause::pause(&scope)),
        Command::Resume(scope) => done(pause::resume(&scope)),
        Command::Completions(arguments) => {
            completions::run(&arguments);
            DONE
        }
        Command::Man(arguments) => done(man::run(&arguments)),
    };
    ExitCode::from(output::delivered(code))
}

/// Text as a part of a URL.
fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// Prints clap's output: help, the version, or a usage error.
fn tell(told: &clap::Error) -> ExitCode {
    let text = told.render();
    if told.use_stderr() {
        let _ = write!(io::stderr(), "{}", printable_lines(text));
    } else {
        output::print(printable_lines(text));
    }
    let code = u8::try_from(told.exit_code()).unwrap_or(USAGE);
    ExitCode::from(output::delivered(code))
}

fn done(result: anyhow::Result<()>) -> u8 {
    coded(result.map(|()| DONE))
}

/// The exit code of a command that says its own if it does not fail.
fn coded(result: anyhow::Result<u8>) -> u8 {
    result.unwrap_or_else(|error| complain_with_code(&error))
}

/// Prints why a command failed, and returns its exit code.
fn complain_with_code(error: &anyhow::Error) -> u8 {
    if let Some(faults) = error.downcast_ref::<ConfigErrors>() {
        complain_of(faults);
        return USAGE;
    }
    complain(format_args!("{error:#}"));
    if error.is::<UsageFault>() {
        USAGE
    } else {
        FAILED
    }
}
