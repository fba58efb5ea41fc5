//! When a request will get its first token, told by playing through the steps until then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Add, AddAssign, Mul, SubAssign};
use std::time::Duration;

use super::budget::{shared_limit, within_reach};
use super::cost::{CostModel, StepSize};
use super::speculation::{DraftYield, MAX_EXTRA_SAMPLES};
use super::{SchedulerConfig, Sequence};

/// What requests bring with them, as sums, so that a queue of thousands is looked at in no time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub num_sequences: f64,
    /// Token rows until they have their first token.
    pub num_rows: f64,
    /// Cached tokens that those rows attend to, summed over rows.
    pub num_attended: f64,
    /// Tokens that they may be given.
    pub max_outputs: f64,
}

impl Add for Load {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.num_sequences += other.num_sequences;
        self.num_rows += other.num_rows;
        self.num_attended += other.num_attended;
        self.max_outputs += other.max_outputs;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        *self += other * -1.0;
    }
}

impl Mul<f64> for Load {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self {
            num_sequences: self.num_sequences * factor,
            num_rows: self.num_rows * factor,
            num_attended: self.num_attended * factor,
            max_outputs: self.max_outputs * factor,
        }
    }
}

impl Load {
    /// The same with more rows, of a prompt of which nothing is cached.
    pub fn with_rows(self, num_rows: f64) -> Self {
        Self {
            num_rows: self.num_rows.max(num_rows),
            num_attended: self.num_attended.max(num_rows * (num_rows + 1.0) / 2.0),
            ..self
        }
    }

    /// Of one sequence, which may be given `max_outputs` tokens, once `num_cached` of its tokens are in the cache.
    pub fn of(sequence: &Sequence, num_cached: usize, max_outputs: usize) -> Self {
        let mut size = StepSize::default();
        size.add_rows(sequence.tokens.len() - num_cached, num_cached);
        Self {
            num_sequences: 1.0,
            num_rows: size.num_tokens as f64,
            num_attended: size.num_attended as f64,
            max_outputs: max_outputs as f64,
        }
    }
}

/// Sequences of a queue that are played through one by one; the others take as long on average.
const MAX_PLAYED: f64 = 256.0;

/// The steps to come. Prompts are computed one after the other beside the decodes, each as soon as it has a place. Each token may
/// be a sequence's last with the same chance: the lengths are the quantiles of that distribution, taken in an order that
/// spreads them (multiples of the golden ratio), for what counts is when the first of many is done.
#[derive(Clone, Debug)]
pub(super) struct Forecast<'a> {
    cost: &'a CostModel,
    max_num_batched_tokens: usize,
    target: Option<Duration>,
    num_places: usize,
    /// The chance of a token to be the last.
    stop_rate: f64,
    drafts: DraftYield,
    num_decodes: u32,
    /// The steps after which those that decode are done.
    ends: BinaryHeap<Reverse<u64>>,
    /// Cached tokens that a decode attends to, on average.
    context: usize,
    /// Prompt rows that fill no step yet, and the cached tokens that each attends to, on average.
    num_rows: f64,
    attended: f64,
    step: u64,
    seconds: f64,
}

impl<'a> Forecast<'a> {
    /// Starts from what is running, of which `num_places` may run, and ends with a token at the chance of `stop_rate`. Newcomers
    /// are given as many tokens a step as `drafts` says. Prompts for which `comes_first` does not hold keep their places and no more.
    pub fn new(
        config: &SchedulerConfig,
        cost: &'a CostModel,
        running: &[&Sequence],
        num_places: usize,
        stop_rate: f64,
        drafts: DraftYield,
        comes_first: impl Fn(&Sequence) -> bool,
    ) -> Self {
        let context: usize = running.iter().map(|s| s.tokens.len()).sum();
        let mut forecast = Self {
            cost,
            max_num_batched_tokens: config.max_num_batched_tokens,
            target: config.target_itl,
            num_places: num_places.max(1),
            stop_rate,
            drafts,
            num_decodes: 0,
            ends: BinaryHeap::new(),
            context: context / running.len().max(1),
            num_rows: 0.0,
            attended: 0.0,
            step: 0,
            seconds: 0.0,
        };
        let (decodes, prompts): (Vec<&Sequence>, Vec<&Sequence>) = running
            .iter()
            .copied()
            .partition(|s| s.num_uncomputed_tokens() == 1);
        for sequence in decodes {
            let max_outputs = sequence.max_outputs_left(config.max_model_len);
            forecast.decode(max_outputs as f64, sequence.draft.pace());
        }
        for sequence in prompts {
            let max_outputs = sequence.max_outputs_left(config.max_model_len);
            let load = Load::of(sequence, sequence.num_computed_tokens, max_outputs);
            if comes_first(sequence) {
                forecast.prompt(load);
            }
            forecast.decode(load.max_outputs, forecast.drafts.pace());
        }
        forecast
    }

    /// The same, where a step in flight has to end first.
    pub fn after(mut self, time_left: Duration) -> Self {
        self.seconds += time_left.as_secs_f64();
        self
    }

