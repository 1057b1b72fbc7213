//! Escapes untrusted text for terminals and logs, so that it cannot move the cursor or forge lines.

use std::{
    fmt::{self, Display, Write as _},
    io,
};

/// Escapes everything that a terminal would interpret, including newlines, in the form `\u001b`.
///
/// JSON uses the same form in strings, so the meaning of JSON is not changed.
pub fn printable(value: impl Display) -> impl Display {
    Printable(value, |_| false)
}

/// Like [`printable`], but keeps newlines and tabs: for output of several lines in which untrusted
/// values have already been escaped.
pub fn printable_lines(text: impl Display) -> impl Display {
    Printable(text, |char| matches!(char, '\n' | '\t'))
}

/// A text, and the control characters that it may keep.
struct Printable<T>(T, fn(char) -> bool);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f, self.1), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>, fn(char) -> bool);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Self(out, ours) = self;
        let mut plain = 0;
        for (at, char) in text.char_indices() {
            if is_obeyed(char) && !ours(char) {
                out.write_str(&text[plain..at])?;
                write!(out, "\\u{:04x}", u32::from(char))?;
                plain = at + char.len_utf8();
            }
        }
        out.write_str(&text[plain..])
    }
}

/// Control characters, line separators, and marks that change the writing direction, which can make
/// a line look like something else.
fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// A writer that escapes every line except for its final newline. Each write must be one line.
pub struct PrintableWriter<W>(pub W);

impl<W: io::Write> io::Write for PrintableWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // In a single write, so that lines of other threads do not interleave.
        let text = format!("{}\n", printable(text));
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let cases = [
            ("a\u{1b}[31mb", "a\\u001b[31mb"),
            ("\u{9b}31m", "\\u009b31m"),
            ("a\nb\r\tc", "a\\u000ab\\u000d\\u0009c"),
            ("\u{202e}gpj.exe\u{2069}", "\\u202egpj.exe\\u2069"),
            ("\u{2028}\u{7f}\0", "\\u2028\\u007f\\u0000"),
            ("Ä \"é\" \\ <b> 日本 👍", "Ä \"é\" \\ <b> 日本 👍"),
        ];
        for (text, expected) in cases {
            assert_eq!(printable(text).to_string(), expected);
        }
    }

    #[test]
    fn our_own_lines_stay_lines() {
        let text = "a\tb\nc\u{1b}\r\n";
        assert_eq!(printable_lines(text).to_string(), "a\tb\nc\\u001b\\u000d\n");
    }

    #[test]
    fn json_means_the_same() {
        let text = serde_json::json!({"key": "\u{9b}\u{202e}\u{7f}\n\u{1b}"});
        let read: serde_json::Value =
            serde_json::from_str(&printable(text.to_string()).to_string()).unwrap();
        assert_eq!(read, text);
    }

    #[test]
    fn what_is_written_at_once_is_one_line() {
        let mut out = Vec::new();
        let mut writer = PrintableWriter(&mut out);
        writer.write_all(b"a\nb\n").unwrap();
        writer.write_all("\u{1b}\n".as_bytes()).unwrap();
        writer.flush().unwrap();
        assert_eq!(out, b"a\\u000ab\n\\u001b\n");
    }
}
