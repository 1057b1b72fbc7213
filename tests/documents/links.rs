//! Links between documents lead somewhere, and the front page leads to each.

use std::{fs, path::Path};

use super::{documents, markdown};

/// The targets of a document's links to files, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (blocks, _) = markdown::code(text);
    let in_block = |line: usize| {
        let mut blocks = blocks.iter();
        blocks.any(|block| (block.line..block.line + block.text.lines().count()).contains(&line))
    };
    for (line, text) in (1..).zip(text.lines()).filter(|(line, _)| !in_block(*line)) {
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let files = targets.filter(|target| !target.contains("://"));
        found.extend(files.map(|target| (line, target.to_owned())));
    }
    found
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for (line, target) in links(&text) {
            let (file, wanted) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => root.join(&name),
                _ => root.join(&name).parent().unwrap().join(file),
            };
            let Ok(text) = fs::read(&path).or_else(|_| {
                let is_folder = path.is_dir().then(Vec::new);
                is_folder.ok_or(())
            }) else {
                faults.push(format!("{name}:{line}: there is no {file}"));
                continue;
            };
            // A picture has no headings, and is no text.
            let text = String::from_utf8_lossy(&text);
            let headings = text.lines().filter(|line| line.starts_with('#'));
            if !wanted.is_empty() && !headings.map(anchor).any(|anchor| anchor == wanted) {
                faults.push(format!("{name}:{line}: {target} has no such heading"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_front_page_leads_to_every_document() {
    let documents = documents();
    let (_, front) = documents
        .iter()
        .find(|(name, _)| name == "docs/README.md")
        .unwrap();
    for (name, _) in &documents {
        let link = match name.strip_prefix("docs/") {
            Some("README.md") => continue,
            Some(name) => format!("]({name})"),
            None => format!("](../{name})"),
        };
        assert!(
            front.contains(&link),
            "docs/README.md does not lead to {name}"
        );
    }
}
