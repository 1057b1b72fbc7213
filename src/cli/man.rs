//! `purgefront man`: writes the manual pages, one for the program and one for each subcommand.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{Cli, say};

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// Where to write the pages; it is created if it does not exist.
    directory: PathBuf,
}

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Done."),
    (
        "1",
        "Failed, or not agreed to. For the service, also: an address is in use.",
    ),
    ("2", "Wrong usage, or an invalid configuration."),
];

const FILES: &[(&str, &str)] = &[
    (
        "purgefront.toml",
        "The configuration, in the working directory, unless --config names another file.",
    ),
    (
        "purgefront.db, purgefront.db-wal, purgefront.db-shm",
        "The store, at the place that store.url names; by default, in the working directory. The \
         newest commits are in the -wal file.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "PURGEFRONT_SECTION__KEY",
        "Sets a key of the configuration and takes precedence over the file. Two underscores \
         stand between section and key, and lists are written as JSON.",
    ),
    (
        "PURGEFRONT_API_TOKEN",
        "For the service, one API token without restrictions. For the commands that talk to a \
         running service, the token that they send.",
    ),
    (
        "PURGEFRONT_URL",
        "The public listener of the running service, for the commands that talk to it.",
    ),
    (
        "PURGEFRONT_ADMIN_URL",
        "The admin listener of the running service, for the commands that talk to it.",
    ),
    (
        "AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and others",
        "Credentials, region and endpoints, as for the AWS command line.",
    ),
    (
        "HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE",
        "The proxy for requests to AWS, and a file with further trusted certificates.",
    ),
    ("RUST_LOG", "The log filter, such as info,purgefront=debug."),
];

/// Writes the pages and prints their names.
pub(super) fn run(arguments: &ManArguments) -> anyhow::Result<()> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory)
        .with_context(|| format!("the directory {} cannot be created", directory.display()))?;
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add_pages(&mut pages, &program, None)?;
    for (name, text) in pages {
        let file = directory.join(name);
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        say(file.display());
    }
    Ok(())
}

/// Adds the page of a command and those of its subcommands, each as a file's name and text.
fn add_pages(
    pages: &mut Vec<(String, String)>,
    command: &Command,
    parent: Option<&str>,
) -> anyhow::Result<()> {
    let subcommands = command.get_subcommands();
    let subcommands: Vec<_> = subcommands.filter(|one| !one.is_hide_set()).collect();
    let man = Man::new(command.clone())
        // In the date's place, because an empty date would be left out of the macro's arguments.
        .date(concat!("purgefront ", env!("CARGO_PKG_VERSION")))
        .source("purgefront")
        .manual("purgefront");
    let file = man.get_filename();
    let name = file.trim_end_matches(".1").to_owned();
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if !subcommands.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    let reads_configuration = command.get_arguments().any(|one| one.get_id() == "config");
    let mut more = Roff::default();
    section(&mut more, "EXIT STATUS", EXIT_CODES);
    if parent.is_none() || reads_configuration {
        section(&mut more, "FILES", FILES);
        section(&mut more, "ENVIRONMENT", ENVIRONMENT);
    }
    if let Some(parent) = parent {
        more.control("SH", ["SEE ALSO"]);
        more.text([bold(parent), roman("(1)")]);
    }
    more.to_writer(&mut text)?;
    pages.push((file, with_bold_code(&String::from_utf8_lossy(&text))));
    for one in subcommands {
        add_pages(pages, one, Some(&name))?;
    }
    Ok(())
}

fn section(page: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (term, meaning) in entries {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*meaning)]);
    }
}

/// Sets code between backticks in bold, since roff would show them as opening quotation marks.
fn with_bold_code(page: &str) -> String {
    let mut fonts = ["\\fB", "\\fR"].into_iter().cycle();
    let mut text = String::new();
    for (index, part) in page.split('`').enumerate() {
        if index > 0 {
            text.extend(fonts.next());
        }
        text.push_str(part);
    }
    text
}
