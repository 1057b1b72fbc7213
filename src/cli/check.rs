//! `purgefront check`: validates the configuration.

use super::{ConfigFile, DONE, USAGE, complain, complain_of, say};

pub(super) fn run(file: &ConfigFile) -> u8 {
    match file.load() {
        Ok(config) => {
            for warning in config.warnings {
                complain(format_args!("warning: {warning}"));
            }
            say("The configuration is right.");
            DONE
        }
        Err(faults) => {
            complain_of(&faults);
            USAGE
        }
    }
}
