//! Rotary position embedding: the angles of every position, and the turning of one head.

use candle_core::{Result, bail};

use crate::backend::Device;
use crate::backend::cuda::Slice;

/// Which two values of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Values `2i` and `2i + 1` (Llama in GGUF files).
    Interleaved,
    /// Values `i` and `i + rotary_dim / 2` (Qwen, GPT-NeoX).
    Half,
}

/// Sines and cosines of every position, computed in f64 and stored in f32.
pub struct RopeTable {
    head_dim: usize,
    rotary_dim: usize,
    style: RopeStyle,
    /// `[max_positions, rotary_dim / 2]` of (cos, sin).
    turns: Vec<[f32; 2]>,
    slice: Option<Slice>,
}

impl RopeTable {
    /// A table for the angles `position / linear_scale · base^(-2i / rotary_dim) / freq_factors[i]`.
    ///
    /// The first `rotary_dim` values of a head of `head_dim` turn, the rest stay; `freq_factors` (1 if absent) has
    /// `rotary_dim / 2` values. Sources: Su et al., "RoFormer", 2021; Chen et al., 2023, for the linear scale; the
    /// factors are Llama 3's, as GGUF files store them (`rope_freqs`).
    ///
    /// # Errors
    /// If a dimension is odd or does not fit, or a number is not finite and positive.
    pub fn new(
        head_dim: usize,
        rotary_dim: usize,
        base: f64,
        freq_factors: Option<&[f32]>,
        linear_scale: f64,
        max_positions: usize,
        style: RopeStyle,
    ) -> Result<Self> {
        if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) || rotary_dim > head_dim {
            bail!(
                "rope: rotary_dim must be even and in 2..={head_dim} (head_dim), is {rotary_dim}"
            );
        }
        for (name, value) in [("base", base), ("linear_scale", linear_scale)] {
            if !(value.is_finite() && value > 0.0) {
                bail!("rope: {name} must be a positive number, is {value}");
            }
        }
        let num_pairs = rotary_dim / 2;
        if let Some(factors) = freq_factors {
            if factors.len() != num_pairs {
                bail!(
                    "rope: freq_factors must have {num_pairs} values (rotary_dim / 2), has {}",
                    factors.len()
                );
            }
            if let Some(i) = factors.iter().position(|f| !(f.is_finite() && *f > 0.0)) {
                bail!(
                    "rope: freq_factors[{i}] must be a positive number, is {}",
                    factors[i]
                );
            }
        }
        let Some(len) = max_positions.checked_mul(num_pairs) else {
            bail!("rope: max_positions {max_positions} is too large");
        };
        let frequencies: Vec<f64> = (0..num_pairs)
            .map(|i| {
                let factor = freq_factors.map_or(1.0, |factors| f64::from(factors[i]));
                base.powf(-2.0 * i as f64 / rotary_dim as f64) / factor / linear_scale
            })
            .collect();
        let mut turns = Vec::with_capacity(len);
        for position in 0..max_positions {
            turns.extend(frequencies.iter().map(|frequency| {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                [cos as f32, sin as f32]
            }));
        }
        Ok(Self {
            head_dim,
            rotary_dim,
            style,
            turns,
            slice: None,
        })
    }

    /// The same for heads that are multiplied by `magnitude` as they turn.
    pub fn with_magnitude(mut self, magnitude: f32) -> Self {
        if magnitude != 1.0 {
            for turn in self.turns.as_flattened_mut() {
                *turn *= magnitude;
            }
        }
        self
    }

    /// The same with a copy in the device's memory.
    ///
    /// # Errors
    /// If a card has no room.
    pub fn on(mut self, device: &Device) -> Result<Self> {
        if let Device::Cuda(cuda) = device {
            let values = self.turns.as_flattened().iter();
            let bytes: Vec<u8> = values.flat_map(|x| x.to_le_bytes()).collect();
            self.slice = Some(cuda.upload(&bytes)?);
        }
        Ok(self)
    }

    pub(super) fn slice(&self) -> Option<&Slice> {
        self.slice.as_ref()
    }

    pub(super) fn rotary_dim(&self) -> usize {
        self.rotary_dim
    }

    pub(super) fn style(&self) -> RopeStyle {
        self.style
    }

    /// How many positions the table covers.
    pub fn max_positions(&self) -> usize {
        self.turns.len() / (self.rotary_dim / 2)
    }

    /// Width of the heads it is for.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Fails unless all positions are inside the table.
    pub(super) fn check(&self, positions: &[u32]) -> Result<()> {
        let max_positions = self.max_positions();
        let outside = |&(_, &position): &(usize, &u32)| position as usize >= max_positions;
        match positions.iter().enumerate().find(outside) {
            Some((i, position)) => {
                bail!("rope: positions[{i}] is {position}, but the table ends at {max_positions}")
            }
            None => Ok(()),
        }
    }

    /// Turns one head by its position, inside the table: each pair `(a, b) -> (a cos - b sin, b cos + a sin)`.
    ///
    /// Only products and sums with a rounding each, so the compiler may vectorise without changing a bit.
    #[inline(always)]
    pub(crate) fn turn(&self, head: &mut [f32], position: u32) {
        self.turn_by::<false>(head, position);
    }

    /// The transpose of [`RopeTable::turn`], for gradients: each pair `(a, b) -> (a cos + b sin, b cos - a sin)`.
    pub(crate) fn turn_back(&self, head: &mut [f32], position: u32) {
        self.turn_by::<true>(head, position);
    }

    /// Not by a closure, which would be compiled without the instruction set of whoever calls.
    #[inline(always)]
    fn turn_by<const BACK: bool>(&self, head: &mut [f32], position: u32) {
        let num_pairs = self.rotary_dim / 2;
        let turns = &self.turns[position as usize * num_pairs..][..num_pairs];
        match self.style {
            RopeStyle::Interleaved => {
                for ([a, b], turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                    (*a, *b) = turned::<BACK>(*a, *b, turn);
                }
            }
            RopeStyle::Half => {
                let (low, high) = head[..self.rotary_dim].split_at_mut(num_pairs);
                for ((a, b), turn) in low.iter_mut().zip(high).zip(turns) {
                    (*a, *b) = turned::<BACK>(*a, *b, turn);
                }
            }
        }
    }
}

