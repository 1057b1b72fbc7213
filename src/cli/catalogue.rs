//! `purgefront catalogue`: prints the account's distributions as purgefront sees them.

use super::{ConfigFile, DONE, FAILED, USAGE, complain, complain_of, say_lines};
use crate::{app, dispatch::ReadScope};

pub(super) fn run(file: &ConfigFile) -> u8 {
    let config = match file.load_for_mapping() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    match app::read_account(&config, &ReadScope::All) {
        Ok(reading) => {
            for warning in reading.warnings {
                complain(format_args!("warning: {warning}"));
            }
            match serde_json::to_string_pretty(reading.catalogue.snapshot()) {
                Ok(text) => {
                    say_lines(text);
                    DONE
                }
                Err(error) => {
                    complain(error);
                    FAILED
                }
            }
        }
        Err(error) => {
            complain(format_args!("{error:#}"));
            FAILED
        }
    }
}
