//! The paged key-value cache, written down independently of the kernels.

use half::{bf16, f16};

use super::shim::Element;
use super::values::Random;

/// What the cache's units are.
pub trait Unit: Element {
    /// As kernels' names have it.
    const NAME: &'static str;
    /// A head's key or value as it is stored, and the bits of its scale.
    fn encode(values: &[f32]) -> (Vec<Self>, Option<f32>);
    fn decode(unit: Self, scale: f32) -> f32;
    /// A scale as four units, or from them.
    fn scale_units(scale: f32) -> Vec<Self>;
    fn scale_of(units: &[Self]) -> f32;
    fn is_poison(self) -> bool;
}

macro_rules! float_unit {
    ($t:ty, $name:literal) => {
        impl Unit for $t {
            const NAME: &'static str = $name;
            fn encode(values: &[f32]) -> (Vec<Self>, Option<f32>) {
                (values.iter().map(|x| <$t>::from_f32(*x)).collect(), None)
            }
            fn decode(unit: Self, _: f32) -> f32 {
                unit.to_f32()
            }
            fn scale_units(_: f32) -> Vec<Self> {
                Vec::new()
            }
            fn scale_of(_: &[Self]) -> f32 {
                1.0
            }
            fn is_poison(self) -> bool {
                self.to_bits() == Self::POISON.to_bits()
            }
        }
    };
}
float_unit!(f16, "f16");
float_unit!(bf16, "bf16");

impl Unit for i8 {
    const NAME: &'static str = "int8";
    fn encode(values: &[f32]) -> (Vec<Self>, Option<f32>) {
        let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let quants = values.iter().map(|x| (x * inverse).round_ties_even() as i8);
        (quants.collect(), Some(largest / 127.0))
    }
    fn decode(unit: Self, scale: f32) -> f32 {
        f32::from(unit) * scale
    }
    fn scale_units(scale: f32) -> Vec<Self> {
        scale.to_le_bytes().map(u8::cast_signed).to_vec()
    }
    fn scale_of(units: &[Self]) -> f32 {
        f32::from_le_bytes([0, 1, 2, 3].map(|i| units[i].cast_unsigned()))
    }
    fn is_poison(self) -> bool {
        self == Self::POISON
    }
}

#[derive(Clone, Copy)]
pub struct Layout {
    pub num_blocks: usize,
    pub num_kv_heads: usize,
    pub block_size: usize,
    pub head_dim: usize,
}

impl Layout {
    fn part_len<U: Unit>(&self) -> usize {
        self.block_size * (self.head_dim + U::scale_units(0.0).len())
    }

    pub fn len<U: Unit>(&self) -> usize {
        self.num_blocks * 2 * self.num_kv_heads * self.part_len::<U>()
    }

    /// Where a slot's key (`which` 0) or value starts, and where its scale does.
    fn place<U: Unit>(&self, slot: usize, which: usize, head: usize) -> (usize, usize) {
        let (block, offset) = (slot / self.block_size, slot % self.block_size);
        let part = ((block * 2 + which) * self.num_kv_heads + head) * self.part_len::<U>();
        let scale_len = U::scale_units(0.0).len();
        (
            part + offset * self.head_dim,
            part + self.block_size * self.head_dim + offset * scale_len,
        )
    }

    pub fn write<U: Unit>(
        &self,
        cache: &mut [U],
        slot: usize,
        which: usize,
        head: usize,
        values: &[f32],
    ) {
        let (units, scale) = U::encode(values);
        let (at, scale_at) = self.place::<U>(slot, which, head);
        cache[at..at + self.head_dim].copy_from_slice(&units);
        if let Some(scale) = scale {
            cache[scale_at..scale_at + 4].copy_from_slice(&U::scale_units(scale));
        }
    }

    /// Makes a slot's key or value what it was before anything was written.
    pub fn erase<U: Unit>(&self, cache: &mut [U], slot: usize, which: usize, head: usize) {
        let (at, scale_at) = self.place::<U>(slot, which, head);
        let scale_len = U::scale_units(0.0).len();
        cache[at..at + self.head_dim].fill(U::POISON);
        cache[scale_at..scale_at + scale_len].fill(U::POISON);
    }

    pub fn read<U: Unit>(&self, cache: &[U], slot: usize, which: usize, head: usize) -> Vec<f32> {
        let (at, scale_at) = self.place::<U>(slot, which, head);
        let scale = U::scale_of(&cache[scale_at.min(cache.len())..]);
        cache[at..at + self.head_dim]
            .iter()
            .map(|unit| U::decode(*unit, scale))
            .collect()
    }

    /// A cache full of values.
    pub fn random<U: Unit>(&self, random: &mut Random) -> Vec<U> {
        let mut cache = vec![U::POISON; self.len::<U>()];
        for slot in 0..self.num_blocks * self.block_size {
            for which in 0..2 {
                for head in 0..self.num_kv_heads {
                    self.write(
                        &mut cache,
                        slot,
                        which,
                        head,
                        &random.floats(self.head_dim, 1.5),
                    );
                }
            }
        }
        cache
    }
}
