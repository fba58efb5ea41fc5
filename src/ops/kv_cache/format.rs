//! How values become units of the cache and back.

use half::{bf16, f16};

use super::super::view::Element;
use crate::backend::cpu::{PANEL, Simd};

/// A format of the cache. `decode(encode(x)) · scale` is x, rounded.
pub(in crate::ops) trait KvFormat {
    /// What the cache is an array of.
    type Unit: Element + Default;
    /// Units that one token's scale takes; 0 in formats without scales.
    const SCALE_UNITS: usize;

    /// Rounds one token's values of a head, D each in `values` and `units`; `scale` has [`Self::SCALE_UNITS`].
    fn encode<S: Simd>(s: S, values: &[f32], units: &mut [Self::Unit], scale: &mut [Self::Unit]);
    /// A group of sixteen values, yet to be scaled.
    fn decode<S: Simd>(s: S, units: &[Self::Unit; PANEL], group: usize) -> S::Lanes;
    /// What a token's values are to be multiplied by.
    fn scale(units: &[Self::Unit]) -> f32;
}

/// Rounded to nearest, ties to even.
pub(in crate::ops) struct F16;

impl KvFormat for F16 {
    type Unit = f16;
    const SCALE_UNITS: usize = 0;

    #[inline(always)]
    fn encode<S: Simd>(s: S, values: &[f32], units: &mut [f16], _: &mut [f16]) {
        let values = values.as_chunks::<8>().0;
        for (units, values) in units.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            s.store_f16(s.load(values), units);
        }
    }

    #[inline(always)]
    fn decode<S: Simd>(s: S, units: &[f16; PANEL], group: usize) -> S::Lanes {
        s.lanes_f16(units, group)
    }

    #[inline(always)]
    fn scale(_: &[f16]) -> f32 {
        1.0
    }
}

/// Rounded to nearest, ties to even.
pub(in crate::ops) struct Bf16;

impl KvFormat for Bf16 {
    type Unit = bf16;
    const SCALE_UNITS: usize = 0;

    #[inline(always)]
    fn encode<S: Simd>(_: S, values: &[f32], units: &mut [bf16], _: &mut [bf16]) {
        for (unit, value) in units.iter_mut().zip(values) {
            *unit = bf16::from_f32(*value);
        }
    }

    #[inline(always)]
    fn decode<S: Simd>(s: S, units: &[bf16; PANEL], group: usize) -> S::Lanes {
        s.lanes_bf16(units, group)
    }

    #[inline(always)]
    fn scale(_: &[bf16]) -> f32 {
        1.0
    }
}

/// Integers in -127..=127, rounded to nearest, ties to even, and a scale in float32, little-endian. If one of the
/// values is no number or infinite, so is the scale no number.
pub(in crate::ops) struct Int8;

impl KvFormat for Int8 {
    type Unit = u8;
    const SCALE_UNITS: usize = size_of::<f32>();

    #[inline(always)]
    fn encode<S: Simd>(s: S, values: &[f32], units: &mut [u8], scale: &mut [u8]) {
        /// Below this `127 / largest` could overflow; such values count as zero.
        const SMALLEST: f32 = 128.0 * f32::MIN_POSITIVE;
        let values = values.as_chunks::<8>().0;
        let (mut largest, mut zeros) = (s.splat(0.0), s.splat(0.0));
        for value in values {
            let value = s.load(value);
            largest = s.max(s.abs(value), largest);
            // Zero times what is finite; else NaN.
            zeros = s.fma(value, s.splat(0.0), zeros);
        }
        let largest = s.max_lane(largest);
        let inverse = match largest >= SMALLEST {
            true => 127.0 / largest,
            false => 0.0,
        };
        scale.copy_from_slice(&(largest / 127.0 + s.sum(zeros)).to_le_bytes());
        for (units, value) in units.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            let mut rounded = [0.0; 8];
            s.store(
                s.round(s.mul(s.load(value), s.splat(inverse))),
                &mut rounded,
            );
            // A cast of NaN is 0.
            *units = rounded.map(|x| x as i8 as u8);
        }
    }

    #[inline(always)]
    fn decode<S: Simd>(s: S, units: &[u8; PANEL], group: usize) -> S::Lanes {
        s.lanes_i8(&units.map(|unit| unit as i8), group)
    }

    #[inline(always)]
    fn scale(units: &[u8]) -> f32 {
        units
            .first_chunk()
            .map_or(f32::NAN, |bytes| f32::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Random, cpus};
    use super::*;
    use crate::backend::cpu::Kernel;

    struct RoundTrip<'a, F> {
        values: &'a [f32],
        format: std::marker::PhantomData<F>,
    }

    impl<F: KvFormat> Kernel for RoundTrip<'_, F> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let mut units = vec![F::Unit::default(); self.values.len()];
            let mut scale = vec![F::Unit::default(); F::SCALE_UNITS];
            F::encode(s, self.values, &mut units, &mut scale);
            let mut out = vec![0.0; self.values.len()];
            let scale = s.lanes(F::scale(&scale));
            let out_tiles = out.as_chunks_mut::<PANEL>().0.iter_mut();
            for (out, units) in out_tiles.zip(units.as_chunks::<PANEL>().0) {
                for group in 0..S::GROUPS {
                    s.store_lanes(s.mul_lanes(F::decode(s, units, group), scale), out, group);
                }
            }
            out
        }
    }

    fn round_trip<F: KvFormat>(values: &[f32]) -> Vec<f32> {
        let mut all = cpus().into_iter().map(|cpu| {
            let format = std::marker::PhantomData::<F>;
            cpu.dispatch(RoundTrip { values, format })
        });
        let first = all.next().unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(
            first.iter().any(|x| x.is_nan()) || all.all(|other| bits(&other) == bits(&first)),
            "instructions change no bit"
        );
        first
    }

    #[test]
    fn values_come_back_rounded_to_the_format() {
        let mut random = Random::new(21);
        for bound in [1e-3, 1.0, 60.0] {
            let values = random.floats(64, bound);
            let largest = values.iter().fold(0f32, |max, x| max.max(x.abs()));
            for (x, got) in values.iter().zip(round_trip::<F16>(&values)) {
                assert_eq!(got, f16::from_f32(*x).to_f32());
            }
            for (x, got) in values.iter().zip(round_trip::<Bf16>(&values)) {
                assert_eq!(got, bf16::from_f32(*x).to_f32());
            }
            for (x, got) in values.iter().zip(round_trip::<Int8>(&values)) {
                assert!((x - got).abs() <= 0.5001 * largest / 127.0, "{x} {got}");
            }
        }
    }

    #[test]
    fn integers_are_exact_and_ties_go_to_even() {
        let mut values = [0.0; 16];
        values[..5].copy_from_slice(&[-254.0, 253.0, 5.0, 7.0, -5.0]);
        let got = round_trip::<Int8>(&values);
        assert_eq!(got[..5], [-254.0, 252.0, 4.0, 8.0, -4.0]);
        assert_eq!(round_trip::<Int8>(&[0.0; 16]), [0.0; 16]);
        assert_eq!(round_trip::<Int8>(&[1e-39; 16]), [0.0; 16]);
    }

    #[test]
    fn what_is_not_finite_shows() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0; 16];
            values[11] = bad;
            assert!(round_trip::<Int8>(&values)[11].is_nan());
            assert!(!round_trip::<F16>(&values)[11].is_finite());
            assert!(!round_trip::<Bf16>(&values)[11].is_finite());
        }
    }
}
