//! `purgefront doctor`: checks everything between S3 and CloudFront, and says how to mend it.

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigFile, DONE, FAILED, USAGE, agree, complain, complain_of, say};
use crate::{
    app,
    domain::doctor::{Finding, Level, Mend},
};

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// A bucket to check; repeatable. By default, those that the topics' policies name, or else
    /// those that distributions serve.
    #[arg(long = "bucket", value_name = "NAME", value_parser = agree::bucket_name)]
    buckets: Vec<String>,
    /// Where SNS reaches purgefront, such as `https://your-host/sns`; by default, each URL that is
    /// subscribed to the topics.
    #[arg(long, value_name = "URL", value_parser = agree::endpoint)]
    endpoint: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: DoctorArguments) -> u8 {
    let config = match arguments.file.load() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    let file = arguments.file.config;
    let file = file.map(|file| file.display().to_string());
    let findings = app::block_on(async {
        let doctor = app::doctor(config, file, arguments.buckets, arguments.endpoint).await;
        doctor.examine().await
    });
    let findings = match findings {
        Ok(findings) => findings,
        Err(error) => {
            complain(error);
            return FAILED;
        }
    };
    if arguments.json {
        let checks: Vec<_> = findings.iter().map(as_json).collect();
        say(json!({"checks": checks}));
    } else {
        findings.iter().for_each(show);
        let count = |level| findings.iter().filter(|one| one.level == level).count();
        say(format_args!(
            "failures: {}, warnings: {}, skipped: {}, ok: {}",
            count(Level::Failure),
            count(Level::Warning),
            count(Level::Skipped),
            count(Level::Ok)
        ));
    }
    if findings.iter().any(|one| one.level == Level::Failure) {
        FAILED
    } else {
        DONE
    }
}

fn show(finding: &Finding) {
    let (level, id) = (finding.level.name(), finding.check.id());
    say(format_args!(
        "{level:<8} {id:<34} {}: {}",
        finding.what, finding.why
    ));
    match &finding.mend {
        None => {}
        // Alone on its line, to be copied.
        Some(Mend::Command(command)) => {
            say("         mend:");
            say(format_args!("    {command}"));
        }
        Some(Mend::Words(words)) => {
            for (at, line) in words.split('\n').enumerate() {
                let head = if at == 0 { "mend: " } else { "" };
                say(format_args!("         {head}{line}"));
            }
        }
    }
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "id": finding.check.id(),
        "level": finding.level.name(),
        "what": finding.what,
        "why": finding.why,
        "mend": finding.mend.as_ref().map(|mend| match mend {
            Mend::Command(command) => json!({"command": command.to_string()}),
            Mend::Words(words) => json!({"words": words}),
        }),
    })
}
