//! Rotary position embedding as a model's files ask for it.

pub(super) mod gguf;
pub(super) mod json;
pub(super) mod scaling;

use std::borrow::Cow;

pub use scaling::Yarn;

use crate::ops::{RopeStyle, RopeTable};

/// What a model says of its rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub base: f64,
    /// Values of a head that turn.
    pub rotary_dim: usize,
    /// Positions are divided by this (linear scaling).
    pub linear_scale: f64,
    /// What the frequencies are divided by besides, where the configuration and not a tensor gives it.
    pub divisors: Divisors,
    /// Positions of the training before, where a GGUF file says it: LongRoPE's short divisors, which stand in tensors, are for
    /// no more.
    pub original_length: Option<usize>,
    /// What turned queries and keys are multiplied by (YaRN, LongRoPE).
    pub magnitude: f64,
    /// Which values form a pair.
    pub style: RopeStyle,
}

/// Divisors of frequencies, `[rotary_dim / 2]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Divisors {
    /// All are one.
    None,
    /// Those of tensors, which the file must have (LongRoPE in GGUF files).
    InTensors,
    /// Whatever the length (Llama 3).
    Fixed(Vec<f32>),
    /// Whatever the length, by a formula of which files say the numbers.
    Yarn(Yarn),
    /// By the length that sequences may reach (LongRoPE): where that is more than `original` all are computed with the long
    /// ones, for keys in the cache cannot be turned again when a sequence gets longer.
    ByLength {
        /// Positions that the short ones are for.
        original: usize,
        /// For no more positions.
        short: Vec<f32>,
        /// For more.
        long: Vec<f32>,
    },
}

impl Divisors {
    /// Those for sequences of up to `max_model_len`, `[rotary_dim / 2]`; `None` if all are one, or not known here.
    pub(super) fn for_length(
        &self,
        rope: &RopeConfig,
        max_model_len: usize,
    ) -> Option<Cow<'_, [f32]>> {
        Some(match self {
            Self::None | Self::InTensors => return None,
            Self::Fixed(divisors) => divisors.into(),
            Self::Yarn(yarn) => yarn.divisors(rope.base, rope.rotary_dim).into(),
            Self::ByLength {
                original, short, ..
            } if max_model_len <= *original => short.into(),
            Self::ByLength { long, .. } => long.into(),
        })
    }
}

impl RopeConfig {
    /// The angles of `max_model_len` positions for heads of `head_dim`; `tensors` are the divisors of a file that has them as
    /// tensors.
    ///
    /// # Errors
    /// Those of [`RopeTable::new`].
    pub fn table(
        &self,
        head_dim: usize,
        tensors: &Divisors,
        max_model_len: usize,
    ) -> candle_core::Result<RopeTable> {
        let divisors = tensors.for_length(self, max_model_len);
        let divisors = divisors.or(self.divisors.for_length(self, max_model_len));
        let table = RopeTable::new(
            head_dim,
            self.rotary_dim,
            self.base,
            divisors.as_deref(),
            self.linear_scale,
            max_model_len,
            self.style,
        )?;
        Ok(table.with_magnitude(self.magnitude as f32))
    }
}

/// Puts the rows of each head that turn together beside each other, as GGUF files of some architectures have them; a row has
/// `row_len` elements.
pub(super) fn with_neighbouring_pairs<T: Copy>(
    data: &[T],
    num_heads: usize,
    row_len: usize,
) -> Vec<T> {
    let pairs = data.chunks(data.len() / num_heads).flat_map(|head| {
        let (low, high) = head.split_at(head.len() / 2);
        low.chunks(row_len).zip(high.chunks(row_len))
    });
    pairs
        .flat_map(|(low, high)| low.iter().chain(high))
        .copied()
        .collect()
}

/// The inverse of [`with_neighbouring_pairs`]: rows as folders have them.
pub(super) fn with_halves_apart<T: Copy>(data: &[T], num_heads: usize, row_len: usize) -> Vec<T> {
    let head_len = data.len() / num_heads;
    let half = |head: &[T], first: usize| -> Vec<T> {
        let rows = head.chunks(row_len).skip(first).step_by(2);
        rows.flatten().copied().collect()
    };
    let heads = data.chunks(head_len);
    heads
        .flat_map(|head| [half(head, 0), half(head, 1)].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_head_that_turn_together_become_neighbours() {
        let rows: Vec<u8> = (0..16).collect();
        // Two heads of four rows of two values.
        let want = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15];
        assert_eq!(with_neighbouring_pairs(&rows, 2, 2), want);
        assert_eq!(with_halves_apart(&want, 2, 2), rows);
    }
}
