//! The async side: submit requests, watch the engine's health, stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::guarded::Guarded;
use super::masks::Constrained;
use super::places::{Place, Places};
use super::run_loop::{EngineLoop, Message};
use super::{EventSink, EventStream, ExecutorError, ExecutorFactory, ExecutorSource, Presence};
use crate::kv::BlockPool;
use crate::request::GenerateRequest;
use crate::scheduler::{Drafter, PromptLookup, Scheduler, SchedulerConfig, Sequence, SequenceId};
use crate::telemetry::EngineMetrics;

/// The sizes of one engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Limits of a step and of a sequence.
    pub scheduler: SchedulerConfig,
    /// Blocks of the KV cache.
    pub num_blocks: usize,
    /// Blocks of the host's arena, where what is thrown out of the cache goes; 0 for none.
    pub num_host_blocks: usize,
    /// Tokens a block.
    pub block_size: usize,
    /// Requests that may wait beyond those that run; more are refused.
    pub max_waiting: usize,
    /// Whether there are several tenants, none of whom may take all places.
    pub has_tenants: bool,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("the server is at its limit of open requests; retry after {} s", .retry_after.as_secs())]
    QueueFull {
        /// When a place is likely to be free.
        retry_after: Duration,
    },
    /// The server is shutting down.
    #[error("the server is shutting down and takes no new requests")]
    Draining,
    /// The engine's thread has ended.
    #[error("the engine is not running")]
    Stopped,
}

/// What the loop publishes for the front to read; each field is independent of the others.
#[derive(Debug)]
pub(super) struct Status {
    /// The clock of every duration here.
    pub started: Instant,
    /// When a step was last computed, in ms after `started`; 0 for never.
    pub last_step_ms: AtomicU64,
    /// Smoothed time between two finished requests, in ms.
    pub completion_interval_ms: AtomicU64,
    presence: AtomicU8,
}

impl Status {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            last_step_ms: AtomicU64::new(0),
            completion_interval_ms: AtomicU64::new(0),
            presence: AtomicU8::new(Presence::Unloaded as u8),
        }
    }

    pub fn set_presence(&self, presence: Presence, metrics: &EngineMetrics) {
        self.presence.store(presence as u8, Ordering::Relaxed);
        metrics.loaded(presence == Presence::Loaded);
    }

    fn presence(&self) -> Presence {
        let presence = self.presence.load(Ordering::Relaxed);
        [Presence::Unloaded, Presence::Loading, Presence::Loaded][usize::from(presence)]
    }
}

/// Resolves when an engine's thread ends.
type Ended = oneshot::Receiver<Result<(), ExecutorError>>;

#[derive(Debug)]
struct Shared {
    inbox: mpsc::Sender<Message>,
    places: Places,
    draining: AtomicBool,
    /// True once the engine is told to stop, also while its thread is still inside a step.
    stopped: watch::Sender<bool>,
    status: Arc<Status>,
    block_size: usize,
    is_on_demand: bool,
    next_id: AtomicU64,
}

/// A cheap, cloneable way to reach one engine.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    shared: Arc<Shared>,
}

impl EngineHandle {
    /// Starts an engine thread that keeps an executor of `factory`, and waits until that is built; drafts are looked up.
    ///
    /// # Errors
    /// As [`EngineHandle::spawn_with`].
    pub fn spawn(
        config: EngineConfig,
        factory: ExecutorFactory,
        metrics: EngineMetrics,
    ) -> Result<(Self, Ended), ExecutorError> {
        let source = ExecutorSource::Kept(factory);
        Self::spawn_with(Box::new(PromptLookup), config, source, metrics)
    }