    /// The time until a request that comes after `ahead` has its first token.
    pub fn first_token(mut self, ahead: Load, own: Load) -> Duration {
        let count = ahead.num_sequences.round();
        if count >= 1.0 {
            let each = ahead * (1.0 / ahead.num_sequences);
            let start = self.seconds;
            let num_played = count.min(MAX_PLAYED);
            for _ in 0..num_played as usize {
                self.admit(each);
                self.decode(each.max_outputs, self.drafts.pace());
            }
            self.seconds += (self.seconds - start) * (count / num_played - 1.0);
        }
        self.admit(own);
        self.flush();
        Duration::from_secs_f64(self.seconds.min(1e6))
    }

    /// Prompt rows that are computed in so long a time, beside what runs.
    pub fn rows_within(&self, time: Duration) -> usize {
        let per_step = self.rows_per_step();
        let each = self.cost.predict(self.size(per_step));
        (time.as_secs_f64() / each.as_secs_f64().max(1e-9) * per_step as f64) as usize
    }

    /// A prompt that has to wait for a place.
    fn admit(&mut self, load: Load) {
        while self.ends.len() >= self.num_places {
            self.flush();
            if let Some(num_steps) = self.num_until_end() {
                self.run(num_steps, 0);
            }
        }
        self.prompt(load);
    }

    /// Computes a prompt, but for the rows that leave room in their step.
    fn prompt(&mut self, load: Load) {
        if self.num_rows + load.num_rows > self.rows_shared() {
            self.flush();
        }
        let num_attended = self.num_rows * self.attended + load.num_attended;
        self.num_rows += load.num_rows;
        self.attended = num_attended / self.num_rows.max(1.0);
        loop {
            let per_step = self.rows_per_step();
            let num_steps = (self.num_rows / per_step as f64) as u64;
            if num_steps == 0 {
                return;
            }
            let num_steps = num_steps.min(self.num_until_end().unwrap_or(u64::MAX));
            self.num_rows -= num_steps as f64 * per_step as f64;
            self.run(num_steps, per_step);
        }
    }

    /// Ends a step that has room left.
    fn flush(&mut self) {
        if self.num_rows > 0.0 {
            let num_rows = std::mem::take(&mut self.num_rows).ceil();
            self.run(1, num_rows as usize);
        }
    }

    /// Gives a sequence a place until it is given its last token, at most the one of `max_outputs`, at `pace` tokens a step.
    fn decode(&mut self, max_outputs: f64, pace: f64) {
        const GOLDEN: f64 = 0.618_033_988_749_895;
        self.num_decodes += 1;
        let quantile = (f64::from(self.num_decodes) * GOLDEN).fract();
        let num_outputs = (-quantile).ln_1p() / (-self.stop_rate).ln_1p();
        let num_steps = (num_outputs.min(max_outputs) / pace).max(1.0) as u64;
        self.ends.push(Reverse(self.step + num_steps));
    }

    /// Steps until somebody is done: at least one.
    fn num_until_end(&self) -> Option<u64> {
        let Reverse(end) = self.ends.peek()?;
        Some(end.saturating_sub(self.step).max(1))
    }

    /// Prompt rows that a step has room for.
    fn rows_per_step(&self) -> usize {
        let most = self
            .max_num_batched_tokens
            .saturating_sub(self.ends.len())
            .max(1);
        match self.target.filter(|_| !self.ends.is_empty()) {
            Some(target) => {
                let target = within_reach(target, self.cost.predict(self.size(0)));
                let num_computed = self.attended as usize;
                self.cost
                    .rows_within(self.size(0), num_computed, most, target)
                    .max(1)
            }
            None => most,
        }
    }

    /// Rows of several prompts that share a step.
    fn rows_shared(&self) -> f64 {
        let (decodes, most) = (self.size(0), self.max_num_batched_tokens);
        let limit = shared_limit(self.cost, decodes);
        let num_computed = self.attended as usize;
        self.cost.rows_within(decodes, num_computed, most, limit) as f64
    }

    fn size(&self, num_rows: usize) -> StepSize {
        let num_decodes = self.ends.len();
        StepSize {
            num_tokens: num_decodes + num_rows,
            num_attended: num_decodes * self.context + num_rows * self.attended as usize,
            num_samples: num_decodes,
        }
    }

    /// Lets steps pass, and those go that are done.
    fn run(&mut self, num_steps: u64, num_rows: usize) {
        let mut size = self.size(num_rows);
        if num_rows == 0 {
            let num_drafted = (self.ends.len() as f64 * self.drafts.num_rows).round() as usize;
            let num_drafted = num_drafted.min(MAX_EXTRA_SAMPLES);
            size.num_tokens += num_drafted;
            size.num_samples += num_drafted;
        }
        let each = self.cost.predict(size);
        self.seconds += num_steps as f64 * each.as_secs_f64();
        self.step += num_steps;
        while self.ends.peek().is_some_and(|end| end.0 <= self.step) {
            self.ends.pop();
        }
    }
}
