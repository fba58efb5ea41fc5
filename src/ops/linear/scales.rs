//! How a panel's quants are scaled, and how their products join the sums.
//!
//! Invariant: what a block adds to a sum is one fixed chain of roundings, the same for every tile and instruction set.

use half::{bf16, f16};

use super::blocks::Decoded;
use super::quants::Quants;
use crate::backend::cpu::{Int8Block, PANEL, Simd};

/// The scales of N blocks of 32 values of each output of a panel.
pub(super) trait Scales<const N: usize>: Copy + Send + Sync + 'static {
    const ZERO: Self;
    /// Stores an output's scales.
    fn set(&mut self, output: usize, decoded: &Decoded<N>);
    /// The value of quant `q` at place `k` of block `b`: its f32 is the format's formula.
    fn value(&self, output: usize, b: usize, k: usize, q: i32) -> f32;
    /// Adds the products of block `b` to the sums of some rows.
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        b: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    );
}

/// One scale for a block: `scale · (x₀ dot₀ + x₁ dot₁) + min · Σx`, with the scale of x by half.
#[inline(always)]
fn add_block<S: Simd, Q: Quants, const R: usize>(
    s: S,
    quants: &Q,
    group: usize,
    (scale, min): (S::Lanes, Option<S::Lanes>),
    x: [&Int8Block; R],
    sums: &mut [S::Lanes; R],
) {
    let mut first = quants.dot(s, 0, group, x);
    for (dot, x) in first.iter_mut().zip(x) {
        *dot = s.mul_lanes(*dot, s.lanes(x.scales[0]));
    }
    let first = s.settle(first);
    let second = s.settle(quants.dot(s, 1, group, x));
    for r in 0..R {
        let dot = s.fma_lanes(second[r], s.lanes(x[r].scales[1]), first[r]);
        if let Some(min) = min {
            sums[r] = s.fma_lanes(min, s.lanes(x[r].sum), sums[r]);
        }
        sums[r] = s.fma_lanes(dot, scale, sums[r]);
    }
}

/// A scale for one half of a block: `scale · x dot + min · Σx`.
#[inline(always)]
fn add_half<S: Simd, Q: Quants, const R: usize>(
    s: S,
    quants: &Q,
    (half, group): (usize, usize),
    (scale, min): (S::Lanes, Option<S::Lanes>),
    x: [&Int8Block; R],
    sums: &mut [S::Lanes; R],
) {
    let dots = s.settle(quants.dot(s, half, group, x));
    for r in 0..R {
        let dot = s.mul_lanes(dots[r], s.lanes(x[r].scales[half]));
        sums[r] = s.fma_lanes(dot, scale, sums[r]);
        if let Some(min) = min {
            sums[r] = s.fma_lanes(min, s.lanes(x[r].half_sum(half)), sums[r]);
        }
    }
}

/// `d · q`: Q4_0, Q5_0, Q8_0, IQ4_NL.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Scale([f16; PANEL]);

impl Scales<1> for Scale {
    const ZERO: Self = Self([f16::ZERO; PANEL]);

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<1>) {
        self.0[output] = decoded.d;
    }
    fn value(&self, output: usize, _: usize, _: usize, q: i32) -> f32 {
        q as f32 * self.0[output].to_f32()
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        _: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let scale = s.lanes_f16(&self.0, group);
        add_block(s, quants, group, (scale, None), x, sums);
    }
}

/// `2^(e - 128) · q`: MXFP4. The exponent `e` is the first scale of a decoded block.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct PowerOfTwo([bf16; PANEL]);

impl Scales<1> for PowerOfTwo {
    const ZERO: Self = Self([bf16::ZERO; PANEL]);

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<1>) {
        let exponent = u16::from(decoded.scales[0].cast_unsigned());
        // The two smallest are subnormal.
        let bits = match exponent {
            0 | 1 => 0x20 << exponent,
            _ => (exponent - 1) << 7,
        };
        self.0[output] = bf16::from_bits(bits);
    }
    fn value(&self, output: usize, _: usize, _: usize, q: i32) -> f32 {
        q as f32 * self.0[output].to_f32()
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        _: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let scale = s.lanes_bf16(&self.0, group);
        add_block(s, quants, group, (scale, None), x, sums);
    }
}

/// `d · (q - z)`: integers of 4 bits (AWQ, GPTQ). The zero `z` is the first scale of a decoded block.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ScaleZero {
    d: [f16; PANEL],
    neg_z: [i8; PANEL],
}

impl Scales<1> for ScaleZero {
    const ZERO: Self = Self {
        d: [f16::ZERO; PANEL],
        neg_z: [0; PANEL],
    };

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<1>) {
        (self.d[output], self.neg_z[output]) = (decoded.d, -decoded.scales[0]);
    }
    fn value(&self, output: usize, _: usize, _: usize, q: i32) -> f32 {
        (q + i32::from(self.neg_z[output])) as f32 * self.d[output].to_f32()
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        _: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let scale = s.lanes_f16(&self.d, group);
        let min = s.mul_lanes(scale, s.lanes_i8(&self.neg_z, group));
        add_block(s, quants, group, (scale, Some(min)), x, sums);
    }
}

