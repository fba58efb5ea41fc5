use candle_core::Tensor;
use half::f16;

use super::super::testing::{Random, bits, cpus, tensor, view};
use super::{LinearPart, PackedWeight, matmul};
use crate::backend::cpu::Cpu;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Q4_1,
    Q8_0,
    F32,
}

const KINDS: [Kind; 3] = [Kind::Q4_1, Kind::Q8_0, Kind::F32];

/// A random weight as raw data, and its values by the formula of the format.
struct Weight {
    kind: Kind,
    shape: (usize, usize),
    raw: Vec<u8>,
    values: Vec<f32>,
}

impl Weight {
    fn random(kind: Kind, n: usize, k: usize, random: &mut Random) -> Self {
        let (mut raw, mut values) = (Vec::new(), Vec::new());
        if kind == Kind::F32 {
            values = random.floats(n * k, 0.1);
        } else {
            for _ in 0..n * k / 32 {
                let scale = f16::from_f32(random.floats(1, 0.02)[0]);
                let min = f16::from_f32(random.floats(1, 0.1)[0]);
                let (d, m) = (scale.to_f32(), min.to_f32());
                raw.extend(scale.to_le_bytes());
                if kind == Kind::Q4_1 {
                    raw.extend(min.to_le_bytes());
                    let quants: [u8; 16] = std::array::from_fn(|_| random.next() as u8);
                    raw.extend(quants);
                    values.extend(quants.map(|q| d * f32::from(q & 15) + m));
                    values.extend(quants.map(|q| d * f32::from(q >> 4) + m));
                } else {
                    let quants: [i8; 32] = std::array::from_fn(|_| random.next() as i8);
                    raw.extend(quants.map(|q| q as u8));
                    values.extend(quants.map(|q| d * f32::from(q)));
                }
            }
        }
        Self {
            kind,
            shape: (n, k),
            raw,
            values,
        }
    }

    fn pack(&self, cpu: &Cpu) -> PackedWeight {
        let (n, k) = self.shape;
        match self.kind {
            Kind::Q4_1 => PackedWeight::from_q4_1(n, k, &self.raw, cpu),
            Kind::Q8_0 => PackedWeight::from_q8_0(n, k, &self.raw, cpu),
            Kind::F32 => PackedWeight::from_f32(n, k, &self.values, cpu),
        }
        .unwrap()
    }
}

fn product(x: &[f32], rows: usize, weight: &Weight, bias: Option<&[f32]>, cpu: &Cpu) -> Tensor {
    let (n, k) = weight.shape;
    let (buffer, out) = view(&vec![9.0; rows * n], (rows, n));
    let part = LinearPart {
        weight: &weight.pack(cpu),
        bias,
    };
    matmul(&out, &view(x, (rows, k)).1, &[part], cpu).unwrap();
    buffer.assert_margins_untouched();
    out
}

#[test]
fn products_are_within_the_bound_of_the_format() {
    let mut random = Random::new(1);
    let cpu = Cpu::new(2).unwrap();
    for kind in KINDS {
        for (rows, n, k) in [(1, 8, 32), (3, 19, 64), (9, 100, 576), (70, 33, 1536)] {
            let weight = Weight::random(kind, n, k, &mut random);
            let (x, bias) = (random.floats(rows * k, 2.0), random.floats(n, 1.0));
            let got = product(&x, rows, &weight, Some(&bias), &cpu)
                .to_vec2::<f32>()
                .unwrap();
            for (got, x) in got.iter().zip(x.chunks_exact(k)) {
                for ((got, w), bias) in got.iter().zip(weight.values.chunks_exact(k)).zip(&bias) {
                    let want = x.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum::<f64>()
                        + f64::from(*bias);
                    let magnitude: f64 =
                        x.iter().zip(w).map(|(x, w)| f64::from((x * w).abs())).sum();
                    // Half a step of each block's activation scale times its weights; rounding of f32 sums.
                    let step: f64 = x
                        .chunks_exact(16)
                        .zip(w.chunks_exact(16))
                        .map(|(x, w)| {
                            let largest = x.iter().fold(0f32, |a, x| a.max(x.abs()));
                            let weights: f32 = w.iter().map(|w| w.abs()).sum();
                            f64::from(largest / 254.0 * weights)
                        })
                        .sum();
                    // Quantised sums hold 15 · scale and min apart, so their rounding is of larger terms.
                    let bound = if kind == Kind::F32 {
                        2e-6 * magnitude
                    } else {
                        step + 4e-6 * magnitude
                    } + 1e-6;
                    assert!(
                        (f64::from(*got) - want).abs() <= bound,
                        "{kind:?} {n}x{k}: {got} {want} {bound}"
                    );
                }
            }
        }
    }
}

