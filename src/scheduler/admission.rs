//! Whether a request that has a deadline is taken, and when one that is not taken may come again.
//!
//! A request is taken when its first token is expected in time, and would be if its prompt were as long as the longer ones of
//! late: else, at load, the short would fill the queue up to where the long are never taken. One that is refused is promised a
//! time: when what is ahead of it will be done, other promises included. Who comes back then, with the same request, comes
//! before those that wait, who were taken with that in mind.

use std::collections::VecDeque;
use std::time::Duration;

use super::forecast::{Forecast, Load};
use super::promises::Promises;
use super::speculation::DraftYield;
use super::waiting::NUM_CLASSES;
use super::{Scheduler, Sequence, SequenceId};

/// Why a request that has a deadline is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too much is ahead of it.
    #[error(
        "the first token is expected in {:.1} s, which is later than the request allows; retry after {} s",
        .first_token.as_secs_f64(), .retry_after.as_secs()
    )]
    Busy {
        /// When the first token would have come, from now.
        first_token: Duration,
        /// In how many whole seconds the same request is going to be taken.
        retry_after: Duration,
    },
    /// Its prompt takes longer than there is time, whatever else there is to do.
    #[error(
        "the prompt alone takes about {:.1} s, which is longer than the request's deadline_ms, or the server's, allows",
        .first_token.as_secs_f64()
    )]
    TooLong {
        /// When the first token would come if nobody else asked.
        first_token: Duration,
    },
    /// The deadline passed before anything was computed for it.
    #[error("the deadline passed before the request had its turn")]
    Late,
}

/// Newcomers are taken when they are expected within this part of the time they have: expectations are not exact, and who
/// comes back on a promise needs room.
const HEADROOM: f64 = 0.8;
/// The prompts of late whose lengths are kept, and the share of them that counts as the shorter ones.
const NUM_OFFERED: usize = 128;
const SHORTER: f64 = 0.99;
/// The part of the time that a prompt as long as the longer ones may take.
const LONGER_PART: f64 = 0.75;
/// Tokens until two thirds of what is known of the lengths of answers are forgotten.
const MEMORY: f64 = 8192.0;
/// Nobody is told to come back later than this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Promises allow for so much slower progress than is expected.
const SLIP: f64 = 1.6;

/// What is known of how requests end and whether they come back.
#[derive(Debug)]
pub(super) struct Admission {
    promises: Promises,
    /// Rows of the prompts that came last.
    offered: VecDeque<usize>,
    /// Tokens given, of late, and how many of them ended an answer before it was as long as it might be.
    num_tokens: f64,
    num_stops: f64,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            promises: Promises::default(),
            offered: VecDeque::new(),
            // A guess, as if from four answers of 256 tokens.
            num_tokens: 1024.0,
            num_stops: 4.0,
        }
    }
}

impl Admission {
    /// Learns from a sequence that is over; `has_stopped` is false where it was as long as it might be.
    pub fn ended(&mut self, num_outputs: usize, has_stopped: bool) {
        // One that left before it was given anything says nothing; what another engine had begun of it is too seldom to tell apart.
        if num_outputs > 0 {
            let keep = (-(num_outputs as f64) / MEMORY).exp();
            self.num_tokens = self.num_tokens * keep + num_outputs as f64;
            self.num_stops = self.num_stops * keep + f64::from(u8::from(has_stopped));
        }
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
}

impl Scheduler {
    /// Queues a sequence, unless it has a deadline that is not going to be kept. Its prompt must be shorter than
    /// `max_model_len` and not empty.
    pub fn add(&mut self, mut sequence: Sequence, now: Duration) -> Result<(), Refusal> {
        debug_assert!((1..self.config.max_model_len).contains(&sequence.tokens.len()));
        self.waiting.enter(&mut sequence);
        let num_cached = sequence.count_cached(&self.pool);
        let most = sequence.max_outputs_left(self.config.max_model_len);
        sequence.load = Load::of(&sequence, num_cached, most);
        if let Some(left) = sequence.time_left(now) {
            self.decide(&mut sequence, left, now)?;
        }
        self.waiting.add(sequence);
        Ok(())
    }

    /// Whether somebody who was refused is told to come back, and may yet.
    pub fn awaits_return(&self, now: Duration) -> bool {
        self.admission.promises.are_awaited(now)
    }

    /// Foresees that nothing is computed before `at`.
    pub fn starts_at(&mut self, at: Duration) {
        self.in_flight.starts_at = at;
    }

