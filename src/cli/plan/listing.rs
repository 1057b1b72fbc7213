//! Which keys there are: in S3, or as a file says.

use std::collections::BTreeMap;

use super::super::complain;
use crate::{
    app,
    domain::survey::{Survey, Surveyed},
};

/// What is known of the keys behind each distribution.
type Known = BTreeMap<String, Surveyed>;

/// Lists buckets in S3. If that is not possible, says why.
pub(super) fn in_s3(surveys: Vec<Survey>) -> anyhow::Result<Known> {
    let mut known = Known::new();
    for looked in app::look(surveys)? {
        let id = &looked.distribution_id;
        let pages = looked.surveyed.pages;
        if let Some(why) = looked.refusal {
            complain(format_args!(
                "warning: {id}: what cannot be listed is not merged: {why}"
            ));
        } else if looked.surveyed.partial {
            complain(format_args!(
                "warning: {id}: the listing ended at its bounds, as in the service, after {pages} pages: what it \
                 has not reached is not merged"
            ));
        }
        known.insert(looked.distribution_id, looked.surveyed);
    }
    Ok(known)
}

/// Answers from all keys of a bucket. Nothing is known of other buckets.
pub(super) fn in_file(surveys: Vec<Survey>, bucket: &str, mut keys: Vec<String>) -> Known {
    keys.sort_unstable();
    keys.dedup();
    let looked = surveys.into_iter().map(|mut survey| {
        while let Some(ask) = survey.next_page() {
            if ask.bucket != bucket {
                survey.skip_page();
                continue;
            }
            let first = keys.partition_point(|key| *key < ask.prefix);
            let with_prefix = keys[first..].iter();
            let with_prefix = with_prefix.take_while(|key| key.starts_with(&ask.prefix));
            survey.take_page(with_prefix.cloned().collect(), false);
        }
        (survey.distribution_id().to_owned(), survey.finish())
    });
    looked.collect()
}
