//! Numbers to test with, and how they are compared.

use half::{bf16, f16};

use super::shim::Element;

/// The 16-bit floats that activations and weights are kept in.
pub trait Half: Element {
    /// As kernels' names end.
    const NAME: &'static str;
    /// Half of the distance between 1 and the next number.
    const EPSILON: f32;
    fn round(x: f32) -> Self;
    fn to_f32(self) -> f32;
}

impl Half for f16 {
    const NAME: &'static str = "f16";
    const EPSILON: f32 = 1.0 / 2048.0;
    fn round(x: f32) -> Self {
        f16::from_f32(x)
    }
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
}

impl Half for bf16 {
    const NAME: &'static str = "bf16";
    const EPSILON: f32 = 1.0 / 256.0;
    fn round(x: f32) -> Self {
        bf16::from_f32(x)
    }
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

pub fn widen<T: Half>(values: &[T]) -> Vec<f32> {
    values.iter().map(|x| x.to_f32()).collect()
}

/// A generator with a seed (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    /// In `-limit..limit`.
    pub fn float(&mut self, limit: f32) -> f32 {
        ((self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * limit
    }

    pub fn floats(&mut self, len: usize, limit: f32) -> Vec<f32> {
        (0..len).map(|_| self.float(limit)).collect()
    }

    /// Values that `T` holds exactly.
    pub fn halves<T: Half>(&mut self, len: usize, limit: f32) -> Vec<T> {
        (0..len).map(|_| T::round(self.float(limit))).collect()
    }
}

/// Each value within `relative` of its own magnitude, or of one where that is less.
#[track_caller]
pub fn assert_close(got: &[f32], want: &[f32], relative: f32) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let bound = relative * want.abs().max(1.0);
        assert!(
            (got - want).abs() <= bound,
            "[{i}] is {got}, should be {want} within {bound}"
        );
    }
}
