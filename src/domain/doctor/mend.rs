//! How what was found is mended: by a command that can be run as printed, or in words.

use std::fmt;

use crate::domain::connection::advice::shell;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// A command that mends it as it stands.
    Command(Command),
    /// What no command mends, or not alone.
    Words(String),
}

/// A command as its words, so that no name in it can become another command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(Vec<String>);

impl Command {
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Vec::new()).and(words)
    }

    #[must_use]
    pub fn and<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.extend(words.into_iter().map(str::to_owned));
        self
    }
}

impl Command {
    /// The bucket that it connects, if it does.
    pub(super) fn connects(&self) -> Option<&str> {
        match self.0.as_slice() {
            [program, verb, bucket, ..] if program == "purgefront" && verb == "connect" => {
                Some(bucket)
            }
            _ => None,
        }
    }

    /// The value of an option.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// Without an option and its value.
    pub(super) fn without(&self, name: &str) -> Self {
        let mut words = self.0.clone();
        if let Some(at) = words.iter().position(|word| word == name) {
            words.drain(at..words.len().min(at + 2));
        }
        Self(words)
    }
}

/// One line for a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&shell(word))?;
        }
        Ok(())
    }
}

impl From<Command> for Mend {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl From<&str> for Mend {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl From<String> for Mend {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_another_command() {
        let command = Command::new(["aws", "sns"]).and(["--name", "a b'; rm -rf $HOME #", ""]);
        let expected = "aws sns --name 'a b'\\''; rm -rf $HOME #' ''";
        assert_eq!(command.to_string(), expected);
        let plain = Command::new(["purgefront", "connect", "site", "--yes"]);
        assert_eq!(plain.to_string(), "purgefront connect site --yes");
    }
}
