//! Panels of 16 outputs, and the product of their steps with a tile of rows.

use half::{bf16, f16};

use super::blocks::Decoded;
use super::quants::Quants;
use super::scales::Scales;
use crate::backend::cpu::{Int8Block, PANEL, Simd, e4m3};

/// How far ahead of their use weights are prefetched, in bytes.
const AHEAD: usize = 1280;

/// One step of a panel along K.
pub(super) trait Panel: Copy + Send + Sync + 'static {
    /// Values of each output in a step.
    const VALUES: usize;
    /// What a row of activations consists of, and how many of them meet a step.
    type Input: Copy + Sync;
    const INPUTS: usize;
    const ZERO: Self;

    /// The dot products of a group of the panel's outputs with R rows, in ascending K, one accumulator each.
    fn dot<S: Simd, const R: usize>(
        s: S,
        steps: &[Self],
        group: usize,
        x: [&[Self::Input]; R],
    ) -> [S::Lanes; R];

    /// Writes an output's values of the step, `[VALUES]`.
    fn read(&self, output: usize, out: &mut [f32]);
}

/// N blocks of 32 quantised values.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Step<Q, C, const N: usize> {
    quants: [Q; N],
    scales: C,
}

/// A panel of N blocks, filled output by output.
pub(super) trait BlockPanel<const N: usize>: Panel<Input = Int8Block> {
    /// Stores an output's step.
    fn set(&mut self, output: usize, decoded: &Decoded<N>);
}

impl<Q: Quants, C: Scales<N>, const N: usize> BlockPanel<N> for Step<Q, C, N> {
    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<N>) {
        for (to, from) in self.quants.iter_mut().zip(&decoded.quants) {
            to.set(output, from);
        }
        self.scales.set(output, decoded);
    }
}

impl<Q: Quants, C: Scales<N>, const N: usize> Panel for Step<Q, C, N> {
    const VALUES: usize = 32 * N;
    type Input = Int8Block;
    const INPUTS: usize = N;
    const ZERO: Self = Self {
        quants: [Q::ZERO; N],
        scales: C::ZERO,
    };

    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        s: S,
        steps: &[Self],
        group: usize,
        x: [&[Int8Block]; R],
    ) -> [S::Lanes; R] {
        let mut sums = [s.lanes(0.0); R];
        for (i, step) in steps.iter().enumerate() {
            prefetch_ahead(s, step);
            for (b, quants) in step.quants.iter().enumerate() {
                let x = x.map(|row| &row[i * N + b]);
                step.scales.add(s, b, quants, group, x, &mut sums);
            }
        }
        sums
    }

    fn read(&self, output: usize, out: &mut [f32]) {
        for (b, (quants, out)) in self.quants.iter().zip(out.chunks_exact_mut(32)).enumerate() {
            for (k, out) in out.iter_mut().enumerate() {
                *out = self.scales.value(output, b, k, quants.get(output, k));
            }
        }
    }
}

/// Asks for what lies [`AHEAD`] bytes after a step, so that its loads wait for memory in no order of the compiler's.
#[inline(always)]
fn prefetch_ahead<S: Simd, T>(s: S, step: &T) {
    let first = std::ptr::from_ref(step).cast::<u8>().wrapping_add(AHEAD);
    for line in 0..size_of::<T>().div_ceil(64) {
        s.prefetch(first.wrapping_add(64 * line));
    }
}

/// A float type that weights are kept in; its values are exact in f32.
pub(super) trait Float: Copy + Send + Sync + 'static {
    const ZERO: Self;
    fn lanes<S: Simd>(s: S, column: &[Self; PANEL], group: usize) -> S::Lanes;
    fn to_f32(self) -> f32;
}

impl Float for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn lanes<S: Simd>(s: S, column: &[f32; PANEL], group: usize) -> S::Lanes {
        s.lanes_f32(column, group)
    }
    fn to_f32(self) -> f32 {
        self
    }
}

impl Float for f16 {
    const ZERO: Self = f16::ZERO;
    #[inline(always)]
    fn lanes<S: Simd>(s: S, column: &[f16; PANEL], group: usize) -> S::Lanes {
        s.lanes_f16(column, group)
    }
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
}

impl Float for bf16 {
    const ZERO: Self = bf16::ZERO;
    #[inline(always)]
    fn lanes<S: Simd>(s: S, column: &[bf16; PANEL], group: usize) -> S::Lanes {
        s.lanes_bf16(column, group)
    }
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

/// One value of each output.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Column<T>(pub(super) [T; PANEL]);

impl<T: Float> Panel for Column<T> {
    const VALUES: usize = 1;
    type Input = f32;
    const INPUTS: usize = 1;
    const ZERO: Self = Self([T::ZERO; PANEL]);

    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        s: S,
        steps: &[Self],
        group: usize,
        x: [&[f32]; R],
    ) -> [S::Lanes; R] {
        let mut sums = [s.lanes(0.0); R];
        for (k, column) in steps.iter().enumerate() {
            let w = T::lanes(s, &column.0, group);
            for r in 0..R {
                sums[r] = s.fma_lanes(w, s.lanes(x[r][k]), sums[r]);
            }
        }
        sums
    }

    fn read(&self, output: usize, out: &mut [f32]) {
        out[0] = self.0[output].to_f32();
    }
}

/// 32 floats of 8 bits (E4M3) of each output, and their scales.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Fp8Step {
    columns: [[u8; PANEL]; 32],
    /// 256 times what the file has, which `lanes_e4m3` leaves out.
    scales: [f32; PANEL],
}

impl Fp8Step {
    /// Stores an output's step: `scale:f32 values:[u8;32]`.
    #[inline(always)]
    pub(super) fn set(&mut self, output: usize, block: &[u8; 36]) {
        let (scale, values) = block.split_at(4);
        for (column, value) in self.columns.iter_mut().zip(values) {
            column[output] = *value;
        }
        let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        self.scales[output] = scale * 256.0;
    }
}

impl Panel for Fp8Step {
    const VALUES: usize = 32;
    type Input = f32;
    const INPUTS: usize = 32;
    const ZERO: Self = Self {
        columns: [[0; PANEL]; 32],
        scales: [0.0; PANEL],
    };

    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        s: S,
        steps: &[Self],
        group: usize,
        x: [&[f32]; R],
    ) -> [S::Lanes; R] {
        let mut sums = [s.lanes(0.0); R];
        for (i, step) in steps.iter().enumerate() {
            let mut dots = [s.lanes(0.0); R];
            for (k, column) in step.columns.iter().enumerate() {
                let w = s.lanes_e4m3(column, group);
                for r in 0..R {
                    dots[r] = s.fma_lanes(w, s.lanes(x[r][32 * i + k]), dots[r]);
                }
            }
            let scale = s.lanes_f32(&step.scales, group);
            for r in 0..R {
                sums[r] = s.fma_lanes(dots[r], scale, sums[r]);
            }
        }
        sums
    }

    fn read(&self, output: usize, out: &mut [f32]) {
        for (column, out) in self.columns.iter().zip(out) {
            *out = e4m3(column[output]) * self.scales[output];
        }
    }
}
