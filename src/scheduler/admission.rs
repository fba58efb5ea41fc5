//! Whether a request that has a deadline is taken, and when one that is not taken may come again.
//!
//! A request is taken when its first token is expected in time, and would be if its prompt were as long as the longer ones of late:
//! else, at load, the short would fill the queue up to where the long are never taken. One that is refused is promised a time: when what is ahead of
//! it will be done, other promises included. Who comes back then, with the same request, finds that newcomers were kept from
//! its place.

use std::collections::VecDeque;
use std::time::Duration;

use super::forecast::{Forecast, Load};
use super::{Scheduler, Sequence, SequenceId};
use crate::kv::BlockHash;

/// A request that would not get its first token in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When the first token would have come, from now.
    pub first_token: Duration,
    /// In how many whole seconds the same request is going to be taken.
    pub retry_after: Duration,
}

/// Newcomers are taken when they are expected within this part of the time they have: expectations are not exact, and who
/// comes back on a promise needs room.
const HEADROOM: f64 = 0.8;
/// The prompts of late whose lengths are kept, and the share of them that counts as the shorter ones.
const NUM_OFFERED: usize = 128;
const SHORTER: f64 = 0.99;
/// Promises allow for so much slower progress than is expected.
const SLIP: f64 = 1.1;
/// How much later than promised a request may come back.
const GRACE: Duration = Duration::from_secs(3);
/// Promises kept.
const MAX_PROMISES: usize = 4096;

/// A request that may come back.
#[derive(Debug)]
struct Promise {
    key: BlockHash,
    due: Duration,
    load: Load,
}

/// What is known of how requests end and whether they come back.
#[derive(Debug)]
pub(super) struct Admission {
    promises: Vec<Promise>,
    /// Rows of the prompts that came last.
    offered: VecDeque<usize>,
    /// The part of promises that somebody came back for, of late.
    return_rate: f64,
    /// Tokens given, of late, and how many of them ended an answer before it was as long as it might be.
    num_tokens: f64,
    num_stops: f64,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            promises: Vec::new(),
            offered: VecDeque::new(),
            return_rate: 1.0,
            // A guess, as if from four answers of 256 tokens.
            num_tokens: 1024.0,
            num_stops: 4.0,
        }
    }
}

impl Admission {
    /// Learns from a sequence that is over; `has_stopped` is false where it was as long as it might be.
    pub fn ended(&mut self, num_outputs: usize, has_stopped: bool) {
        const KEEP: f64 = 1.0 - 1.0 / 64.0;
        self.num_tokens = self.num_tokens * KEEP + num_outputs as f64;
        self.num_stops = self.num_stops * KEEP + f64::from(u8::from(has_stopped));
    }

    /// Takes note of a prompt's rows, and says how many the longer ones have, of late.
    fn note_offered(&mut self, num_rows: usize) -> usize {
        self.offered.truncate(NUM_OFFERED - 1);
        self.offered.push_front(num_rows);
        let mut rows: Vec<usize> = self.offered.iter().copied().collect();
        let at = (rows.len() as f64 * SHORTER) as usize;
        *rows.select_nth_unstable(at).1
    }

    /// The chance of a token to be the last though more were allowed.
    pub fn stop_rate(&self) -> f64 {
        (self.num_stops / self.num_tokens.max(1.0)).clamp(0.0, 0.999)
    }

    /// Tokens that sequences are given on average that may have `most`.
    fn mean_outputs(&self, most: f64) -> f64 {
        let rate = self.stop_rate();
        match rate > 0.0 {
            true => -(most * (-rate).ln_1p()).exp_m1() / rate,
            false => most,
        }
    }

    /// Takes a request back to whom this time was promised.
    pub fn redeem(&mut self, key: BlockHash, now: Duration) -> bool {
        self.lapse(now);
        // Clients may round, and clocks differ.
        let is_due = |promise: &Promise| {
            promise.key == key && promise.due <= now + Duration::from_millis(500)
        };
        let Some(i) = self.promises.iter().position(is_due) else {
            return false;
        };
        self.promises.swap_remove(i);
        self.note_return(1.0);
        true
    }

    /// What is promised and due until then, as far as it is going to come.
    pub fn promised_until(&self, until: Duration) -> Load {
        let due = self.promises.iter().filter(|promise| promise.due <= until);
        let all = due.fold(Load::default(), |sum, promise| sum + promise.load);
        all * self.return_rate
    }

    /// Promises a time; who asks again and again has one promise.
    pub fn promise(&mut self, key: BlockHash, due: Duration, load: Load) {
        let known = self.promises.iter_mut().find(|promise| promise.key == key);
        if let Some(promise) = known {
            promise.due = due;
        } else if self.promises.len() < MAX_PROMISES {
            self.promises.push(Promise { key, due, load });
        }
    }