    /// Decides on a sequence that has so much time left.
    fn decide(
        &mut self,
        sequence: &mut Sequence,
        left: Duration,
        now: Duration,
    ) -> Result<(), Refusal> {
        if left.is_zero() {
            return Err(Refusal::Late);
        }
        let own = sequence.load;
        let key = sequence.prompt_hash(self.pool.block_size());
        let longer = self.admission.note_offered(own.num_rows as usize);
        let is_due = self.admission.promises.is_due(sequence, key, now);
        sequence.is_promised = is_due;
        let ahead =
            |promised: &[[Load; NUM_CLASSES]]| self.waiting.ahead_of(sequence, promised, now);
        let forecast = self.forecast(sequence, ahead(&[]) + own, now);
        let first_token = forecast.clone().first_token(ahead(&[]), own);

        let limit = left.mul_f64(HEADROOM);
        // A request that has little time is measured against prompts that take no more than a part of it.
        let longer = longer.min(forecast.rows_within(limit.mul_f64(LONGER_PART)));
        let as_if_longer = own.with_rows(longer as f64);
        let after = |promised: &[[Load; NUM_CLASSES]]| {
            forecast.clone().first_token(ahead(promised), as_if_longer)
        };
        let promises = &self.admission.promises;
        let is_in_time = match is_due {
            true => first_token <= left,
            false => {
                // Whoever comes back meets what is there by then, and there is to be time left for it.
                let leaves_room = (0..=4).map(|i| left * i / 4).all(|later| {
                    let then = after(&promises.until(now + later, key, now));
                    then.saturating_sub(later.div_f64(SLIP)) <= limit
                });
                // Nor may those that come before it delay it too much, should all of them come.
                leaves_room && {
                    let mut first = promises.until(now + left, key, now);
                    first[sequence.tenant_idx][sequence.priority as usize..].fill(Load::default());
                    after(&first) <= left
                }
            }
        };
        // One that comes alone is taken in any case: it costs nobody anything, and expectations that are wrong have to meet
        // with what is true.
        let absent = self.in_flight.starts_at.saturating_sub(now);
        let is_alone =
            self.running.is_empty() && self.waiting.len() == 0 && absent == Duration::ZERO;
        let later = match is_in_time || is_alone {
            true => None,
            false => {
                let later = after(&promises.until(Duration::MAX, key, now));
                Some(absent + later.saturating_sub(absent).mul_f64(SLIP))
            }
        };

        sequence.expected_ttft = Some(now.saturating_sub(sequence.arrival()) + first_token);
        if is_due || later.is_none() {
            self.admission.promises.redeem(sequence, key);
        }
        let Some(later) = later else {
            return Ok(());
        };
        let alone = Forecast::new(
            &self.config,
            &self.cost,
            &[],
            1,
            0.0,
            DraftYield::default(),
            |_| true,
        );
        let alone = alone.first_token(Load::default(), own);
        if alone > left {
            return Err(Refusal::TooLong { first_token: alone });
        }
        let retry_after = later.saturating_sub(limit).min(MAX_RETRY_AFTER);
        let due = now + Duration::from_secs(retry_after.as_secs() + 1);
        let retry_after = (self.admission.promises).promise(sequence, key, due, now);
        Err(Refusal::Busy {
            first_token,
            retry_after,
        })
    }

    /// The steps to come until `sequence` has had its turn, where `more` is to run beside what does.
    fn forecast(&self, sequence: &Sequence, more: Load, now: Duration) -> Forecast<'_> {
        let share = self.waiting.share(self.config.max_num_seqs);
        let stays = |other: &&Sequence| !self.waiting.gives_way(other, sequence, share, now);
        let running: Vec<&Sequence> = self.running.iter().filter(stays).collect();
        // As many run as there are places, or as their blocks allow.
        let outputs = |most: f64| self.admission.mean_outputs(most);
        let tokens = |sequence: &&Sequence| {
            let most = sequence.max_outputs_left(self.config.max_model_len);
            sequence.tokens.len() as f64 + outputs(most as f64)
        };
        let num_tokens: f64 = running.iter().map(tokens).sum();
        let num_outputs = outputs(more.max_outputs / more.num_sequences) * more.num_sequences;
        let num_tokens = num_tokens + more.num_rows + num_outputs;
        let each = num_tokens / (running.len() as f64 + more.num_sequences);
        let capacity = (self.pool.num_blocks() * self.pool.block_size()) as f64;
        let rank = self.waiting.rank(sequence, now);
        let time_left = (self.in_flight).time_left(&self.cost, self.last_commit, now);
        let forecast = Forecast::new(
            &self.config,
            &self.cost,
            &running,
            self.config.max_num_seqs.min((capacity / each) as usize),
            self.admission.stop_rate(),
            self.draft_yield,
            |other| self.waiting.rank(other, now) <= rank,
        );
        forecast.after(time_left)
    }

    /// Takes out the sequences whose deadlines passed before they were given any work.
    pub fn expire(&mut self, now: Duration) -> Vec<SequenceId> {
        let mut expired = self.waiting.expire(now);
        let is_late = |s: &&Sequence| s.time_left(now).is_some_and(|left| left.is_zero());
        let admitted = self.running.iter().filter(|s| !s.was_scheduled());
        let late: Vec<SequenceId> = admitted.filter(is_late).map(|s| s.id).collect();
        if !late.is_empty() {
            self.remove(|id| late.contains(&id));
            expired.extend(late);
        }
        expired
    }
}
