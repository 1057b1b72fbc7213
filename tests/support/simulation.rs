//! The work behind the 2xx in this process, on a clock that jumps, against a simulated CloudFront.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use purgefront::{
    dispatch::Settings,
    domain::{
        change::{Asked, Content, NewMessage, NewRequest},
        hold::{DeployHold, HoldAcceptance, Place},
        path::Item,
        s3_event::ObjectChange,
    },
    ports::{
        Clock as _, dispatch::Epoch, intake::IntakeStore as _, operations::OperationsStore as _,
    },
};
use uuid::Uuid;

use super::{
    buckets::Buckets,
    clock::VirtualClock,
    inside::{Inside, settings},
    nature::{Faults, Nature},
    signer::TOPIC,
    simulated::Simulated,
};

/// Something that comes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// Keys that changed in a distribution's bucket.
    Events(String, Vec<String>),
    /// Paths that a person asks for.
    Request(String, Vec<String>),
    /// A deploy window of a distribution, of this length.
    Hold(String, Duration),
    /// The clock is set back.
    SetBack(Duration),
}

/// A CloudFront with these distributions and without faults.
pub fn nature(distributions: &[&str]) -> Nature {
    Nature {
        distributions: distributions.iter().map(|id| (*id).to_owned()).collect(),
        propagation: Duration::from_secs(10),
        latency: Duration::from_millis(50),
        faults: Faults::default(),
        dark: Vec::new(),
        blind: Vec::new(),
        hidden: Vec::new(),
        conflicts: false,
        ills: Vec::new(),
        bad: Vec::new(),
    }
}

/// The work behind the 2xx in this process, with the real store, on a clock that jumps.
pub struct World {
    pub clock: Arc<VirtualClock>,
    pub cdn: Arc<Simulated>,
    pub inside: Inside,
    /// What came in, and when.
    pub(super) came: Mutex<Vec<(Duration, Input)>>,
}

impl World {
    pub async fn start(nature: Nature, seed: u64) -> Self {
        Self::start_with(nature, Settings { seed, ..settings() }).await
    }

    pub async fn start_with(nature: Nature, settings: Settings) -> Self {
        let clock = Arc::new(VirtualClock::new());
        let cdn = Simulated::new(Arc::clone(&clock), nature, settings.seed);
        let cdn = Arc::new(cdn);
        let inside = Inside::start(Arc::clone(&clock) as _, Arc::clone(&cdn) as _, settings);
        Self::of(clock, cdn, inside.await)
    }

    /// With buckets that can be listed.
    pub async fn start_beside_buckets(nature: Nature, settings: Settings) -> (Self, Arc<Buckets>) {
        let clock = Arc::new(VirtualClock::new());
        let buckets = Buckets::new(&clock);
        let cdn = Simulated::new(Arc::clone(&clock), nature, settings.seed);
        let cdn = Arc::new(cdn);
        let inside = Inside::start_beside(
            Arc::clone(&clock) as _,
            Arc::clone(&cdn) as _,
            Arc::clone(&buckets) as _,
            settings,
        );
        (Self::of(clock, cdn, inside.await), buckets)
    }

    pub fn of(clock: Arc<VirtualClock>, cdn: Arc<Simulated>, inside: Inside) -> Self {
        Self {
            clock,
            cdn,
            inside,
            came: Mutex::default(),
        }
    }

