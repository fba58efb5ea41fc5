//! Engines that compute on the same cores: one step at a time, and time by their weights.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Executor, ExecutorError, ExecutorFactory, StepOutput, Ticket};
use crate::scheduler::StepPlan;

/// Whose turn it is. Cheap to clone.
///
/// Two steps at once would share the cores in ways that neither engine foresees. The turn goes to who has had the least time for its weight; who
/// was idle is not paid for it. An engine that has just ended a step is about to ask for the next, so one that has had
/// more waits for it that long.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    takers: Vec<Taker>,
    /// The most that anybody had had when a turn began.
    virtual_time: Duration,
}

/// One engine.
#[derive(Debug)]
struct Taker {
    /// The part of all time that it has when all are busy is that of its weight in theirs.
    weight: u32,
    /// Time it had, for each unit of its weight.
    used: Duration,
    is_waiting: bool,
    /// Since when it computes.
    computes_since: Option<Instant>,
    /// When its last turn ended.
    ended: Option<Instant>,
}

/// Nobody waits longer for a step of somebody else: it hangs, or is so long that nobody's time is lost by sharing the cores with it.
const STUCK: Duration = Duration::from_secs(5);
/// What lies between two steps of a busy engine, at most.
const PAUSE: Duration = Duration::from_micros(300);

/// The place of one engine among those that take turns. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Seat {
    turns: Arc<Shared>,
    taker: usize,
}

impl Turns {
    /// For an engine that has the part of all time that its `weight`, of 1 at least, is of those of all.
    pub fn seat(&self, weight: u32) -> Seat {
        let mut state = self.shared.lock();
        state.takers.push(Taker::new(weight));
        Seat {
            turns: Arc::clone(&self.shared),
            taker: state.takers.len() - 1,
        }
    }
}

impl Seat {
    /// Executors of `factory` that compute in their turn.
    pub fn taken_by(self, mut factory: ExecutorFactory) -> ExecutorFactory {
        Box::new(move || {
            Ok(Box::new(InTurn {
                executor: factory()?,
                turns: Arc::clone(&self.turns),
                taker: self.taker,
                turn: None,
                waited: Duration::ZERO,
            }))
        })
    }
}

impl Shared {
    // Nothing is half done when a holder panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, taker: usize) -> Turn {
        let mut state = self.lock();
        state.enter(taker, Instant::now());
        loop {
            let patience = match state.may_take(taker, Instant::now()) {
                Ok(()) => break,
                Err(patience) => patience,
            };
            state = match patience {
                // Somebody's end wakes all that wait.
                None => (self.changed.wait(state)).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(state, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.begin(taker, Instant::now());
        drop(state);
        Turn {
            turns: Arc::clone(self),
            taker,
        }
    }
}

impl Taker {
    fn new(weight: u32) -> Self {
        Self {
            weight: weight.max(1),
            used: Duration::ZERO,
            is_waiting: false,
            computes_since: None,
            ended: None,
        }
    }

    /// Whether its last turn ended so lately that it is about to ask for the next.
    fn is_back_soon(&self, now: Instant) -> bool {
        (self.ended).is_some_and(|ended| now.saturating_duration_since(ended) < PAUSE)
    }

    /// Whether it asks for a turn, or is about to.
    fn asks(&self, now: Instant) -> bool {
        self.is_waiting || self.is_back_soon(now)
    }
}

impl State {
    /// Joins those that wait. Time not asked for is not saved up: who comes from idleness has had as much as the one whose turn it was
    /// last had before. Source: Goyal, Vin and Cheng, "Start-time fair queueing", 1996.
    fn enter(&mut self, taker: usize, now: Instant) {
        let taker = &mut self.takers[taker];
        if !taker.is_back_soon(now) {
            taker.used = taker.used.max(self.virtual_time);
        }
        taker.is_waiting = true;
    }

    /// Whether it is this one's turn; else how long to wait at most before looking again.
    fn may_take(&self, taker: usize, now: Instant) -> Result<(), Option<Duration>> {
        // A step that hangs must not stop those of others.
        let computing = self.takers.iter().filter_map(|other| other.computes_since);
        let left = |since: Instant| STUCK.saturating_sub(now.saturating_duration_since(since));
        if let Some(left) = computing.map(left).max().filter(|left| !left.is_zero()) {
            return Err(Some(left));
        }
        let used = self.takers[taker].used;
        let others = self.takers.iter().enumerate();
        let before = |&(i, other): &(usize, &Taker)| (other.used, i) < (used, taker);
        let ahead: Vec<&Taker> = (others.filter(before))
            .map(|(_, other)| other)
            .filter(|other| other.asks(now))
            .collect();
        if ahead.is_empty() {
            return Ok(());
        }
        match ahead.iter().any(|other| other.is_waiting) {
            true => Err(None),
            false => Err(Some(PAUSE)),
        }
    }

    fn begin(&mut self, taker: usize, now: Instant) {
        let taker = &mut self.takers[taker];
        (taker.is_waiting, taker.computes_since) = (false, Some(now));
        self.virtual_time = self.virtual_time.max(taker.used);
    }

    fn end(&mut self, taker: usize, now: Instant) {
        let taker = &mut self.takers[taker];
        let since = taker.computes_since.take();
        taker.used += since.map_or(Duration::ZERO, |since| now - since) / taker.weight;
        taker.ended = Some(now);
    }
}

/// A turn; over when it is dropped.
struct Turn {
    turns: Arc<Shared>,
    taker: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.end(self.taker, Instant::now());
        drop(state);
        self.turns.changed.notify_all();
    }
}

/// An executor that computes in its turn, from a step's launch until it is collected, or fails.
struct InTurn {
    executor: Box<dyn Executor>,
    turns: Arc<Shared>,
    taker: usize,
    turn: Option<Turn>,
    /// For the last turn.
    waited: Duration,
}

impl InTurn {
    fn ending<T>(&mut self, done: Result<T, ExecutorError>) -> Result<T, ExecutorError> {
        if done.is_err() {
            self.turn = None;
        }
        done
    }
}

impl Executor for InTurn {
    // One that looks ahead would keep its turn for ever.
    fn looks_ahead(&self) -> bool {
        false
    }

    fn turn(&self) -> (Duration, f64) {
        let state = self.turns.lock();
        let all: u32 = state.takers.iter().map(|taker| taker.weight).sum();
        let own = state.takers[self.taker].weight;
        (self.waited, f64::from(all) / f64::from(own))
    }

    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        if self.turn.is_none() {
            let asked = Instant::now();
            self.turn = Some(self.turns.take(self.taker));
            self.waited = asked.elapsed();
        }
        let launched = self.executor.launch(plan);
        self.ending(launched)
    }

    fn draw(&mut self, ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        let drawn = self.executor.draw(ticket, plan);
        self.ending(drawn)
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        let output = self.executor.collect(ticket);
        self.turn = None;
        output
    }
}

#[cfg(test)]
mod tests;
