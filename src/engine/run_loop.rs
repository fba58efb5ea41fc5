//! The engine's thread: schedule → execute → commit, until told to stop. Where the executor looks ahead, the next step is scheduled and
//! launched before the one that runs is committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::guarded::{Guarded, StepFailure};
use super::handle::Status;
use super::masks::{Constrained, MaskThreads};
use super::on_demand::{Supply, Waited, Waiter};
use super::{EngineError, EventSink, ExecutorError, StepOutput, Ticket};
use crate::scheduler::{Committed, DraftSource, Refusal, Scheduler, Sequence, SequenceId};
use crate::telemetry::{EngineGauges, EngineMetrics, log_line};

/// What the front sends.
#[derive(Debug)]
pub(super) enum Message {
    Submit {
        sequence: Box<Sequence>,
        sink: EventSink,
        constrained: Option<Constrained>,
    },
    ResetCache(oneshot::Sender<usize>),
    Load(Waiter),
    Stop,
}

/// A step that was launched, or could not be.
type Launched = Result<Ticket, ExecutorError>;

/// Messages taken in before a step.
const MAX_MESSAGES: usize = 256;
/// Executors built one after the other that panic without computing a step: whatever is wrong, another one does not mend it.
const MAX_REBUILDS: usize = 3;
/// What is known of an open request beside its sequence.
pub(super) struct Open {
    pub sink: EventSink,
    constrained: Option<Constrained>,
}

const SINK: &str = "a running sequence has a sink: this is a bug";

/// Everything the thread owns.
pub(super) struct EngineLoop {
    pub(super) scheduler: Scheduler,
    pub(super) executor: Guarded,
    /// Where that is there only while it is needed.
    pub(super) supply: Option<Supply>,
    /// The step that is drawn and not collected.
    drawn: Option<Ticket>,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) open: HashMap<SequenceId, Open>,
    masks: MaskThreads,
    pub(super) status: Arc<Status>,
    pub(super) metrics: EngineMetrics,
    committed: Vec<Committed>,
    pub(super) last_finish: Duration,
    /// When there was last something to do.
    pub(super) last_used: Duration,
    /// Executors built since one computed a step.
    num_rebuilds: usize,
}

impl EngineLoop {
    pub(super) fn new(
        scheduler: Scheduler,
        executor: Guarded,
        supply: Option<Supply>,
        inbox: mpsc::Receiver<Message>,
        status: Arc<Status>,
        metrics: EngineMetrics,
    ) -> Result<Self, ExecutorError> {
        let last_finish = status.started.elapsed();
        let masks = MaskThreads::spawn().map_err(|error| {
            ExecutorError(format!(
                "the threads for masks could not be started: {error}"
            ))
        })?;
        Ok(Self {
            scheduler,
            executor,
            supply,
            drawn: None,
            inbox,
            open: HashMap::new(),
            masks,
            status,
            metrics,
            committed: Vec::new(),
            last_finish,
            last_used: last_finish,
            num_rebuilds: 0,
        })
    }

    /// The loop. Ends with an error only when the executor could not be rebuilt after a panic, or that is of no use, and it cannot be loaded
    /// anew either.
    pub(super) fn run(mut self) -> Result<(), ExecutorError> {
        while self.receive() {
            self.remove_cancelled();
            self.expire();
            let launched = self.launch()?;
            self.collect()?;
            self.draw(launched)?;
            if !self.executor.looks_ahead() {
                self.collect()?;
            }
        }
        Ok(())
    }

    /// Plans the next step and launches it, unless there is none, or the step in flight must end first.
    fn launch(&mut self) -> Result<Option<Launched>, ExecutorError> {
        if self.executor.is_absent() {
            return Ok(None);
        }
        let now = self.status.started.elapsed();
        let is_empty = self.scheduler.schedule(now).is_empty();
        self.publish();
        if is_empty {
            return Ok(None);
        }
        match self.executor.launch(self.scheduler.newest_plan()) {
            Ok(ticket) => Ok(Some(Ok(ticket))),
            // The step in flight has to do with it no more than with any other.
            Err(StepFailure::Failed(error)) => Ok(Some(Err(error))),
            Err(StepFailure::Panicked(message)) => self.rebuild(&message).map(|()| None),
        }
    }

