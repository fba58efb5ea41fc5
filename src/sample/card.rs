//! Drawing on a card: `kernels/sample.cu`. Only tokens and the log-probabilities that were asked for come back.

use std::collections::BTreeMap;

use candle_core::{Result, bail};

use super::RowContext;
use crate::backend::cuda::{Cuda, Readback, Slice};
use crate::ops::{NumberBuffer, Tensor};
use crate::request::{SampledToken, TokenLogprobs};

/// Tokens whose log-probabilities a row can have, at most.
const MAX_LOGPROBS: usize = 20;
/// In place of a token where nothing could be drawn, and of what a row does not have.
const NONE: u32 = u32::MAX;

/// Draws from logits in a card's memory.
pub struct CardSampler {
    cuda: Cuda,
    vocab_size: usize,
    numbers: NumberBuffer,
    /// `[rows, V]` each, of as many rows as were needed so far: logits that were changed, and how often tokens are there.
    work: Slice,
    counts: Slice,
    /// Of each row tokens, log-probabilities of the drawn, their ranks, the likeliest and their log-probabilities, one after the other.
    drawn: Slice,
    max_rows: usize,
    readback: Readback,
    /// What was asked for in the launch that is under way: of each row how many of the likeliest.
    asked: Vec<Option<usize>>,
}

/// What a launch is given besides logits.
struct Rows {
    fields: Vec<u32>,
    /// Tokens of biases and bans, with the values of the biases.
    pool: Vec<u32>,
    pool_values: Vec<u32>,
    masks: Vec<u32>,
    num_masks: usize,
    /// Tokens to count, and runs of them.
    history: Vec<u32>,
    runs: Vec<u32>,
    num_counted: usize,
}

impl CardSampler {
    /// For up to `max_rows` rows of `vocab_size` logits.
    ///
    /// # Errors
    /// If the card has no room.
    pub fn new(cuda: &Cuda, max_rows: usize, vocab_size: usize) -> Result<Self> {
        let num_bytes = 4 * max_rows * (3 + 2 * MAX_LOGPROBS);
        Ok(Self {
            cuda: cuda.clone(),
            vocab_size,
            numbers: NumberBuffer::new(cuda, 64 * max_rows)?,
            work: cuda.alloc(0)?,
            counts: cuda.alloc(0)?,
            drawn: cuda.alloc(num_bytes)?,
            max_rows,
            readback: Readback::new(cuda, num_bytes)?,
            asked: Vec::new(),
        })
    }

