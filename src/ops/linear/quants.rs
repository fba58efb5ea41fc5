//! How the quants of 32 values of a panel's outputs lie in memory, and their dot products.

use std::marker::PhantomData;

use crate::backend::cpu::{Int8Block, PANEL, Simd};

/// 32 quants of each output of a panel.
pub(super) trait Quants: Copy + Send + Sync + 'static {
    const ZERO: Self;
    /// Stores an output's quants, as they stand in the file.
    fn set(&mut self, output: usize, quants: &[u8; 32]);
    /// Value `k` of an output, as [`Quants::dot`] takes it.
    fn get(&self, output: usize, k: usize) -> i32;
    /// The products over one half with some rows.
    fn dot<S: Simd, const R: usize>(
        &self,
        s: S,
        half: usize,
        group: usize,
        x: [&Int8Block; R],
    ) -> [S::Lanes; R];
}

/// Where value `k` of `output` lies in vectors of 64 bytes: which vector, which byte.
#[inline(always)]
fn place(output: usize, k: usize) -> (usize, usize) {
    (k / 4, 4 * output + k % 4)
}

/// Quants of 4 bits, OFFSET of which count as zero.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Nibbles<const OFFSET: i32>([u8; 16 * PANEL]);

impl<const OFFSET: i32> Quants for Nibbles<OFFSET> {
    const ZERO: Self = Self([0; 16 * PANEL]);

    #[inline(always)]
    fn set(&mut self, output: usize, quants: &[u8; 32]) {
        for (vector, quants) in self
            .0
            .as_chunks_mut::<64>()
            .0
            .iter_mut()
            .zip(quants.as_chunks::<8>().0)
        {
            for i in 0..4 {
                vector[4 * output + i] = quants[i] & 15 | quants[4 + i] << 4;
            }
        }
    }
    fn get(&self, output: usize, k: usize) -> i32 {
        let (vector, byte) = place(output, k);
        i32::from(self.0[64 * (vector / 2) + byte] >> (vector % 2 * 4) & 15) - OFFSET
    }
    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        &self,
        s: S,
        half: usize,
        group: usize,
        x: [&Int8Block; R],
    ) -> [S::Lanes; R] {
        s.dot_unsigned::<OFFSET, R>(s.nibbles(&self.0, half, group), half, x)
    }
}

/// One more bit of every quant: bit `g` of byte `b` belongs to byte `b` of vector `g`.
#[derive(Clone, Copy)]
struct Plane([u8; 4 * PANEL]);

impl Plane {
    const ZERO: Self = Self([0; 4 * PANEL]);

    #[inline(always)]
    fn set(&mut self, output: usize, quants: &[u8; 32], bit: usize) {
        for i in 0..4 {
            let bits = (0..8).map(|g| (quants[4 * g + i] >> bit & 1) << g);
            self.0[4 * output + i] = bits.sum();
        }
    }
    fn get(&self, output: usize, k: usize) -> i32 {
        let (vector, byte) = place(output, k);
        i32::from(self.0[byte] >> vector & 1)
    }
}

/// Quants of 5 bits, OFFSET of which count as zero.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct FiveBits<const OFFSET: i32> {
    low: Nibbles<0>,
    bit4: Plane,
}

impl<const OFFSET: i32> Quants for FiveBits<OFFSET> {
    const ZERO: Self = Self {
        low: Nibbles::ZERO,
        bit4: Plane::ZERO,
    };

    #[inline(always)]
    fn set(&mut self, output: usize, quants: &[u8; 32]) {
        self.low.set(output, quants);
        self.bit4.set(output, quants, 4);
    }
    fn get(&self, output: usize, k: usize) -> i32 {
        (self.low.get(output, k) | self.bit4.get(output, k) << 4) - OFFSET
    }
    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        &self,
        s: S,
        half: usize,
        group: usize,
        x: [&Int8Block; R],
    ) -> [S::Lanes; R] {
        let w = s.nibbles(&self.low.0, half, group);
        s.dot_unsigned::<OFFSET, R>(s.with_bit(w, &self.bit4.0, half, group, 4), half, x)
    }
}