    /// Draws a launched step, unless the one before has failed and it was given up as well.
    fn draw(&mut self, launched: Option<Launched>) -> Result<(), ExecutorError> {
        let Some(launched) = launched.filter(|_| !self.scheduler.plan().is_empty()) else {
            return Ok(());
        };
        let drawn = launched.map_err(StepFailure::Failed).and_then(|ticket| {
            let drawn = self.executor.draw(&ticket, self.scheduler.plan());
            drawn.map(|()| ticket)
        });
        match drawn {
            Ok(ticket) => self.drawn = Some(ticket),
            Err(failure) => self.fail(failure)?,
        }
        Ok(())
    }

    /// Waits for the step that is drawn, and commits it.
    fn collect(&mut self) -> Result<(), ExecutorError> {
        let Some(ticket) = self.drawn.take() else {
            return Ok(());
        };
        let num_rows = self.scheduler.plan().samples.len();
        match self.executor.collect(ticket, num_rows) {
            Ok(output) => self.commit(output),
            Err(failure) => self.fail(failure)?,
        }
        Ok(())
    }

    fn fail(&mut self, failure: StepFailure) -> Result<(), ExecutorError> {
        match failure {
            StepFailure::Failed(error) => self.fail_step(&error),
            StepFailure::Panicked(message) => self.rebuild(&message)?,
        }
        Ok(())
    }

    /// Takes in what has arrived, waiting for it when there is nothing else to do. False when the loop is to end.
    fn receive(&mut self) -> bool {
        // Who has left is no part of the crowd that newcomers are measured against.
        if !self.open.is_empty() {
            self.last_used = self.status.started.elapsed();
        }
        self.remove_cancelled();
        if self.drawn.is_none() && (self.open.is_empty() || self.executor.is_absent()) {
            self.publish();
            match self.wait() {
                Waited::For(message) => {
                    // Idle time says nothing about how fast places get free.
                    self.last_finish = self.status.started.elapsed();
                    if !self.take_in(message) {
                        return false;
                    }
                }
                Waited::Time => {}
                Waited::Gone => return false,
            }
        }
        // Bounded, so that a crowd that is refused and comes again cannot hold up those who are served.
        for _ in 0..MAX_MESSAGES {
            let Ok(message) = self.inbox.try_recv() else {
                break;
            };
            if !self.take_in(message) {
                return false;
            }
        }
        true
    }

    /// False when the loop is to end.
    fn take_in(&mut self, message: Message) -> bool {
        match message {
            Message::Stop => return false,
            Message::ResetCache(reply) => {
                // Whoever asked may have left.
                let _ = reply.send(self.scheduler.clear_prefix_cache());
            }
            Message::Load(waiter) => self.need(Some(waiter)),
            Message::Submit {
                sequence,
                sink,
                constrained,
            } => self.admit(*sequence, Open { sink, constrained }),
        }
        true
    }

    /// Queues a sequence, unless it is refused or nobody waits for it any more.
    fn admit(&mut self, sequence: Sequence, open: Open) {
        if open.sink.is_cancelled() {
            return;
        }
        self.need(None);
        let id = sequence.id;
        match self.scheduler.add(sequence, self.status.started.elapsed()) {
            Ok(()) => {
                if let Some(constrained) = &open.constrained {
                    self.masks.compute(constrained, None);
                }
                self.open.insert(id, open);
            }
            Err(refusal) => open.sink.fail(refusal.into()),
        }
    }

    /// Ends what has waited for too long.
    fn expire(&mut self) {
        for id in self.scheduler.expire(self.status.started.elapsed()) {
            if let Some(open) = self.open.remove(&id) {
                open.sink.fail(Refusal::Late.into());
            }
        }
    }

    /// Shows the gauges of the step about to run, or of rest.
    fn publish(&self) {
        let drafts = DraftSource::ALL.map(|source| self.scheduler.drafts(source));
        self.metrics.set(&EngineGauges {
            num_running: self.scheduler.num_running(),
            num_waiting: self.scheduler.num_waiting(),
            kv_usage: self.scheduler.kv_usage(),
            num_preemptions: self.scheduler.num_preemptions(),
            num_drafted: drafts.map(|drafts| drafts.num_drafted),
            num_accepted: drafts.map(|drafts| drafts.num_accepted),
            num_saves: self.scheduler.pool().num_saves(),
            num_loads: self.scheduler.pool().num_loads(),
        });
    }

