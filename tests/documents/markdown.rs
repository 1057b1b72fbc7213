//! What of a Markdown document is code.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The number of its first line, from 1.
    pub line: usize,
    /// What stands behind the fence, such as `sh`.
    pub language: String,
    /// Its lines, without the fence's indentation.
    pub text: String,
    /// Whether only empty lines are between the block before and this one.
    pub follows: bool,
}

/// The fenced blocks, and the code between backticks outside of them with its line.
pub fn code(document: &str) -> (Vec<Block>, Vec<(usize, String)>) {
    let mut blocks = Vec::new();
    let mut prose = String::new();
    let mut open: Option<(Block, String, usize)> = None;
    let mut follows = false;
    for (line, text) in (1..).zip(document.lines()) {
        let inner = text.trim_start();
        let margin = text.len() - inner.len();
        let ticks = inner.len() - inner.trim_start_matches('`').len();
        match &mut open {
            Some((_, fence, _)) if inner.trim_end() == *fence => {
                blocks.extend(open.take().map(|(block, ..)| block));
                follows = true;
            }
            Some((block, _, indent)) => {
                block.text.push_str(&text[margin.min(*indent)..]);
                block.text.push('\n');
            }
            None if ticks >= 3 => {
                let block = Block {
                    line: line + 1,
                    language: inner[ticks..].trim().to_owned(),
                    text: String::new(),
                    follows,
                };
                open = Some((block, "`".repeat(ticks), margin));
            }
            None => {
                follows &= inner.is_empty();
                prose.push_str(text);
            }
        }
        prose.push('\n');
    }
    assert!(open.is_none(), "a fence is not closed");
    (blocks, spans(&prose))
}

/// The code between backticks, which may go on in the paragraph's next line.
fn spans(prose: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    for paragraph in prose.split("\n\n") {
        let mut at = line;
        for (index, part) in paragraph.split('`').enumerate() {
            if index % 2 == 1 {
                found.push((at, part.replace('\n', " ")));
            }
            at += part.matches('\n').count();
        }
        line += paragraph.matches('\n').count() + 2;
    }
    found
}

#[test]
fn blocks_and_code_are_found() {
    let text = [
        "A `b c` d.",
        "",
        "   ```toml",
        "   [a]",
        "     b = 1",
        "   ```",
        "",
        "```text",
        "`x`",
        "```",
        "And `e",
        "f`, `g`",
        "",
        "```sh",
        "ls",
        "```",
    ];
    let (blocks, spans) = code(&text.join("\n"));
    let block = |line, language: &str, text: &str, follows| Block {
        line,
        language: language.to_owned(),
        text: text.to_owned(),
        follows,
    };
    let expected = [
        block(4, "toml", "[a]\n  b = 1\n", false),
        block(9, "text", "`x`\n", true),
        block(15, "sh", "ls\n", false),
    ];
    assert_eq!(blocks, expected);
    let expected = [(1, "b c"), (11, "e f"), (12, "g")];
    assert_eq!(spans, expected.map(|(line, code)| (line, code.to_owned())));
}
