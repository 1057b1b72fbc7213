//! `purgefront check`: validates the configuration.

use super::{ConfigFile, DONE, USAGE, complain_of, say};

pub(super) fn run(file: &ConfigFile) -> u8 {
    match file.load() {
        Ok(_) => {
            say("The configuration is right.");
            DONE
        }
        Err(faults) => {
            complain_of(&faults);
            USAGE
        }
    }
}