    fn lapse(&mut self, now: Duration) {
        let before = self.promises.len();
        self.promises.retain(|promise| promise.due + GRACE >= now);
        for _ in self.promises.len()..before {
            self.note_return(0.0);
        }
    }

    fn note_return(&mut self, came: f64) {
        self.return_rate += (came - self.return_rate) / 32.0;
    }
}

impl Scheduler {
    /// Queues a sequence, unless it has a deadline that is not going to be kept. Its prompt must be shorter than
    /// `max_model_len` and not empty.
    pub fn add(&mut self, mut sequence: Sequence, now: Duration) -> Result<(), Refusal> {
        debug_assert!((1..self.config.max_model_len).contains(&sequence.tokens.len()));
        self.waiting.enter(&mut sequence);
        let num_rows = sequence.num_uncomputed_tokens() - sequence.count_cached(&self.pool);
        let most = sequence.max_outputs_left(self.config.max_model_len);
        sequence.load = Load {
            num_sequences: 1.0,
            num_rows: num_rows as f64,
            max_outputs: most as f64,
        };
        if let Some(left) = sequence.time_left(now) {
            self.decide(&mut sequence, left, now)?;
        }
        self.waiting.add(sequence);
        Ok(())
    }

    /// Decides on a sequence that has so much time left.
    fn decide(
        &mut self,
        sequence: &mut Sequence,
        left: Duration,
        now: Duration,
    ) -> Result<(), Refusal> {
        let num_rows = sequence.load.num_rows as usize;
        let longer = self.admission.note_offered(num_rows);
        let key = sequence.prompt_hash(self.pool.block_size());
        let is_promised = self.admission.redeem(key, now);
        let ahead = self.waiting.ahead_of(sequence);
        let promised = match is_promised {
            true => Load::default(),
            false => self.admission.promised_until(now + left),
        };
        let forecast = self.forecast(ahead + sequence.load);
        let first_token = forecast.clone().first_token(ahead, num_rows);
        sequence.expected_ttft = Some(now.saturating_sub(sequence.arrival()) + first_token);
        let (limit, with_longer) = match is_promised {
            true => (left, first_token),
            false => {
                let limit = left.mul_f64(HEADROOM);
                // They may take half of the time, else nobody would be taken who is in a hurry.
                let num_rows = num_rows.max(longer.min(forecast.rows_within(limit.mul_f64(0.75))));
                (
                    limit,
                    forecast.clone().first_token(ahead + promised, num_rows),
                )
            }
        };
        // One that comes alone is taken in any case: it costs nobody anything, and expectations that are wrong have to meet
        // with what is true.
        let is_alone = self.running.is_empty() && self.waiting.len() == 0;
        if with_longer <= limit || is_alone {
            return Ok(());
        }
        let after_all = ahead + self.admission.promised_until(Duration::MAX);
        let later = forecast.first_token(after_all, num_rows).max(with_longer);
        let later = later.mul_f64(SLIP).saturating_sub(left.mul_f64(HEADROOM));
        let retry_after = later.as_secs_f64();
        let retry_after = Duration::from_secs(retry_after.ceil().max(1.0) as u64);
        self.admission
            .promise(key, now + retry_after, sequence.load);
        Err(Refusal {
            first_token,
            retry_after,
        })
    }

    /// The steps to come, where `more` is to run beside what does.
    fn forecast(&self, more: Load) -> Forecast<'_> {
        // As many run as there are places, or as their blocks allow.
        let outputs = |most: f64| self.admission.mean_outputs(most);
        let tokens = |sequence: &Sequence| {
            let most = sequence.max_outputs_left(self.config.max_model_len);
            sequence.tokens.len() as f64 + outputs(most as f64)
        };
        let num_tokens: f64 = self.running.iter().map(tokens).sum();
        let num_outputs = outputs(more.max_outputs / more.num_sequences) * more.num_sequences;
        let num_tokens = num_tokens + more.num_rows + num_outputs;
        let each = num_tokens / (self.running.len() as f64 + more.num_sequences);
        let capacity = (self.pool.num_blocks() * self.pool.block_size()) as f64;
        Forecast::new(
            &self.config,
            &self.cost,
            &self.running,
            self.config.max_num_seqs.min((capacity / each) as usize),
            self.admission.stop_rate(),
        )
    }

    /// Takes out the sequences whose deadlines passed before they were given any work.
    pub fn expire(&mut self, now: Duration) -> Vec<SequenceId> {
        self.waiting.expire(now)
    }
}
