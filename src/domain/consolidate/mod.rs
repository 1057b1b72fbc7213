//! Planning: which items a distribution's waiting changes become.
//!
//! [`Merging`] finds the items that cover what has to be invalidated at the least price, over exact paths
//! and all wildcards; [`wildcards`] does it for what waits at a distribution. [`plan`] selects the items of one call.

mod call;
mod ceilings;
mod counted;
mod curve;
mod drain;
mod merging;
mod optimum;
mod order;
mod refine;
mod tally;
mod terms;
mod trie;
mod unlisted;
mod wanted;
mod window;

pub use call::{Allowance, Caps, Cover, Headroom, Open, Plan, Waiting, plan};
pub use curve::Point;
pub use drain::{Drain, Pace};
pub use merging::{Made, Merged, Merging, Prevented};
pub use terms::{Bar, Ceilings, EVICTIONS_PER_PATH, Guard, Known, Prices};
pub use wanted::Wanted;
pub use window::{Wildcards, WindowTerms, curve, merges, merging, texts, wildcards};

#[cfg(test)]
mod tests;