    /// Frees the sequences whose readers have left.
    fn remove_cancelled(&mut self) {
        let before = self.open.len();
        let (scheduler, metrics) = (&self.scheduler, &self.metrics);
        self.open.retain(|id, open| {
            let is_cancelled = open.sink.is_cancelled();
            if is_cancelled && open.sink.is_abandoned() {
                metrics.wasted(scheduler.num_in_flight(*id));
            }
            !is_cancelled
        });
        if self.open.len() < before {
            self.scheduler.cancel(|id| !self.open.contains_key(&id));
        }
    }

    fn commit(&mut self, output: StepOutput) {
        let now = self.status.started.elapsed();
        self.num_rebuilds = 0;
        self.metrics.step(self.scheduler.plan().num_tokens());
        self.count_wasted();
        self.status
            .last_step_ms
            .store(now.as_millis().max(1) as u64, Ordering::Relaxed);
        let (waited, slowdown) = self.executor.turn();
        self.scheduler.note_turn(waited, slowdown);
        self.scheduler
            .commit(output.sampled, now, &mut self.committed);
        for event in std::mem::take(&mut self.committed).drain(..) {
            self.deliver(event, now);
        }
    }

    fn deliver(&mut self, event: Committed, now: Duration) {
        let Committed {
            id,
            token,
            timing,
            prompt_logprobs,
            finish,
        } = event;
        let open = self.open.get_mut(&id).expect(SINK);
        if !prompt_logprobs.is_empty() {
            open.sink.prompt(prompt_logprobs);
        }
        if let (Some(token), None) = (&token, finish) {
            if let Some(constrained) = &open.constrained {
                self.masks.compute(constrained, Some(token.token_id));
            }
            open.sink.token(token.clone(), timing);
            return;
        }
        let Open { sink, constrained } = self.open.remove(&id).expect(SINK);
        match token.zip(finish) {
            Some((token, reason)) => {
                sink.finish(token, timing, reason);
                self.note_completion(now);
            }
            None => {
                let failure = constrained.and_then(|constrained| constrained.slot.failure());
                sink.fail(failure.map_or(EngineError::NoToken, EngineError::Constraint));
            }
        }
    }

    /// Smooths the time between two finished requests, from which `Retry-After` is told.
    fn note_completion(&mut self, now: Duration) {
        let interval = now.saturating_sub(self.last_finish).as_millis() as u64;
        self.last_finish = now;
        let shared = &self.status.completion_interval_ms;
        let smoothed = (shared.load(Ordering::Relaxed) * 7 + interval) / 8;
        shared.store(smoothed, Ordering::Relaxed);
    }

    /// Counts the tokens of this step whose reader left while it ran.
    fn count_wasted(&self) {
        let plan = self.scheduler.plan();
        for (s, id) in plan.sequences.iter().enumerate() {
            if self
                .open
                .get(id)
                .is_some_and(|open| open.sink.is_abandoned())
            {
                self.metrics
                    .wasted(u64::from(plan.cu_seqlens_q[s + 1] - plan.cu_seqlens_q[s]));
            }
        }
    }

    /// Ends the sequences of a failed step; the others have lost nothing.
    fn fail_step(&mut self, error: &ExecutorError) {
        for id in &self.scheduler.plan().sequences {
            if let Some(open) = self.open.remove(id) {
                open.sink.fail(EngineError::Step(error.to_string()));
            }
        }
        let now = self.status.started.elapsed();
        self.scheduler.abandon_step(now);
    }

    /// Ends the sequences in flight, one of which may be to blame, and builds a new executor, since what this one holds can't be trusted any
    /// more. The others are computed anew.
    fn rebuild(&mut self, message: &str) -> Result<(), ExecutorError> {
        log_line(&format!("the executor panicked and is rebuilt: {message}"));
        self.drawn = None;
        for id in self.scheduler.lose_cache(self.status.started.elapsed()) {
            if let Some(open) = self.open.remove(&id) {
                open.sink.fail(EngineError::Panic);
            }
        }
        self.num_rebuilds += 1;
        let rebuilt = match self.num_rebuilds > MAX_REBUILDS {
            true => Err(ExecutorError(format!(
                "it panicked {} times without computing a step, the last time: {message}",
                self.num_rebuilds
            ))),
            false => self.executor.rebuild(),
        };
        match rebuilt {
            Err(error) if self.supply.is_some() => {
                self.num_rebuilds = 0;
                self.give_up(&error.to_string());
                Ok(())
            }
            rebuilt => rebuilt,
        }
    }
}