#[inline(always)]
fn turned<const BACK: bool>(a: f32, b: f32, &[cos, sin]: &[f32; 2]) -> (f32, f32) {
    match BACK {
        true => (a * cos + b * sin, b * cos - a * sin),
        false => (a * cos - b * sin, b * cos + a * sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_outside_the_table_is_an_error_naming_it() {
        let table = RopeTable::new(4, 4, 1e4, None, 1.0, 8, RopeStyle::Half).unwrap();
        let error = table.check(&[7, 8]).unwrap_err().to_string();
        assert!(error.contains("positions[1] is 8"), "{error}");
    }

    #[test]
    fn bad_parameters_are_errors_naming_them() {
        let new = |rotary_dim, base, factors, scale| {
            RopeTable::new(8, rotary_dim, base, factors, scale, 4, RopeStyle::Half)
                .err()
                .unwrap()
                .to_string()
        };
        assert!(new(7, 1e4, None, 1.0).contains("rotary_dim"));
        assert!(new(10, 1e4, None, 1.0).contains("rotary_dim"));
        assert!(new(8, f64::NAN, None, 1.0).contains("base"));
        assert!(new(8, 1e4, None, 0.0).contains("linear_scale"));
        assert!(new(8, 1e4, Some(&[1.0; 3][..]), 1.0).contains("freq_factors"));
        assert!(new(8, 1e4, Some(&[1.0, 1.0, 0.0, 1.0][..]), 1.0).contains("freq_factors[2]"));
    }
}
