//! The inner loops: a panel of outputs against a tile of rows.

use super::packed::{F32Column, Q4Block, Q8Block};
use super::quantise::Block;
use crate::backend::cpu::Simd;

/// One K-step of a panel: 32 values of 8 quantised outputs, or one value of 16 f32 outputs.
pub(super) trait Panel: Sync + Sized {
    /// Outputs side by side in a panel, at most 16.
    const OUTPUTS: usize;
    /// What a row of activations consists of.
    type Input: Sync;

    /// The dot products of the panel's outputs with R rows, in ascending K, one accumulator each.
    fn dot<S: Simd, const R: usize>(
        s: S,
        panel: &[Self],
        x: [&[Self::Input]; R],
        out: &mut [[[f32; 8]; 2]; R],
    );
}

/// The quantised activations of a tile's rows in one block.
#[inline(always)]
fn quants<'a, const R: usize>(x: &[&'a [Block]; R], block: usize) -> [&'a [i8; 32]; R] {
    x.map(|row| &row[block].quants)
}

impl Panel for Q4Block {
    const OUTPUTS: usize = 8;
    type Input = Block;

    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        s: S,
        panel: &[Self],
        x: [&[Block]; R],
        out: &mut [[[f32; 8]; 2]; R],
    ) {
        let mut sums = [s.splat(0.0); R];
        for (b, w) in panel.iter().enumerate() {
            let dots = s.dot_u4(&w.quants, quants(&x, b));
            let (scale, min) = (s.load_f16(&w.scales), s.load_f16(&w.mins));
            for r in 0..R {
                let x = &x[r][b];
                for (dot, x_scale) in dots[r].into_iter().zip(x.scales) {
                    sums[r] = s.fma(dot, s.mul(scale, s.splat(x_scale)), sums[r]);
                }
                sums[r] = s.fma(min, s.splat(x.sum), sums[r]);
            }
        }
        for r in 0..R {
            s.store(sums[r], &mut out[r][0]);
        }
    }
}

impl Panel for Q8Block {
    const OUTPUTS: usize = 8;
    type Input = Block;

    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        s: S,
        panel: &[Self],
        x: [&[Block]; R],
        out: &mut [[[f32; 8]; 2]; R],
    ) {
        let mut sums = [s.splat(0.0); R];
        for (b, w) in panel.iter().enumerate() {
            let dots = s.dot_i8(&w.quants, quants(&x, b));
            let scale = s.load_f16(&w.scales);
            for r in 0..R {
                for (dot, x_scale) in dots[r].into_iter().zip(x[r][b].scales) {
                    sums[r] = s.fma(dot, s.mul(scale, s.splat(x_scale)), sums[r]);
                }
            }
        }
        for r in 0..R {
            s.store(sums[r], &mut out[r][0]);
        }
    }
}

impl Panel for F32Column {
    const OUTPUTS: usize = 16;
    type Input = f32;

    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        s: S,
        panel: &[Self],
        x: [&[f32]; R],
        out: &mut [[[f32; 8]; 2]; R],
    ) {
        let mut sums = [[s.splat(0.0); 2]; R];
        for (k, w) in panel.iter().enumerate() {
            let w = [s.load(&w.0[0]), s.load(&w.0[1])];
            for r in 0..R {
                let x = s.splat(x[r][k]);
                sums[r][0] = s.fma(w[0], x, sums[r][0]);
                sums[r][1] = s.fma(w[1], x, sums[r][1]);
            }
        }
        for r in 0..R {
            s.store(sums[r][0], &mut out[r][0]);
            s.store(sums[r][1], &mut out[r][1]);
        }
    }
}
