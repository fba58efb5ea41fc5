//! An engine that has something to compute with only while it is needed.
//!
//! Its thread is always there, and its queue: requests are taken, refused and given up as ever. What executors are built of is loaded, on
//! a thread of its own, when the first request comes, and given back when nothing has been asked for a while.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::guarded::message;
use super::run_loop::{EngineLoop, Message};
use super::{EngineError, ExecutorError, ExecutorFactory};
use crate::telemetry::log_line;

/// Loads what executors are built of. It is held by the factory that this gives, and given back with it and its executors.
pub type ExecutorLoader = Box<dyn FnMut() -> Result<ExecutorFactory, ExecutorError> + Send>;

/// What an engine that is not always loaded needs to know.
pub struct OnDemand {
    /// What the log calls it.
    pub name: String,
    /// Called again after each time that what it loaded was given back, and never while that is still there.
    pub loader: ExecutorLoader,
    /// How long nothing must be asked until what was loaded is given back; `None` for never.
    pub unload_after: Option<Duration>,
}

/// Where an engine's executors come from.
pub enum ExecutorSource {
    /// One is built at the start, and again after a panic.
    Kept(ExecutorFactory),
    /// There is one only while it is needed. What cannot be built fails the requests that wait for it; the next one has it loaded again.
    OnDemand(OnDemand),
}

/// Whether an engine has what it computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Presence {
    /// It is loaded when it is needed.
    Unloaded,
    /// Somebody waits for it.
    Loading,
    /// It computes, or can.
    Loaded,
}

impl Presence {
    /// As `/v1/models` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unloaded => "unloaded",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
        }
    }
}

/// What came of loading.
type Loaded = Result<ExecutorFactory, ExecutorError>;
/// Who waits for it to be loaded.
pub(super) type Waiter = oneshot::Sender<Result<(), ExecutorError>>;

/// Between two looks at whether loading is done, and whether somebody has waited too long.
const POLL: Duration = Duration::from_millis(10);
/// Between two looks at whether somebody who was refused may still come back.
const RETURNS: Duration = Duration::from_millis(100);

/// How the loop gets what it computes with.
pub(super) struct Supply {
    name: String,
    /// Locked by the thread that loads.
    loader: Arc<Mutex<ExecutorLoader>>,
    unload_after: Option<Duration>,
    loading: Option<mpsc::Receiver<Loaded>>,
    began: Instant,
    /// How long that took the last time.
    last_took: Option<Duration>,
    waiters: Vec<Waiter>,
}

impl From<OnDemand> for Supply {
    fn from(on_demand: OnDemand) -> Self {
        Self {
            name: on_demand.name,
            loader: Arc::new(Mutex::new(on_demand.loader)),
            unload_after: on_demand.unload_after,
            loading: None,
            began: Instant::now(),
            last_took: None,
            waiters: Vec::new(),
        }
    }
}

impl Supply {
    fn begin(&mut self) {
        let (done, loading) = mpsc::channel();
        (self.loading, self.began) = (Some(loading), Instant::now());
        let not_started = done.clone();
        let loader = Arc::clone(&self.loader);
        let load = move || {
            let loaded = catch_unwind(AssertUnwindSafe(|| {
                loader.lock().unwrap_or_else(PoisonError::into_inner)()
            }));
            let panicked = |panic: Box<dyn Any + Send>| Err(ExecutorError(message(&*panic)));
            // Nobody waits for it where the engine was stopped.
            let _ = done.send(loaded.unwrap_or_else(panicked));
        };
        let thread = thread::Builder::new().name("load-model".into());
        if let Err(error) = thread.spawn(load) {
            let why = format!("no thread could be started for it: {error}");
            let _ = not_started.send(Err(ExecutorError(why)));
        }
    }

    /// What came of loading, once it has ended.
    fn end(&mut self) -> Option<Loaded> {
        let loaded = self.loading.as_ref()?.try_recv().ok()?;
        self.loading = None;
        Some(loaded)
    }
}

/// What waiting for a message came to.
pub(super) enum Waited {
    For(Message),
    /// Time brought something.
    Time,
    /// Every handle is gone.
    Gone,
}

