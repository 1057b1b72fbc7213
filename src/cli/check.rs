//! `purgefront check`: is this configuration right?

use super::{ConfigFile, DONE, USAGE, complain, say};

pub(super) fn run(file: &ConfigFile) -> u8 {
    match file.load() {
        Ok(_) => {
            say("The configuration is right.");
            DONE
        }
        Err(faults) => {
            complain(faults);
            USAGE
        }
    }
}
