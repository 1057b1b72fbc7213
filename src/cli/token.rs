//! `purgefront token`: generates an API token and its hash for the configuration.

use anyhow::anyhow;
use aws_lc_rs::rand;
use clap::Args;
use serde_json::json;

use super::{say, say_lines};
use crate::secret::SecretHash;

const BYTES: usize = 32;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Identifies the token in history and logs.
    #[arg(long, default_value = "NAME")]
    name: String,
    /// Limit the token to this distribution. Repeatable.
    #[arg(long = "distribution", value_name = "ID")]
    distributions: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| anyhow!("the system's random number generator failed"))?;
    let token = format!("pf_{}", hex::encode(bytes));
    let hash = SecretHash::of(token.as_bytes());
    say_lines(format_args!(
        "The token, which is shown only once; give it to its user:\n\n{token}\n\n\
         For purgefront's configuration:\n\n[[api.tokens]]"
    ));
    // JSON strings and lists are valid TOML.
    say(format_args!("name = {}", json!(arguments.name)));
    say(format_args!("sha256 = \"{}\"", hash.to_hex()));
    if !arguments.distributions.is_empty() {
        say(format_args!(
            "distributions = {}",
            json!(arguments.distributions)
        ));
    }
    Ok(())
}
