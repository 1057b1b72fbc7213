//! `purgefront token`: make a token for the API, and the hash that goes into the configuration.

use anyhow::anyhow;
use aws_lc_rs::rand;
use clap::Args;
use serde_json::json;

use super::{say, say_lines};
use crate::secret::SecretHash;

const BYTES: usize = 32;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What history calls whoever uses it.
    #[arg(long, default_value = "NAME")]
    name: String,
    /// Limits it to this distribution; may be given more than once.
    #[arg(long = "distribution", value_name = "ID")]
    distributions: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| anyhow!("the machine has no randomness to give"))?;
    let token = format!("pf_{}", hex::encode(bytes));
    let hash = SecretHash::of(token.as_bytes());
    say_lines(format_args!(
        "The token, shown this once; give it to whoever shall use it:\n\n{token}\n\n\
         For the configuration of purgefront:\n\n[[api.tokens]]"
    ));
    // A JSON text or list reads the same in TOML.
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