/// `d · q + m`: Q4_1, Q5_1.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ScaleMin {
    d: [f16; PANEL],
    m: [f16; PANEL],
}

impl Scales<1> for ScaleMin {
    const ZERO: Self = Self {
        d: [f16::ZERO; PANEL],
        m: [f16::ZERO; PANEL],
    };

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<1>) {
        (self.d[output], self.m[output]) = (decoded.d, decoded.m);
    }
    fn value(&self, output: usize, _: usize, _: usize, q: i32) -> f32 {
        q as f32 * self.d[output].to_f32() + self.m[output].to_f32()
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        _: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let (scale, min) = (s.lanes_f16(&self.d, group), s.lanes_f16(&self.m, group));
        add_block(s, quants, group, (scale, Some(min)), x, sums);
    }
}

/// `d · sc · q - m · mins`, with `sc` and `mins` of 32 values: Q4_K, Q5_K.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ScaleMinOf32 {
    d: [f16; PANEL],
    /// The minima's scale, its sign turned.
    neg_m: [f16; PANEL],
    scales: [[i8; PANEL]; 8],
    mins: [[i8; PANEL]; 8],
}

impl Scales<8> for ScaleMinOf32 {
    const ZERO: Self = Self {
        d: [f16::ZERO; PANEL],
        neg_m: [f16::ZERO; PANEL],
        scales: [[0; PANEL]; 8],
        mins: [[0; PANEL]; 8],
    };

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<8>) {
        (self.d[output], self.neg_m[output]) = (decoded.d, -decoded.m);
        for b in 0..8 {
            self.scales[b][output] = decoded.scales[b];
            self.mins[b][output] = decoded.mins[b];
        }
    }
    fn value(&self, output: usize, b: usize, _: usize, q: i32) -> f32 {
        let scale = self.d[output].to_f32() * f32::from(self.scales[b][output]);
        scale * q as f32 + self.neg_m[output].to_f32() * f32::from(self.mins[b][output])
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        b: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let scale = s.mul_lanes(
            s.lanes_f16(&self.d, group),
            s.lanes_i8(&self.scales[b], group),
        );
        let min = s.mul_lanes(
            s.lanes_f16(&self.neg_m, group),
            s.lanes_i8(&self.mins[b], group),
        );
        add_block(s, quants, group, (scale, Some(min)), x, sums);
    }
}

/// `d · sc · q`, with `sc` of 16 values: Q3_K, Q6_K, IQ4_XS, TQ1_0, TQ2_0.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ScaleOf16 {
    d: [f16; PANEL],
    scales: [[i8; PANEL]; 16],
}

impl Scales<8> for ScaleOf16 {
    const ZERO: Self = Self {
        d: [f16::ZERO; PANEL],
        scales: [[0; PANEL]; 16],
    };

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<8>) {
        self.d[output] = decoded.d;
        for (scales, scale) in self.scales.iter_mut().zip(decoded.scales) {
            scales[output] = scale;
        }
    }
    fn value(&self, output: usize, b: usize, k: usize, q: i32) -> f32 {
        let scale = self.d[output].to_f32() * f32::from(self.scales[2 * b + k / 16][output]);
        scale * q as f32
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        b: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let d = s.lanes_f16(&self.d, group);
        for half in 0..2 {
            let scale = s.mul_lanes(d, s.lanes_i8(&self.scales[2 * b + half], group));
            add_half(s, quants, (half, group), (scale, None), x, sums);
        }
    }
}

/// `d · sc · q - m · mins`, with `sc` and `mins` of 16 values: Q2_K.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ScaleMinOf16 {
    scales: ScaleOf16,
    /// The minima's scale, its sign turned.
    neg_m: [f16; PANEL],
    mins: [[i8; PANEL]; 16],
}

impl Scales<8> for ScaleMinOf16 {
    const ZERO: Self = Self {
        scales: ScaleOf16::ZERO,
        neg_m: [f16::ZERO; PANEL],
        mins: [[0; PANEL]; 16],
    };

    #[inline(always)]
    fn set(&mut self, output: usize, decoded: &Decoded<8>) {
        self.scales.set(output, decoded);
        self.neg_m[output] = -decoded.m;
        for (mins, min) in self.mins.iter_mut().zip(decoded.mins) {
            mins[output] = min;
        }
    }
    fn value(&self, output: usize, b: usize, k: usize, q: i32) -> f32 {
        let min = self.neg_m[output].to_f32() * f32::from(self.mins[2 * b + k / 16][output]);
        self.scales.value(output, b, k, q) + min
    }
    #[inline(always)]
    fn add<S: Simd, Q: Quants, const R: usize>(
        &self,
        s: S,
        b: usize,
        quants: &Q,
        group: usize,
        x: [&Int8Block; R],
        sums: &mut [S::Lanes; R],
    ) {
        let (d, neg_m) = (
            s.lanes_f16(&self.scales.d, group),
            s.lanes_f16(&self.neg_m, group),
        );
        for half in 0..2 {
            let at = 2 * b + half;
            let scale = s.mul_lanes(d, s.lanes_i8(&self.scales.scales[at], group));
            let min = s.mul_lanes(neg_m, s.lanes_i8(&self.mins[at], group));
            add_half(s, quants, (half, group), (scale, Some(min)), x, sums);
        }
    }
}