#[test]
fn quantised_activations_are_the_stated_rounding() {
    // With x on the int8 grid of its 16 values nothing is lost.
    let mut random = Random::new(8);
    let cpu = Cpu::new(1).unwrap();
    for kind in [Kind::Q4_1, Kind::Q8_0] {
        let weight = Weight::random(kind, 16, 64, &mut random);
        let mut x: Vec<f32> = (0..64).map(|_| random.below(255) as f32 - 127.0).collect();
        (x[0], x[16], x[32], x[48]) = (127.0, -127.0, -127.0, 127.0);
        for (x, step) in x.chunks_exact_mut(16).zip([0.125, 1.0, 0.5, 0.25]) {
            x.iter_mut().for_each(|x| *x *= step);
        }
        let got = product(&x, 1, &weight, None, &cpu)
            .to_vec2::<f32>()
            .unwrap();
        for (got, w) in got[0].iter().zip(weight.values.chunks_exact(64)) {
            let want: f64 = x
                .iter()
                .zip(w)
                .map(|(x, w)| f64::from(*x) * f64::from(*w))
                .sum();
            assert!(
                (f64::from(*got) - want).abs() < 2e-4,
                "{kind:?} {got} {want}"
            );
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_on_any_device() {
    let mut random = Random::new(2);
    for kind in KINDS {
        let (rows, n, k) = (37, 203, 352);
        let weight = Weight::random(kind, n, k, &mut random);
        let x = random.floats(rows * k, 3.0);
        let mut all = Vec::new();
        for cpu in cpus() {
            let whole = product(&x, rows, &weight, None, &cpu);
            for (row, x) in x.chunks_exact(k).enumerate() {
                let alone = product(x, 1, &weight, None, &cpu);
                assert_eq!(
                    bits(&alone),
                    bits(&whole.narrow(0, row, 1).unwrap()),
                    "{kind:?} row {row}"
                );
            }
            all.push(bits(&whole));
        }
        assert!(
            all.iter().all(|one| one == &all[0]),
            "{kind:?}: instructions and threads change no bit"
        );
    }
}

#[test]
fn many_rows_split_into_row_tasks_keep_their_bits() {
    let mut random = Random::new(6);
    let (rows, n, k) = (600, 40, 96);
    let x = random.floats(rows * k, 3.0);
    for kind in KINDS {
        let weight = Weight::random(kind, n, k, &mut random);
        let cpu = Cpu::new(2).unwrap();
        let whole = product(&x, rows, &weight, None, &cpu);
        let tail = product(&x[301 * k..], rows - 301, &weight, None, &cpu);
        assert_eq!(
            bits(&tail),
            bits(&whole.narrow(0, 301, rows - 301).unwrap())
        );
    }
}

#[test]
fn dequantised_rows_are_the_formula_exactly() {
    let mut random = Random::new(3);
    let cpu = Cpu::new(2).unwrap();
    for kind in KINDS {
        let weight = Weight::random(kind, 21, 96, &mut random);
        let packed = weight.pack(&cpu);
        let mut row = vec![0.0; 96];
        for (i, want) in weight.values.chunks_exact(96).enumerate() {
            packed.dequantise_row(i, &mut row).unwrap();
            assert_eq!(row, want);
        }
        assert!(
            packed
                .dequantise_row(21, &mut row)
                .unwrap_err()
                .to_string()
                .contains("out_idx is 21")
        );
        assert!(packed.dequantise_row(0, &mut row[1..]).is_err());
    }
}

#[test]
fn extreme_activations_neither_overflow_nor_hide() {
    let mut random = Random::new(4);
    for kind in [Kind::Q4_1, Kind::Q8_0] {
        let weight = Weight::random(kind, 8, 64, &mut random);
        for cpu in cpus() {
            // Both halves of a block.
            for at in [40, 56] {
                let result = |value: f32| {
                    let mut x = vec![1.0; 64];
                    x[at] = value;
                    product(&x, 1, &weight, None, &cpu)
                        .to_vec2::<f32>()
                        .unwrap()
                        .remove(0)
                };
                assert!(result(f32::NAN).iter().all(|y| y.is_nan()));
                assert!(result(f32::NEG_INFINITY).iter().all(|y| y.is_nan()));
                assert!(result(1e30).iter().all(|y| y.is_finite()));
            }
            let tiny = product(&[1e-40; 64], 1, &weight, None, &cpu)
                .to_vec2::<f32>()
                .unwrap();
            assert_eq!(tiny[0], [0.0; 8]);
        }
    }
}

#[test]
fn wrong_shapes_are_errors_naming_the_argument() {
    let cpu = Cpu::new(1).unwrap();
    let error = |result: candle_core::Result<PackedWeight>| result.err().unwrap().to_string();
    assert!(error(PackedWeight::from_q4_1(8, 33, &[], &cpu)).contains("in_features"));
    assert!(error(PackedWeight::from_q4_1(8, 32, &[0; 159], &cpu)).contains("length 160, has 159"));
    assert!(
        error(PackedWeight::from_q8_0(usize::MAX / 8, 320, &[0; 34], &cpu)).contains("too large")
    );
    assert!(error(PackedWeight::from_f32(0, 4, &[], &cpu)).contains("zero"));

    let w = PackedWeight::from_f32(2, 3, &[0.0; 6], &cpu).unwrap();
    let (x, out) = (tensor(&[0.0; 3], (1, 3)), tensor(&[0.0; 2], (1, 2)));
    let error = |out: &Tensor, x: &Tensor, bias: Option<&[f32]>| {
        let part = LinearPart { weight: &w, bias };
        matmul(out, x, &[part], &cpu).unwrap_err().to_string()
    };
    assert!(error(&out, &out, None).contains("matmul: x"));
    assert!(error(&x, &x, None).contains("matmul: out"));
    assert!(error(&out, &x, Some(&[0.0])).contains("matmul: bias"));
}

#[test]
fn no_rows_is_no_work() {
    let cpu = Cpu::new(2).unwrap();
    let w = PackedWeight::from_f32(2, 3, &[0.0; 6], &cpu).unwrap();
    let buffer = tensor(&[0.0; 6], (2, 3));
    let out = tensor(&[0.0; 4], (2, 2));
    matmul(
        &out.narrow(0, 0, 0).unwrap(),
        &buffer.narrow(0, 0, 0).unwrap(),
        &[LinearPart {
            weight: &w,
            bias: None,
        }],
        &cpu,
    )
    .unwrap();
}

#[test]
fn parts_side_by_side_give_the_bits_of_each_alone() {
    let mut random = Random::new(12);
    let (rows, k) = (5, 64);
    let x = random.floats(rows * k, 2.0);
    for cpu in cpus() {
        let weights: Vec<Weight> = [(Kind::Q4_1, 19), (Kind::F32, 3), (Kind::Q8_0, 40)]
            .map(|(kind, n)| Weight::random(kind, n, k, &mut random))
            .into();
        let bias = random.floats(3, 1.0);
        let biases = [None, Some(&bias[..]), None];
        let packed: Vec<PackedWeight> = weights.iter().map(|w| w.pack(&cpu)).collect();
        let parts: Vec<LinearPart<'_>> = packed
            .iter()
            .zip(biases)
            .map(|(weight, bias)| LinearPart { weight, bias })
            .collect();
        let (buffer, out) = view(&vec![9.0; rows * 62], (rows, 62));
        matmul(&out, &tensor(&x, (rows, k)), &parts, &cpu).unwrap();
        buffer.assert_margins_untouched();
        let alone: Vec<Tensor> = weights
            .iter()
            .zip(biases)
            .map(|(weight, bias)| product(&x, rows, weight, bias, &cpu))
            .collect();
        assert_eq!(bits(&out), bits(&Tensor::cat(&alone, 1).unwrap()));
    }
}