impl EngineLoop {
    /// Waits for a message, while nothing can be computed. Takes in what was loaded, and lets go what has not been needed for a while.
    pub(super) fn wait(&mut self) -> Waited {
        self.end_loading();
        let is_there = !self.executor.is_absent();
        let now = self.status.started.elapsed();
        let patience = match &self.supply {
            Some(supply) if supply.loading.is_some() => Some(POLL),
            _ if is_there && !self.open.is_empty() => return Waited::Time,
            Some(Supply {
                unload_after: Some(after),
                ..
            }) if is_there => Some(match self.scheduler.awaits_return(now) {
                // Who comes back as told is to find it.
                true => RETURNS,
                false => (self.last_used + *after).saturating_sub(now),
            }),
            _ => None,
        };
        let Some(patience) = patience else {
            return self.inbox.recv().map_or(Waited::Gone, Waited::For);
        };
        match self.inbox.recv_timeout(patience) {
            Ok(message) => Waited::For(message),
            Err(mpsc::RecvTimeoutError::Disconnected) => Waited::Gone,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if is_there {
                    self.unload_idle();
                }
                Waited::Time
            }
        }
    }

    /// Sees to it that there is something to compute with, and tells `waiter` once there is, or why not.
    pub(super) fn need(&mut self, waiter: Option<Waiter>) {
        let Some(supply) = self.supply.as_mut().filter(|_| self.executor.is_absent()) else {
            // It may have left.
            waiter.map(|waiter| waiter.send(Ok(())));
            return;
        };
        supply.waiters.extend(waiter);
        if supply.loading.is_none() {
            log_line(&format!("{} is being loaded", supply.name));
            supply.begin();
            let takes = supply.last_took.unwrap_or_default();
            let now = self.status.started.elapsed();
            self.scheduler.starts_at(now + takes);
            self.status.set_presence(Presence::Loading, &self.metrics);
        }
    }

    /// Unloads what was not used for long enough.
    fn unload_idle(&mut self) {
        let now = self.status.started.elapsed();
        let unused = now.saturating_sub(self.last_used);
        let unload_after = self.supply.as_ref().and_then(|supply| supply.unload_after);
        let is_due = unload_after.is_some_and(|after| unused >= after);
        if !is_due || self.scheduler.awaits_return(now) {
            return;
        }
        self.unload();
        if let Some(supply) = &self.supply {
            log_line(&format!(
                "{} is unloaded, idle for {unused:.1?}",
                supply.name
            ));
        }
    }

    fn end_loading(&mut self) {
        let Some(loaded) = self.supply.as_mut().and_then(Supply::end) else {
            return;
        };
        let filled = loaded.and_then(|factory| self.executor.fill(factory));
        match filled {
            Ok(()) => {
                // The time that it took says nothing about how fast places get free.
                self.last_finish = self.status.started.elapsed();
                self.last_used = self.last_finish;
                if let Some(supply) = &mut self.supply {
                    supply.last_took = Some(supply.began.elapsed());
                }
                self.scheduler.starts_at(Duration::ZERO);
                self.status.set_presence(Presence::Loaded, &self.metrics);
                self.answer_waiters(|| Ok(()));
            }
            Err(ExecutorError(why)) => self.give_up(&why),
        }
    }

    /// What it computes with cannot be had: everybody who waits for it hears so, and the next who comes has it tried again.
    pub(super) fn give_up(&mut self, why: &str) {
        if let Some(supply) = &self.supply {
            log_line(&format!("{} cannot be loaded: {why}", supply.name));
        }
        self.unload();
        for (_, open) in self.open.drain() {
            open.sink.fail(EngineError::NotLoaded(why.to_owned()));
        }
        self.scheduler.cancel(|_| true);
        self.answer_waiters(|| Err(ExecutorError(why.to_owned())));
    }

    fn answer_waiters(&mut self, result: impl Fn() -> Result<(), ExecutorError>) {
        let supply = self.supply.as_mut();
        for waiter in supply
            .into_iter()
            .flat_map(|supply| supply.waiters.drain(..))
        {
            // It may have left.
            let _ = waiter.send(result());
        }
    }

    /// Gives back what it computes with. No step is in flight.
    fn unload(&mut self) {
        self.status.set_presence(Presence::Unloaded, &self.metrics);
        self.executor.empty();
        let in_flight = self.scheduler.lose_cache(self.status.started.elapsed());
        assert!(in_flight.is_empty(), "a step is in flight: this is a bug");
    }
}