    /// Starts an engine thread that takes drafts from `drafter`, and waits until its executor is built, where that is to be kept.
    ///
    /// The receiver resolves when the thread ends: `Ok` after [`EngineHandle::stop`] or when every handle is gone, an
    /// error when an executor that is kept could not be rebuilt after a panic.
    ///
    /// # Errors
    /// If the executor could not be built, or the thread not be started.
    pub fn spawn_with(
        drafter: Box<dyn Drafter>,
        config: EngineConfig,
        source: ExecutorSource,
        metrics: EngineMetrics,
    ) -> Result<(Self, Ended), ExecutorError> {
        let (inbox, messages) = mpsc::channel();
        let status = Arc::new(Status::new());
        let is_on_demand = matches!(source, ExecutorSource::OnDemand(_));
        let (built_tx, built_rx) = mpsc::channel();
        let (ended_tx, ended_rx) = oneshot::channel();
        let scheduler = Scheduler::new(
            config.scheduler,
            BlockPool::new(config.num_blocks, config.block_size)
                .with_host_arena(config.num_host_blocks),
        )
        .with_drafter(drafter);
        let loop_status = Arc::clone(&status);
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || {
                let (executor, supply) = match source {
                    ExecutorSource::OnDemand(on_demand) => {
                        (Guarded::default(), Some(on_demand.into()))
                    }
                    ExecutorSource::Kept(factory) => match Guarded::built(factory) {
                        Ok(executor) => (executor, None),
                        Err(error) => return drop(built_tx.send(Err(error))),
                    },
                };
                let presence = match executor.is_absent() {
                    true => Presence::Unloaded,
                    false => Presence::Loaded,
                };
                loop_status.set_presence(presence, &metrics);
                // The receivers may be gone when the process is already on its way out.
                let _ = built_tx.send(Ok(()));
                let ended =
                    EngineLoop::new(scheduler, executor, supply, messages, loop_status, metrics)
                        .and_then(EngineLoop::run);
                let _ = ended_tx.send(ended);
            })
            .map_err(|error| {
                ExecutorError(format!("the engine thread could not be started: {error}"))
            })?;
        built_rx
            .recv()
            .map_err(|_| ExecutorError("the executor panicked while it was built".into()))??;
        let num_places = config.scheduler.max_num_seqs + config.max_waiting;
        let places = Places::new(num_places, config.has_tenants);
        Ok((
            Self {
                shared: Arc::new(Shared {
                    inbox,
                    places,
                    draining: AtomicBool::new(false),
                    stopped: watch::Sender::new(false),
                    status,
                    block_size: config.block_size,
                    is_on_demand,
                    next_id: AtomicU64::new(0),
                }),
            },
            ended_rx,
        ))
    }

    /// Whether a request of `tenant` would be accepted now: for refusing it before the work of preparing it.
    pub fn check_room(&self, tenant: &str) -> Result<(), SubmitError> {
        if self.is_draining() {
            return Err(SubmitError::Draining);
        }
        match self.shared.places.has_room(tenant) {
            true => Ok(()),
            false => Err(self.queue_full()),
        }
    }

    fn queue_full(&self) -> SubmitError {
        SubmitError::QueueFull {
            retry_after: self.retry_after(),
        }
    }

    /// Requests that can be submitted at once by one tenant, if nobody else has any open.
    pub fn max_at_once(&self) -> usize {
        self.shared.places.most_for_one()
    }

    /// Queues a request. Dropping the stream cancels it; its blocks are free before the next step.
    pub fn submit(&self, request: GenerateRequest) -> Result<EventStream, SubmitError> {
        let place = self.take_place(&request)?;
        self.start(request, place)
    }

    /// Queues all of `requests`, or none where there is not room for all.
    pub fn submit_all(
        &self,
        requests: Vec<GenerateRequest>,
    ) -> Result<Vec<EventStream>, SubmitError> {
        let places = requests.iter().map(|request| self.take_place(request));
        let places: Vec<Place> = places.collect::<Result<_, _>>()?;
        let all = requests.into_iter().zip(places);
        all.map(|(request, place)| self.start(request, place))
            .collect()
    }

    fn take_place(&self, request: &GenerateRequest) -> Result<Place, SubmitError> {
        if self.is_draining() {
            return Err(SubmitError::Draining);
        }
        let place = self.shared.places.take(&request.tenant);
        place.ok_or_else(|| self.queue_full())
    }

    fn start(
        &self,
        mut request: GenerateRequest,
        place: Place,
    ) -> Result<EventStream, SubmitError> {
        let (sink, stream) = EventSink::new(
            request.stop.max_tokens,
            place,
            self.shared.stopped.subscribe(),
        );
        let id = SequenceId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let arrival = self.shared.status.started.elapsed();
        // Made here, because hashing a long prompt would hold up the engine's thread.
        let rule = request.constraint.take();
        let sequence = Sequence::new(id, request, arrival, self.shared.block_size);
        let mut sequence = Box::new(sequence);
        let constrained = rule.map(|rule| Constrained::new(rule, Arc::default()));
        sequence.mask = constrained.as_ref().map(|new| Arc::clone(&new.slot));
        let submit = Message::Submit {
            sequence,
            sink,
            constrained,
        };
        match self.shared.inbox.send(submit) {
            Ok(()) => Ok(stream),
            Err(_) => Err(SubmitError::Stopped),
        }
    }

    /// The time in which one place is likely to be free, at least a second.
    fn retry_after(&self) -> Duration {
        let interval = self
            .shared
            .status
            .completion_interval_ms
            .load(Ordering::Relaxed);
        Duration::from_secs(interval.div_ceil(1000).clamp(1, 60))
    }

    /// Forgets what the prefix cache and the host hold, before the next step, and says how many blocks that were. What runs
    /// goes on.
    pub async fn reset_cache(&self) -> Result<usize, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.inbox.send(Message::ResetCache(reply));
        sent.map_err(|_| SubmitError::Stopped)?;
        answer.await.map_err(|_| SubmitError::Stopped)
    }

    /// Has it load what it computes with, and waits until it is there.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn load(&self) -> Result<(), ExecutorError> {
        let stopped = || ExecutorError(SubmitError::Stopped.to_string());
        let (waiter, loaded) = oneshot::channel();
        let sent = self.shared.inbox.send(Message::Load(waiter));
        sent.map_err(|_| stopped())?;
        loaded.await.map_err(|_| stopped())?
    }

    /// Whether it has what it computes with only while that is needed.
    pub fn is_on_demand(&self) -> bool {
        self.shared.is_on_demand
    }

    /// Whether it has what it computes with.
    pub fn presence(&self) -> Presence {
        self.shared.status.presence()
    }

    /// Refuses new requests from now on; those accepted go on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
    }

    /// Whether new requests are refused.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::SeqCst)
    }

    /// Requests accepted and not yet ended.
    pub fn num_open(&self) -> usize {
        self.shared.places.num_taken()
    }

    /// Resolves when no accepted request is open. For use after [`EngineHandle::drain`]: it takes every place.
    pub async fn drained(&self) {
        self.shared.places.all_free().await;
    }

    /// Ends the thread before its next step; open requests hear [`super::EngineError::ShutDown`] at once.
    pub fn stop(&self) {
        self.shared.stopped.send_replace(true);
        // An error means that it has ended already.
        let _ = self.shared.inbox.send(Message::Stop);
    }

    /// How long ago the model last computed a step.
    pub fn since_last_step(&self) -> Option<Duration> {
        let at = self.shared.status.last_step_ms.load(Ordering::Relaxed);
        (at > 0).then(|| {
            self.shared
                .status
                .started
                .elapsed()
                .saturating_sub(Duration::from_millis(at))
        })
    }
}