    /// Begins to draw one token a row of `logits`, `[B, V]` f32.
    ///
    /// # Errors
    /// If the shapes do not match, or the card fails.
    pub fn launch(&mut self, logits: &Tensor, rows: &[RowContext<'_>]) -> Result<()> {
        let dims = logits.dims()?;
        if dims != (rows.len(), self.vocab_size) || rows.len() > self.max_rows {
            bail!(
                "sample: {} requests for logits of {dims:?}, and room for {} rows of {}",
                rows.len(),
                self.max_rows,
                self.vocab_size
            );
        }
        let gathered = Rows::new(rows, self.vocab_size)?;
        self.numbers.clear();
        let ranges = [
            &gathered.fields,
            &gathered.pool,
            &gathered.pool_values,
            &gathered.masks,
            &gathered.history,
            &gathered.runs,
        ]
        .map(|numbers| self.numbers.push(numbers));
        self.numbers.send()?;
        let [fields, pool, pool_values, masks, history, runs] =
            ranges.map(|range| self.numbers.slice(&range));
        self.count(gathered.num_counted, &history?, &runs?)?;
        let row_bytes = 4 * self.vocab_size;
        grow(&mut self.work, rows.len() * row_bytes, &self.cuda)?;
        let part = |first: usize, len: usize| {
            self.drawn
                .narrow(4 * first * self.max_rows, 4 * len * self.max_rows)
        };
        (self
            .cuda
            .kernel("sample", "sample", [rows.len(), 1, 1], 512))
        .slice(&part(0, 1)?)
        .slice(&part(1, 1)?)
        .slice(&part(2, 1)?)
        .slice(&part(3, MAX_LOGPROBS)?)
        .slice(&part(3 + MAX_LOGPROBS, MAX_LOGPROBS)?)
        .slice(logits.slice("sample: logits")?)
        .slice(&self.work)
        .slice(&fields?)
        .slice(&pool?)
        .slice(&pool_values?)
        .slice(&self.counts)
        .slice(&masks?)
        .int(self.vocab_size)
        .run()?;
        self.asked.clear();
        self.asked.extend(rows.iter().map(num_logprobs));
        let num_bytes = match self.asked.iter().all(Option::is_none) {
            true => 4 * rows.len(),
            false => self.drawn.num_bytes(),
        };
        Ok(self.readback.fetch(&self.drawn.narrow(0, num_bytes)?)?)
    }

    /// Begins to draw nothing: [`CardSampler::take`] then waits for what was asked of the card so far, and no more.
    ///
    /// # Errors
    /// If the card fails.
    pub fn launch_none(&mut self) -> Result<()> {
        self.asked.clear();
        Ok(self.readback.fetch(&self.drawn.narrow(0, 4)?)?)
    }

    /// Counts the tokens of all runs, from nothing.
    fn count(&mut self, num_counted: usize, history: &Slice, runs: &Slice) -> Result<()> {
        if num_counted == 0 {
            return Ok(());
        }
        let num_bytes = 4 * num_counted * self.vocab_size;
        grow(&mut self.counts, num_bytes, &self.cuda)?;
        self.counts.narrow(0, num_bytes)?.fill_zero()?;
        let grid = [runs.num_bytes() / 16, 1, 1];
        (self.cuda.kernel("sample", "count_tokens", grid, 256))
            .slice(&self.counts)
            .slice(history)
            .slice(runs)
            .int(self.vocab_size)
            .run()?;
        Ok(())
    }

    /// Where the tokens are that the last launch draws, in the order of its rows; [`u32::MAX`] where nothing could be drawn.
    pub fn tokens(&self) -> &Slice {
        &self.drawn
    }

    /// Waits for everything that was asked of the card.
    ///
    /// # Errors
    /// If any of it failed, or the card has failed for good.
    pub fn wait(&self) -> Result<()> {
        Ok(self.cuda.synchronise()?)
    }

    /// What was drawn, once it is there; `None` where a row had no finite logit.
    ///
    /// # Errors
    /// If the card has failed.
    pub fn take(&mut self) -> Result<Vec<Option<SampledToken>>> {
        let bytes = self.readback.wait()?;
        let (max_rows, vocab_size) = (self.max_rows, self.vocab_size);
        let word = |part: usize, at: usize| {
            let start = 4 * (part * max_rows + at);
            u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[start + i]))
        };
        let token = |(row, asked): (usize, Option<usize>)| {
            let logprobs = asked.map(|count| TokenLogprobs {
                chosen: f32::from_bits(word(1, row)),
                rank: word(2, row),
                top: (row * MAX_LOGPROBS..row * MAX_LOGPROBS + count.min(vocab_size))
                    .map(|at| (word(3, at), f32::from_bits(word(3 + MAX_LOGPROBS, at))))
                    .collect(),
            });
            let token_id = word(0, row);
            (token_id != NONE).then_some(SampledToken { token_id, logprobs })
        };
        Ok(self.asked.drain(..).enumerate().map(token).collect())
    }
}

/// Makes room where there is too little.
fn grow(slice: &mut Slice, num_bytes: usize, cuda: &Cuda) -> Result<()> {
    if slice.num_bytes() < num_bytes {
        // What is there goes first: both would not fit where one was measured.
        *slice = cuda.alloc(0)?;
        *slice = cuda.alloc(num_bytes)?;
    }
    Ok(())
}