/// Quants of 6 bits, 32 of which count as zero.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct SixBits {
    low: Nibbles<0>,
    bit4: Plane,
    bit5: Plane,
}

impl Quants for SixBits {
    const ZERO: Self = Self {
        low: Nibbles::ZERO,
        bit4: Plane::ZERO,
        bit5: Plane::ZERO,
    };

    #[inline(always)]
    fn set(&mut self, output: usize, quants: &[u8; 32]) {
        self.low.set(output, quants);
        self.bit4.set(output, quants, 4);
        self.bit5.set(output, quants, 5);
    }
    fn get(&self, output: usize, k: usize) -> i32 {
        let high = self.bit4.get(output, k) << 4 | self.bit5.get(output, k) << 5;
        (self.low.get(output, k) | high) - 32
    }
    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        &self,
        s: S,
        half: usize,
        group: usize,
        x: [&Int8Block; R],
    ) -> [S::Lanes; R] {
        let w = s.nibbles(&self.low.0, half, group);
        let w = s.with_bit(w, &self.bit4.0, half, group, 4);
        s.dot_unsigned::<32, R>(s.with_bit(w, &self.bit5.0, half, group, 5), half, x)
    }
}

/// Quants of 8 bits, signed.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Bytes([i8; 32 * PANEL]);

impl Quants for Bytes {
    const ZERO: Self = Self([0; 32 * PANEL]);

    #[inline(always)]
    fn set(&mut self, output: usize, quants: &[u8; 32]) {
        for (vector, quants) in self
            .0
            .as_chunks_mut::<64>()
            .0
            .iter_mut()
            .zip(quants.as_chunks::<4>().0)
        {
            for i in 0..4 {
                vector[4 * output + i] = quants[i] as i8;
            }
        }
    }
    fn get(&self, output: usize, k: usize) -> i32 {
        let (vector, byte) = place(output, k);
        i32::from(self.0[64 * vector + byte])
    }
    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        &self,
        s: S,
        half: usize,
        group: usize,
        x: [&Int8Block; R],
    ) -> [S::Lanes; R] {
        s.dot_i8(s.bytes(&self.0, half, group), half, x)
    }
}

/// What quants of 4 bits stand for.
pub(super) trait Table: Copy + Send + Sync + 'static {
    const LEVELS: [i8; 16];
}

/// The levels of IQ4_NL and IQ4_XS (`kvalues_iq4nl`).
#[derive(Clone, Copy)]
pub(super) struct Iq4NlTable;

impl Table for Iq4NlTable {
    const LEVELS: [i8; 16] = [
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ];
}

/// Twice the values of a float with a sign, two bits of exponent and one of mantissa (OCP Microscaling Formats 1.0).
#[derive(Clone, Copy)]
pub(super) struct E2M1;

impl Table for E2M1 {
    const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
}

/// Indices of 4 bits into a table.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Levels<T>(Nibbles<0>, PhantomData<T>);

impl<T: Table> Quants for Levels<T> {
    const ZERO: Self = Self(Nibbles::ZERO, PhantomData);

    #[inline(always)]
    fn set(&mut self, output: usize, quants: &[u8; 32]) {
        self.0.set(output, quants);
    }
    fn get(&self, output: usize, k: usize) -> i32 {
        i32::from(T::LEVELS[self.0.get(output, k) as usize])
    }
    #[inline(always)]
    fn dot<S: Simd, const R: usize>(
        &self,
        s: S,
        half: usize,
        group: usize,
        x: [&Int8Block; R],
    ) -> [S::Lanes; R] {
        let w = s.levels(s.nibbles(&self.0.0, half, group), &T::LEVELS);
        s.dot_i8(w, half, x)
    }
}
