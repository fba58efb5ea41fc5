//! The start-up check that vector instructions give the scalar code's bits.

use half::{bf16, f16};

use super::Isa;
use super::dot::{Int8Block, PANEL};
use super::simd::{Kernel, Simd};

/// Whether `isa` can be used, or why not.
pub(super) fn run(isa: Isa) -> Result<(), &'static str> {
    match isa {
        Isa::Scalar => Ok(()),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if !has_avx2() => Err("this processor lacks AVX2, FMA or F16C"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni if !(has_avx2() && has_avx512_vnni()) => {
            Err("this processor lacks AVX-512 F, BW, VL or VNNI")
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features have just been detected.
        Isa::Avx2 => same_bits(unsafe { super::avx2::run_avx2(Probe) }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512Vnni => same_bits(unsafe { super::avx2::run_avx512(Probe) }),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512Vnni => Err("these instructions exist only on x86-64"),
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_vnni() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(target_arch = "x86_64")]
fn same_bits(bits: Vec<u32>) -> Result<(), &'static str> {
    if bits == Probe.run(super::scalar::Scalar) {
        Ok(())
    } else {
        Err("its kernels failed the self-test against the scalar kernels")
    }
}

/// The result bits of every [`Simd`] method: on varied input, at the edges of f32 and f16, of the exponential over its
/// whole range, and of the integer kernels up to the largest sums they may meet.
struct Probe;

impl Kernel for Probe {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<u32> {
        let mut bits = Vec::new();
        let mut random = Random(1);
        for _ in 0..32 {
            // Within ±127, the first row in halves: a tie now and then.
            let mut rows = [[0.0; 8]; 8];
            for x in rows.as_flattened_mut() {
                *x = (random.next() as f32 / 65536.0 - 128.0) * 0.99;
            }
            for x in &mut rows[0] {
                *x = (*x * 2.0).round() / 2.0;
            }
            floats(s, &rows, &mut bits);
            integers(s, &rows, &mut random, &mut bits);
        }
        // Over all starts and shifts, rows 0 and 1 hold every pair of edges.
        for start in (0..EDGES.len()).step_by(8) {
            for shift in 0..EDGES.len() {
                let mut rows = [[0.0; 8]; 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    for (lane, x) in row.iter_mut().enumerate() {
                        *x = EDGES[(start + lane + i * shift) % EDGES.len()];
                    }
                }
                floats(s, &rows, &mut bits);
            }
        }
        for i in 0..450 {
            let mut x = [0.0; 8];
            for (lane, x) in x.iter_mut().enumerate() {
                *x = (i * 8 + lane) as f32 * 0.0597 - 107.0;
            }
            push(s, s.exp(s.load(&x)), &mut bits);
        }
        bits
    }
}

/// Special values, ties and overflows of f16, and where the exponential flushes and clamps.
const EDGES: [f32; 24] = [
    0.0,
    -0.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -1e-40,
    1.0,
    -2.5,
    0.5,
    // f16: the largest, the last value that rounds to it, the first that overflows.
    65504.0,
    65519.996,
    65520.0,
    -65520.0,
    // f16: ties between normal numbers, a subnormal one, the tie that underflows and the value above it.
    2049.0,
    2051.0,
    1e-6,
    2.980_232_2e-8,
    2.980_232_6e-8,
    // exp: the last values before the flush and the clamp, and behind them.
    -87.68,
    -87.69,
    88.01,
];

/// A linear congruential generator of 24 bits.
struct Random(u32);

impl Random {
    #[inline(always)]
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }
}

/// Appends the bits of `v`; every NaN counts as the same one.
#[inline(always)]
fn push<S: Simd>(s: S, v: S::F, bits: &mut Vec<u32>) {
    let mut out = [0.0; 8];
    s.store(v, &mut out);
    for x in out {
        bits.push(if x.is_nan() { f32::NAN } else { x }.to_bits());
    }
}

#[inline(always)]
fn floats<S: Simd>(s: S, rows: &[[f32; 8]; 8], bits: &mut Vec<u32>) {
    let mut row = [s.splat(0.0); 8];
    for (row, x) in row.iter_mut().zip(rows) {
        *row = s.load(x);
    }
    let [a, b, c, ..] = row;
    for v in [
        s.add(a, b),
        s.sub(a, b),
        s.mul(a, b),
        s.div(a, b),
        s.fma(a, b, c),
        s.max(a, b),
        s.min(a, b),
        s.abs(a),
        s.round(a),
        s.exp(a),
        s.splat(s.sum(a)),
        s.splat(s.max_lane(a)),
    ] {
        push(s, v, bits);
    }
    for v in s.transpose(row) {
        push(s, v, bits);
    }
    for v in [a, b] {
        let mut halves = [f16::ZERO; 8];
        s.store_f16(v, &mut halves);
        for half in halves {
            bits.push(if half.is_nan() { f16::NAN } else { half }.to_bits().into());
        }
    }
}

/// `to_i8`, and every method of [`Dot`](super::dot::Dot) on every group.
#[inline(always)]
fn integers<S: Simd>(s: S, rows: &[[f32; 8]; 8], random: &mut Random, bits: &mut Vec<u32>) {
    // Two random rows, and the largest values of either sign.
    let mut x = [Int8Block::ZERO; 4];
    x[2].quants = [127; 32];
    x[3].quants = [-127; 32];
    for (x, rows) in x.iter_mut().zip(rows.as_chunks::<4>().0) {
        let mut v = [s.splat(0.0); 4];
        for (v, row) in v.iter_mut().zip(rows) {
            *v = s.load(row);
        }
        for sum in s.to_i8(v, &mut x.quants).as_flattened() {
            bits.push(*sum as u32);
        }
        for quant in x.quants {
            bits.push(quant as u32);
        }
    }
    for x in &mut x {
        for (k, &q) in x.quants.iter().enumerate() {
            x.neg_sums[k / 16] -= i32::from(q);
            x.neg_pair_sums[k / 16][k % 4 / 2] -= i16::from(q);
        }
    }
    let mut w = [0u8; 512];
    for w in &mut w {
        *w = random.next() as u8;
    }
    // Random quants, the largest ones, signed ones of -128, and the smallest, which an offset makes the most negative.
    for w in [w, [255; 512], [128; 512], [0; 512]] {
        let [a, b, c, d] = &x;
        dots(s, &w, [a], bits);
        dots(s, &w, [a, b, c, d], bits);
        dots(s, &w, [d, c, b, a, a, c, b, d], bits);
        lanes(s, &w, bits);
    }
}

#[inline(always)]
fn dots<S: Simd, const R: usize>(s: S, w: &[u8; 512], x: [&Int8Block; R], bits: &mut Vec<u32>) {
    let (mut low, mut planes) = ([0u8; 256], [[0u8; 64]; 2]);
    low.copy_from_slice(&w[..256]);
    planes[0].copy_from_slice(&w[256..320]);
    planes[1].copy_from_slice(&w[320..384]);
    let signed = w.map(|w| w as i8);
    let mut table = [0i8; 16];
    table.copy_from_slice(&signed[384..400]);
    for half in 0..2 {
        let mut all = [[[0.0; PANEL]; R]; 8];
        for group in 0..S::GROUPS {
            let u4 = s.nibbles(&low, half, group);
            let u5 = s.with_bit(u4, &planes[0], half, group, 4);
            let u6 = s.with_bit(u5, &planes[1], half, group, 5);
            let dots = [
                s.dot_unsigned::<0, R>(u4, half, x),
                s.dot_unsigned::<4, R>(u4, half, x),
                s.dot_unsigned::<8, R>(u4, half, x),
                s.dot_unsigned::<0, R>(u5, half, x),
                s.dot_unsigned::<16, R>(u5, half, x),
                s.dot_unsigned::<32, R>(u6, half, x),
                s.dot_i8(s.bytes(&signed, half, group), half, x),
                s.dot_i8(s.levels(u4, &table), half, x),
            ];
            for (dot, all) in dots.as_flattened().iter().zip(all.as_flattened_mut()) {
                s.store_lanes(*dot, all, group);
            }
        }
        bits.extend(
            all.as_flattened()
                .as_flattened()
                .iter()
                .map(|x| x.to_bits()),
        );
    }
}

#[inline(always)]
fn lanes<S: Simd>(s: S, w: &[u8; 512], bits: &mut Vec<u32>) {
    let mut all = [[0.0; PANEL]; 7];
    let (mut a, mut b, mut c, mut d, mut e) = (
        [0.0; PANEL],
        [f16::ZERO; PANEL],
        [bf16::ZERO; PANEL],
        [0i8; PANEL],
        [0u8; PANEL],
    );
    for i in 0..PANEL {
        let two = u16::from_le_bytes([w[2 * i], w[2 * i + 1]]);
        a[i] = f32::from(two) - 1e4;
        b[i] = f16::from_bits(two);
        c[i] = bf16::from_bits(two);
        (d[i], e[i]) = (w[i] as i8, w[i]);
    }
    b[..4].copy_from_slice(&[
        f16::INFINITY,
        f16::MAX,
        f16::MIN_POSITIVE,
        f16::from_bits(1),
    ]);
    c[..3].copy_from_slice(&[bf16::NEG_INFINITY, bf16::MAX, bf16::from_bits(1)]);
    for group in 0..S::GROUPS {
        let a = s.lanes_f32(&a, group);
        let (b, c) = (s.lanes_f16(&b, group), s.lanes_bf16(&c, group));
        let d = s.lanes_i8(&d, group);
        for (v, all) in [
            a,
            b,
            c,
            d,
            s.lanes_e4m3(&e, group),
            s.fma_lanes(a, b, d),
            s.mul_lanes(s.lanes(0.3), a),
        ]
        .into_iter()
        .zip(&mut all)
        {
            s.store_lanes(v, all, group);
        }
    }
    let values = all.as_flattened().iter();
    bits.extend(values.map(|&x| if x.is_nan() { f32::NAN } else { x }.to_bits()));
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_used_wherever_the_processor_has_them() {
        assert_eq!(run(Isa::Avx2).is_ok(), has_avx2(), "{:?}", run(Isa::Avx2));
        assert_eq!(
            run(Isa::Avx512Vnni).is_ok(),
            has_avx2() && has_avx512_vnni(),
            "{:?}",
            run(Isa::Avx512Vnni)
        );
    }
}