/// How many of the likeliest tokens a row is to have: a known token always has its log-probability.
fn num_logprobs(row: &RowContext<'_>) -> Option<usize> {
    let asked = row.params.logprobs.map(|count| count as usize);
    asked.or(row.known.map(|_| 0))
}

impl Rows {
    fn new(rows: &[RowContext<'_>], vocab_size: usize) -> Result<Self> {
        let mut gathered = Self {
            fields: Vec::new(),
            pool: Vec::new(),
            pool_values: Vec::new(),
            masks: Vec::new(),
            num_masks: 0,
            history: Vec::new(),
            runs: Vec::new(),
            num_counted: 0,
        };
        for row in rows {
            gathered.push(row, vocab_size)?;
        }
        Ok(gathered)
    }

    /// In the order of the kernel's `Row`.
    fn push(&mut self, row: &RowContext<'_>, vocab_size: usize) -> Result<()> {
        let params = row.params;
        let num_logprobs = num_logprobs(row);
        if let Some(count) = num_logprobs.filter(|&count| count > MAX_LOGPROBS) {
            bail!("sample: log-probabilities of {count} tokens; a card gives up to {MAX_LOGPROBS}");
        }
        let bias = self.push_bias(&params.logit_bias);
        let banned = self.push_banned(row.banned);
        let counts = match params.has_penalties() {
            false => NONE,
            true => self.push_history(row),
        };
        let mask = match row.mask {
            None => NONE,
            Some(mask) => {
                let len = vocab_size.div_ceil(32);
                let words = mask.words();
                self.masks.extend(words.iter().take(len));
                self.num_masks += 1;
                self.masks.resize(self.num_masks * len, 0);
                self.num_masks as u32 - 1
            }
        };
        let floats = [
            params.temperature,
            params.top_p,
            params.min_p,
            params.repetition_penalty,
            params.frequency_penalty,
            params.presence_penalty,
        ];
        self.fields.extend(floats.map(f32::to_bits));
        self.fields.extend([
            params.top_k.min(i32::MAX as u32),
            num_logprobs.map_or(NONE, |count| count as u32),
            row.known.unwrap_or(NONE),
            counts,
            mask,
            params.choice,
            row.position,
            params.seed as u32,
            (params.seed >> 32) as u32,
        ]);
        self.fields.extend([bias, banned].concat());
        Ok(())
    }

    fn push_bias(&mut self, bias: &[(u32, f32)]) -> [u32; 2] {
        let mut merged = BTreeMap::new();
        for &(id, value) in bias {
            *merged.entry(id).or_insert(0.0) += value;
        }
        let start = self.pool.len() as u32;
        self.pool.extend(merged.keys());
        let values = merged.values().map(|value: &f32| value.to_bits());
        self.pool_values.extend(values);
        [start, self.pool.len() as u32]
    }

    fn push_banned(&mut self, banned: &[u32]) -> [u32; 2] {
        let start = self.pool.len();
        self.pool.extend_from_slice(banned);
        self.pool[start..].sort_unstable();
        // Each once.
        let mut end = start;
        for at in start..self.pool.len() {
            if end == start || self.pool[at] != self.pool[end - 1] {
                self.pool[end] = self.pool[at];
                end += 1;
            }
        }
        self.pool.truncate(end);
        self.pool_values.resize(end, 0);
        [start as u32, end as u32]
    }

    /// Which counts are the row's.
    fn push_history(&mut self, row: &RowContext<'_>) -> u32 {
        let counts = self.num_counted as u32;
        self.num_counted += 1;
        for (tokens, is_prompt) in [(row.prompt, 1), (row.output, 0)] {
            let start = self.history.len() as u32;
            self.history.extend_from_slice(tokens);
            self.runs
                .extend([counts, start, self.history.len() as u32, is_prompt]);
        }
        counts
    }
}
