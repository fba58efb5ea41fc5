//! Activations as int8 along K, in blocks of 32 whose halves have a scale each.

use crate::backend::cpu::{Cpu, Int8Block, Kernel, Simd};

/// Values a block.
const BLOCK: usize = 32;

/// A buffer of quantised rows that is filled again for every call.
pub(super) struct QuantisedRows(Vec<Int8Block>);

impl QuantisedRows {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Quantises rows of `width` values (a multiple of 32), in parallel where they are many.
    pub(super) fn fill(&mut self, x: &[f32], width: usize, cpu: &Cpu) -> &[Int8Block] {
        let num_blocks = x.len() / BLOCK;
        if self.0.len() < num_blocks {
            self.0.resize(num_blocks, Int8Block::ZERO);
        }
        let blocks = &mut self.0[..num_blocks];
        let blocks_per_row = width / BLOCK;
        let chunk_len = (cpu.rows_per_task(x.len() / width, width) * blocks_per_row).max(1);
        cpu.for_each_chunk(blocks, chunk_len, &|i, blocks| {
            let x = &x[i * chunk_len * BLOCK..][..blocks.len() * BLOCK];
            cpu.dispatch(Quantise { x, blocks });
        });
        blocks
    }
}

struct Quantise<'a> {
    x: &'a [f32],
    blocks: &'a mut [Int8Block],
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, block) in self.x.as_chunks::<BLOCK>().0.iter().zip(self.blocks) {
            quantise(s, x, block);
        }
    }
}

/// Rounds 32 values to multiples of 1/127 of the largest magnitude in their half.
#[inline(always)]
fn quantise<S: Simd>(s: S, x: &[f32; BLOCK], block: &mut Int8Block) {
    /// Below this `127 / largest` could overflow; such a half counts as zero.
    const SMALLEST: f32 = 128.0 * f32::MIN_POSITIVE;
    /// Above this the block's sum could overflow; such a half counts as an infinity.
    const LARGEST: f32 = 1e34;
    let mut v = [s.splat(0.0); 4];
    for (v, x) in v.iter_mut().zip(x.as_chunks::<8>().0) {
        *v = s.load(x);
    }
    for (v, scale) in v.as_chunks_mut::<2>().0.iter_mut().zip(&mut block.scales) {
        let largest = s.max_lane(s.max(s.abs(v[0]), s.abs(v[1])));
        // Zero times a NaN or an infinity is NaN.
        let zeros = s.fma(v[1], s.splat(0.0), s.mul(v[0], s.splat(0.0)));
        let inverse;
        (*scale, inverse) = if s.sum(zeros).is_nan() || largest > LARGEST {
            *v = [s.splat(0.0); 2];
            (f32::NAN, 0.0)
        } else if largest >= SMALLEST {
            (largest / 127.0, 127.0 / largest)
        } else {
            (0.0, 0.0)
        };
        for v in v {
            *v = s.mul(*v, s.splat(inverse));
        }
    }
    block.neg_pair_sums = s
        .to_i8(v, &mut block.quants)
        .map(|pairs| pairs.map(|sum| -sum));
    block.neg_sums = block
        .neg_pair_sums
        .map(|[a, b]| i32::from(a) + i32::from(b));
    block.sum = block.half_sum(0) + block.half_sum(1);
}
