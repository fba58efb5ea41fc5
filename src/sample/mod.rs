//! Logits to tokens: `[B, V]` float32 rows in, one token a row out.
//!
//! The order is fixed: log-probabilities are read from the raw logits; then bias, penalties and banned tokens change
//! them, and those outside the request's mask; then temperature, `min_p`, `top_k`, `top_p`; then one token is drawn. Equal logits always resolve to the lowest
//! id. The noise is keyed on (seed, choice, position, token id), so a draw depends on nothing but the request itself.

mod card;
mod draw;
mod filter;
mod logprobs;
mod noise;
mod penalties;

use std::cmp::Ordering;
use std::sync::Mutex;

pub use card::CardSampler;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, bail};

use crate::backend::cpu::Cpu;
use crate::constraint::TokenMask;
use crate::ops::Tensor;
use crate::request::{SampledToken, SamplingParams};

/// What drawing one row's token depends on, besides its logits.
#[derive(Clone, Copy, Debug)]
pub struct RowContext<'a> {
    /// How to draw.
    pub params: &'a SamplingParams,
    /// Position of the token to be drawn.
    pub position: u32,
    /// Prompt tokens; may be empty when there are no penalties.
    pub prompt: &'a [u32],
    /// Output tokens so far; may be empty when there are no penalties.
    pub output: &'a [u32],
    /// Tokens that may not be drawn.
    pub banned: &'a [u32],
    /// The tokens that a rule of the request allows. Where all of them are banned, they are not.
    pub mask: Option<&'a TokenMask>,
    /// The token that is known to come next: nothing is drawn, only its log-probabilities are told.
    pub known: Option<u32>,
}

/// Draws one token a row of `logits` (`[B, V]` float32, contiguous; overwritten), rows in parallel.
///
/// A row without any finite logit gives `None`. Errors when the shapes don't match.
pub fn sample(
    logits: &Tensor,
    rows: &[RowContext<'_>],
    cpu: &Cpu,
) -> Result<Vec<Option<SampledToken>>> {
    let op = Sample {
        rows,
        cpu,
        drawn: Mutex::new(Vec::new()),
    };
    logits.inplace_op1(&op)?;
    Ok(op
        .drawn
        .into_inner()
        .expect("the lock is only taken below: this is a bug"))
}

struct Sample<'a> {
    rows: &'a [RowContext<'a>],
    cpu: &'a Cpu,
    drawn: Mutex<Vec<Option<SampledToken>>>,
}

impl InplaceOp1 for Sample<'_> {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (num_rows, vocab_size) = layout.shape().dims2()?;
        let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("sample: logits must be contiguous float32")
        };
        if num_rows != self.rows.len() {
            bail!(
                "sample: {} requests for {num_rows} rows of logits",
                self.rows.len()
            )
        }
        let rows: Vec<_> = data[start..end]
            .chunks_exact_mut(vocab_size)
            .zip(self.rows)
            .map(|(logits, context)| Mutex::new((logits, context, None)))
            .collect();
        self.cpu.run(rows.len(), &|i| {
            let mut row = rows[i]
                .lock()
                .expect("each row is taken once: this is a bug");
            let (logits, context, drawn) = &mut *row;
            *drawn = sample_row(logits, context);
        });
        let drawn = rows
            .into_iter()
            .map(|row| row.into_inner().ok().and_then(|(_, _, drawn)| drawn))
            .collect();
        *self
            .drawn
            .lock()
            .expect("nothing panics under this lock: this is a bug") = drawn;
        Ok(())
    }
}

/// Draws from one row, changing it on the way. `None` when no logit is finite.
fn sample_row(logits: &mut [f32], context: &RowContext<'_>) -> Option<SampledToken> {
    let params = context.params;
    if let Some(token_id) = context.known {
        let count = params.logprobs.unwrap_or(0) as usize;
        let logprobs = Some(logprobs::Raw::of_known(logits, token_id, count)?);
        return Some(SampledToken { token_id, logprobs });
    }
    let raw = params
        .logprobs
        .map(|count| logprobs::Raw::of(logits, count as usize));
    let chosen_raw = raw.as_ref().map(|_| logits.to_vec());
    penalties::apply(logits, context);
    let token_id = if params.temperature == 0.0 {
        draw::greedy(logits)?
    } else {
        draw::seeded(logits, context)?
    };
    let logprobs = raw.zip(chosen_raw).map(|(raw, logits)| {
        let logit = logits[token_id as usize];
        raw.with_chosen(logit, logprobs::rank(&logits, logit))
    });
    Some(SampledToken { token_id, logprobs })
}

/// Orders ids by their logits: largest first, equal ones (also 0 and -0) by id. Total, whatever the logits hold.
fn by_rank(logits: &[f32]) -> impl Fn(&u32, &u32) -> Ordering + Copy {
    // Adding zero turns -0 into 0, which `total_cmp` tells apart.
    let key = move |id: u32| logits[id as usize] + 0.0;
    move |&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b))
}
