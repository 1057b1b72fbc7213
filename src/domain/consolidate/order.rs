//! Sorts texts that share long prefixes, as paths do: each byte is looked at about once.

/// Below so many texts, comparing them is faster.
const FEW: usize = 24;
/// How many bytes of a text one step compares.
const STEP: usize = 7;

/// Sorts by the bytes of a text.
pub(super) fn sort_by_text<'a, T: Copy>(all: &mut [T], text: impl Fn(T) -> &'a str) {
    if all.is_sorted_by(|a, b| text(*a) <= text(*b)) {
        return;
    }
    let mut steps: Vec<(u64, T)> = Vec::with_capacity(all.len());
    // Ranges that still have to be sorted, each with the number of bytes that its texts share.
    let mut ranges = vec![(0, all.len(), 0)];
    while let Some((begin, end, shared)) = ranges.pop() {
        let range = &mut all[begin..end];
        if range.len() <= FEW {
            let rest = |one: T| &text(one).as_bytes()[shared..];
            range.sort_unstable_by(|a, b| rest(*a).cmp(rest(*b)));
            continue;
        }
        steps.clear();
        steps.extend(
            range
                .iter()
                .map(|one| (step(text(*one).as_bytes(), shared), *one)),
        );
        steps.sort_unstable_by_key(|(step, _)| *step);
        for (place, (_, one)) in range.iter_mut().zip(&steps) {
            *place = *one;
        }
        let mut at = 0;
        for equal in steps.chunk_by(|(a, _), (b, _)| a == b) {
            // Texts that end in this step, and are equal in it, are equal.
            if equal.len() > 1 && !ends(equal[0].0) {
                ranges.push((begin + at, begin + at + equal.len(), shared + STEP));
            }
            at += equal.len();
        }
    }
}

/// The next bytes of a text, and how many there are, as a number that sorts like them.
fn step(text: &[u8], from: usize) -> u64 {
    let rest = &text[from..];
    let mut bytes = [0; 8];
    let length = rest.len().min(STEP);
    bytes[..length].copy_from_slice(&rest[..length]);
    bytes[STEP] = if rest.len() > STEP {
        u8::MAX
    } else {
        u8::try_from(length).unwrap_or(u8::MAX)
    };
    u64::from_be_bytes(bytes)
}

fn ends(step: u64) -> bool {
    step.to_be_bytes()[STEP] != u8::MAX
}
