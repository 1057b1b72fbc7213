//! What the request path and the work behind it tell each other.

use std::{
    collections::BTreeSet,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::domain::{catalogue::Catalogue, mapping};

/// Shared by everything that runs. Signals carry no data that is not in the store as well:
/// one that is lost with the process costs nothing but a look.
#[derive(Debug, Default)]
pub struct Signals {
    /// Changes were accepted: they want mapping.
    pub accepted: Notify,
    /// A subscription wants to be confirmed.
    pub confirmation: Notify,
    /// Items wait at a distribution: they want planning.
    pub planned: Notify,
    /// An invalidation was made: it wants to be followed.
    pub submitted: Notify,
    /// Somebody paused, resumed, or lifted the day's limit.
    brakes_changed: AtomicBool,
    /// What waits changed by another way than mapping: it has to be counted anew.
    recount: AtomicBool,
    /// The store has changes that are to be mapped again.
    remap: AtomicBool,
    /// Something is asked of the catalogue that it does not know.
    pub catalogue_wanted: Notify,
    wanted: Mutex<Wanted>,
    catalogue: watch::Sender<Option<Arc<Catalogue>>>,
}

/// What somebody waits for the catalogue to learn.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A new reading of the list.
    pub refresh: bool,
    /// What the list does not say.
    pub asked: BTreeSet<Asked>,
}

/// Something that is asked of `CloudFront` only when a change needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The details of the distribution with this id.
    Details(String),
    /// The cache policy with this id.
    Policy(String),
}

impl Asked {
    /// The id of what is asked for.
    pub fn id(&self) -> &str {
        match self {
            Self::Details(id) | Self::Policy(id) => id,
        }
    }
}

impl Signals {
    /// The catalogue as it is known now; `None` until it was first read.
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.catalogue.borrow().clone()
    }

    /// Follows the catalogue: wakes with each new one.
    pub fn follow_catalogue(&self) -> watch::Receiver<Option<Arc<Catalogue>>> {
        self.catalogue.subscribe()
    }

    /// Makes a new catalogue of the present one, and returns it.
    pub fn update_catalogue(
        &self,
        update: impl FnOnce(Option<&Catalogue>) -> Catalogue,
    ) -> Arc<Catalogue> {
        let mut new = None;
        self.catalogue.send_modify(|catalogue| {
            let updated = Arc::new(update(catalogue.as_deref()));
            *catalogue = Some(Arc::clone(&updated));
            new = Some(updated);
        });
        new.unwrap_or_default()
    }

    /// Tells that somebody paused, resumed, or lifted the day's limit.
    pub fn change_brakes(&self) {
        self.keep_brakes_changed();
        self.planned.notify_one();
    }

    /// The same, for later: what was changed could not be read.
    pub fn keep_brakes_changed(&self) {
        self.brakes_changed.store(true, Ordering::Relaxed);
    }

    /// Whether somebody did since the last time.
    pub fn take_brakes_changed(&self) -> bool {
        self.brakes_changed.swap(false, Ordering::Relaxed)
    }

    /// Tells that what waits has to be counted anew.
    pub fn want_recount(&self) {
        self.recount.store(true, Ordering::Relaxed);
        self.accepted.notify_one();
    }

    /// Whether somebody did since the last time.
    pub fn take_recount(&self) -> bool {
        self.recount.swap(false, Ordering::Relaxed)
    }

    /// Asks for a new reading of the list of distributions.
    pub fn want_refresh(&self) {
        self.want(|wanted| wanted.refresh = true);
    }

    /// Asks for what the list does not say.
    pub fn want_more(&self, more: mapping::Wanted) {
        let details = more.details.into_iter().map(Asked::Details);
        let policies = more.policies.into_iter().map(Asked::Policy);
        self.want(|wanted| wanted.asked.extend(details.chain(policies)));
    }

    /// Tells that the store has changes that are to be mapped again.
    pub fn want_remap(&self) {
        self.remap.store(true, Ordering::Relaxed);
        self.accepted.notify_one();
    }

    /// Whether somebody did since the last time.
    pub fn take_remap(&self) -> bool {
        self.remap.swap(false, Ordering::Relaxed)
    }

    /// Takes all that was asked for since the last time.
    pub fn take_wanted(&self) -> Wanted {
        mem::take(&mut self.wanted())
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted());
        self.catalogue_wanted.notify_one();
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