    async fn put_in(&self, input: &Input) {
        let accepted_at = self.clock.now();
        let came = (self.cdn.elapsed(), input.clone());
        self.came.lock().unwrap().push(came);
        match input {
            Input::Events(id, keys) => {
                let change = |key: &String| ObjectChange {
                    bucket: format!("bucket-{}", id.to_lowercase()),
                    key: key.clone(),
                    event: "ObjectCreated:Put".to_owned(),
                    time: None,
                    sequencer: None,
                };
                let message = NewMessage {
                    message_id: Uuid::new_v4(),
                    signed_at: accepted_at,
                    topic: TOPIC.parse().unwrap(),
                    accepted_at,
                    content: Content::Notification {
                        changes: keys.iter().map(change).collect(),
                        dead: Vec::new(),
                    },
                };
                self.inside.store.accept_message(message).await.unwrap();
            }
            Input::Request(id, paths) => {
                let request = NewRequest {
                    id: Uuid::now_v7(),
                    token: "test".to_owned(),
                    reason: None,
                    asked: Asked::Items {
                        distribution_id: id.clone(),
                        items: paths
                            .iter()
                            .map(|path| Item::parse(path).unwrap())
                            .collect(),
                    },
                    idempotency: None,
                    accepted_at,
                };
                self.inside.store.accept_request(request).await.unwrap();
            }
            Input::Hold(id, span) => {
                let hold = DeployHold {
                    id: Uuid::now_v7(),
                    place: Place::Distribution(id.clone()),
                    token: "deploy".to_owned(),
                    reason: None,
                    created_at: accepted_at,
                    expires_at: accepted_at + *span,
                    ended_at: None,
                };
                let created = self.inside.store.create_hold(hold, None).await;
                assert_eq!(created.unwrap(), HoldAcceptance::New);
            }
            Input::SetBack(span) => return self.clock.set_back(*span),
        }
        self.inside.wake();
    }

    /// Plays inputs at their times, and on until `done` or `most` has passed.
    pub async fn play(
        &self,
        inputs: &[(Duration, Input)],
        most: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) {
        let began = self.clock.passed();
        let mut inputs = inputs.iter().peekable();
        loop {
            self.inside.settle().await;
            let elapsed = self.clock.passed().saturating_sub(began);
            while let Some((_, input)) = inputs.next_if(|(at, _)| *at <= elapsed) {
                self.put_in(input).await;
                self.inside.settle().await;
            }
            if inputs.peek().is_none() && done(self) {
                return;
            }
            assert!(elapsed < most, "not done after {elapsed:?}");
            match inputs.peek() {
                Some((at, _)) => self
                    .clock
                    .advance_until(self.clock.now() + at.saturating_sub(elapsed)),
                None => assert!(self.clock.advance_to_next(), "everybody waits for nothing"),
            }
        }
    }

    /// Whether every batch is settled and nothing waits.
    async fn is_over(&self) -> bool {
        let store = &self.inside.leader;
        store.unmapped().await.unwrap().changes == 0
            && store.backlogs(None).await.unwrap().is_empty()
            && store.unresolved().await.unwrap().is_empty()
            && store.in_progress().await.unwrap().is_empty()
    }

    pub async fn play_to_the_end(&self, inputs: &[(Duration, Input)], most: Duration) {
        self.play(inputs, most, |_| true).await;
        let began = self.clock.passed();
        while !self.is_over().await {
            let so_far = self.clock.passed().saturating_sub(began);
            assert!(so_far < most, "something is still open after {so_far:?}");
            for _ in 0..20 {
                self.inside.settle().await;
                assert!(self.clock.advance_to_next(), "everybody waits for nothing");
            }
            self.inside.settle().await;
        }
    }

    /// Stops the work and starts it again, as another leader would.
    pub async fn restart(&mut self) {
        {
            let mut stopping = pin!(self.inside.running.stop());
            // Calls under way end, which takes them time.
            while stopping.as_mut().now_or_never().is_none() {
                self.inside.settle().await;
                self.clock.advance_to_next();
            }
        }
        let Inside {
            dispatch, tasks, ..
        } = &self.inside;
        let started = dispatch.start(tasks, Epoch(1)).await;
        self.inside.running = started.unwrap();
    }

    pub async fn end(self) {
        let (tasks, store) = (self.inside.tasks.clone(), self.inside.store.clone());
        let ending = tokio::spawn(async move { tasks.end().await });
        // Calls under way end, which takes them time.
        while !ending.is_finished() {
            self.inside.settle().await;
            self.clock.advance_to_next();
        }
        store.close().await;
        assert_eq!(self.inside.tasks.failed(), None);
    }
}
