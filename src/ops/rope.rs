//! Rotary position embedding.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use super::view::{rows_and_columns, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

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
        })
    }

    /// How many positions the table covers.
    pub fn max_positions(&self) -> usize {
        self.turns.len() / (self.rotary_dim / 2)
    }
}

/// Turns every head of x by its row's position, in place: x `[T, heads · D]` f32, T positions, and each pair
/// `(a, b) -> (a cos - b sin, b cos + a sin)`.
///
/// # Errors
/// If x does not have a row a position and whole heads, or a position is outside the table.
pub fn rope(x: &Tensor, positions: &[u32], table: &RopeTable, cpu: &Cpu) -> Result<()> {
    let (num_rows, width) = rows_and_columns("rope: x", x)?;
    if num_rows != positions.len() || !width.is_multiple_of(table.head_dim) {
        bail!(
            "rope: x must be [{}, a multiple of {}], is {:?}",
            positions.len(),
            table.head_dim,
            x.dims()
        );
    }
    let max_positions = table.max_positions();
    if let Some((i, position)) = positions
        .iter()
        .enumerate()
        .find(|&(_, &p)| p as usize >= max_positions)
    {
        bail!("rope: positions[{i}] is {position}, but the table ends at {max_positions}");
    }
    x.inplace_op1(&Rope {
        positions,
        table,
        width,
        cpu,
    })
}

struct Rope<'a> {
    positions: &'a [u32],
    table: &'a RopeTable,
    width: usize,
    cpu: &'a Cpu,
}

impl InplaceOp1 for Rope<'_> {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let x = slice_mut::<f32>("rope: x", x, layout)?;
        if x.is_empty() {
            return Ok(());
        }
        let rows_per_task = self.cpu.rows_per_task(self.positions.len(), self.width);
        self.cpu
            .for_each_chunk(x, rows_per_task * self.width, &|i, rows| {
                let positions = &self.positions[i * rows_per_task..];
                self.cpu.dispatch(Turn {
                    rows,
                    positions,
                    width: self.width,
                    table: self.table,
                });
            });
        Ok(())
    }
}

struct Turn<'a> {
    rows: &'a mut [f32],
    positions: &'a [u32],
    width: usize,
    table: &'a RopeTable,
}

impl Kernel for Turn<'_> {
    type Output = ();

    /// Only products and sums with a rounding each, so the compiler may vectorise without changing a bit.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let RopeTable {
            head_dim,
            rotary_dim,
            style,
            ref turns,
        } = *self.table;
        let num_pairs = rotary_dim / 2;
        for (row, &position) in self.rows.chunks_exact_mut(self.width).zip(self.positions) {
            let turns = &turns[position as usize * num_pairs..][..num_pairs];
            for head in row.chunks_exact_mut(head_dim) {
                match style {
                    RopeStyle::Interleaved => {
                        for ([a, b], turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                            (*a, *b) = turned(*a, *b, turn);
                        }
                    }
                    RopeStyle::Half => {
                        let (low, high) = head[..rotary_dim].split_at_mut(num_pairs);
                        for ((a, b), turn) in low.iter_mut().zip(high).zip(turns) {
                            (*a, *b) = turned(*a, *b, turn);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn turned(a: f32, b: f32, &[cos, sin]: &[f32; 2]) -> (f32, f32) {
    (a * cos - b * sin, b * cos + a * sin)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    #[test]
    fn pairs_turn_by_the_angle_of_their_position_the_same_everywhere() {
        let (head_dim, rotary_dim, heads, rows) = (16, 12, 5, 300);
        let mut random = Random::new(5);
        let x = random.floats(rows * heads * head_dim, 2.0);
        let positions: Vec<u32> = (0..rows).map(|_| random.below(1000) as u32).collect();
        let factors: Vec<f32> = (0..6).map(|i| 1.0 + i as f32).collect();
        for style in [RopeStyle::Interleaved, RopeStyle::Half] {
            let table = RopeTable::new(
                head_dim,
                rotary_dim,
                10_000.0,
                Some(&factors),
                2.0,
                1000,
                style,
            )
            .unwrap();
            let mut want: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            for (at, head) in want.chunks_exact_mut(head_dim).enumerate() {
                for (i, &factor) in factors.iter().enumerate() {
                    let frequency = 10_000f64.powf(-2.0 * i as f64 / 12.0) / f64::from(factor);
                    let (sin, cos) = (f64::from(positions[at / heads]) / 2.0 * frequency).sin_cos();
                    let (p, q) = if style == RopeStyle::Half {
                        (i, i + 6)
                    } else {
                        (2 * i, 2 * i + 1)
                    };
                    (head[p], head[q]) =
                        (head[p] * cos - head[q] * sin, head[q] * cos + head[p] * sin);
                }
            }
            let mut all = Vec::new();
            for cpu in cpus() {
                let (buffer, got) = view(&x, (rows, heads * head_dim));
                rope(&got, &positions, &table, &cpu).unwrap();
                buffer.assert_margins_untouched();
                for (got, want) in got
                    .flatten_all()
                    .unwrap()
                    .to_vec1::<f32>()
                    .unwrap()
                    .iter()
                    .zip(&want)
                {
                    assert!((f64::from(*got) - want).abs() < 1e-6, "{got} {want}");
                }
                all.push(bits(&got));
            }
            assert!(
                all.iter().all(|one| one == &all[0]),
                "instructions and threads change no bit"
            );
        }
    }

    #[test]
    fn a_position_outside_the_table_is_an_error_naming_it() {
        let cpu = Cpu::new(1).unwrap();
        let table = RopeTable::new(4, 4, 1e4, None, 1.0, 8, RopeStyle::Half).unwrap();
        let x = tensor(&[0.0; 16], (2, 8));
        let error = rope(&x, &[7, 8], &table, &cpu).unwrap_err().to_string();
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
