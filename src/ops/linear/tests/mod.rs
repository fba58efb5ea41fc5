mod groups;

use half::f16;

use super::super::testing::{Random, bits, cpus, tensor, view};
use super::super::{Tensor, Vector};
use super::{LinearPart, PackedWeight, WeightFormat, matmul};
use crate::backend::cpu::Cpu;

/// Format, values a block, bytes a block, offsets of f16 fields.
const FORMATS: [(WeightFormat, usize, usize, &[usize]); 20] = [
    (WeightFormat::F32, 1, 4, &[]),
    (WeightFormat::F16, 1, 2, &[0]),
    (WeightFormat::BF16, 1, 2, &[]),
    (WeightFormat::Q4_0, 32, 18, &[0]),
    (WeightFormat::Q4_1, 32, 20, &[0, 2]),
    (WeightFormat::Q5_0, 32, 22, &[0]),
    (WeightFormat::Q5_1, 32, 24, &[0, 2]),
    (WeightFormat::Q8_0, 32, 34, &[0]),
    (WeightFormat::Iq4Nl, 32, 18, &[0]),
    (WeightFormat::Q2K, 256, 84, &[80, 82]),
    (WeightFormat::Q3K, 256, 110, &[108]),
    (WeightFormat::Q4K, 256, 144, &[0, 2]),
    (WeightFormat::Q5K, 256, 176, &[0, 2]),
    (WeightFormat::Q6K, 256, 210, &[208]),
    (WeightFormat::Mxfp4, 32, 17, &[]),
    (WeightFormat::Iq4Xs, 256, 136, &[0]),
    (WeightFormat::Tq1_0, 256, 54, &[52]),
    (WeightFormat::Tq2_0, 256, 66, &[64]),
    (WeightFormat::Int4, 32, 19, &[0]),
    (WeightFormat::Fp8, 32, 36, &[]),
];

fn is_float(format: WeightFormat) -> bool {
    matches!(
        format,
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::BF16 | WeightFormat::Fp8
    )
}

/// A random weight as raw data.
struct Weight {
    format: WeightFormat,
    shape: (usize, usize),
    raw: Vec<u8>,
}

impl Weight {
    /// K is rounded up to whole blocks.
    fn random(at: usize, n: usize, k: usize, random: &mut Random) -> Self {
        let (format, values, block_bytes, halves) = FORMATS[at];
        let k = k.next_multiple_of(values);
        let mut raw = Vec::new();
        for _ in 0..n * k / values {
            let mut block: Vec<u8> = (0..block_bytes).map(|_| random.next() as u8).collect();
            let x = random.floats(1, 0.02)[0];
            match format {
                WeightFormat::F32 => block = x.to_le_bytes().into(),
                WeightFormat::Int4 => block[2] %= 17,
                WeightFormat::Fp8 => block[..4].copy_from_slice(&x.to_le_bytes()),
                WeightFormat::Mxfp4 => block[0] = 118 + block[0] % 4,
                WeightFormat::BF16 => block = x.to_le_bytes()[2..].into(),
                _ => {}
            }
            for at in halves {
                let x = f16::from_f32(random.floats(1, 0.02)[0]);
                block[*at..*at + 2].copy_from_slice(&x.to_le_bytes());
            }
            raw.extend(block);
        }
        Self {
            format,
            shape: (n, k),
            raw,
        }
    }

    fn pack(&self, cpu: &Cpu) -> PackedWeight {
        let (n, k) = self.shape;
        PackedWeight::new(self.format, n, k, &self.raw, cpu).unwrap()
    }

    /// Row after row; that these are the formats' values is tested where files are read (`model::gguf`).
    fn values(&self) -> Vec<f32> {
        let (n, k) = self.shape;
        let packed = self.pack(&Cpu::new(1).unwrap());
        let mut values = vec![0.0; n * k];
        for (i, row) in values.chunks_exact_mut(k).enumerate() {
            packed.dequantise_row(i, row).unwrap();
        }
        values
    }
}

fn product(x: &[f32], rows: usize, weight: &Weight, bias: Option<&[f32]>, cpu: &Cpu) -> Tensor {
    let (n, k) = weight.shape;
    let (buffer, out) = view(&vec![9.0; rows * n], (rows, n));
    let bias = bias.map(|bias| Vector::from(bias.to_vec()));
    let part = LinearPart {
        weight: &weight.pack(cpu),
        bias: bias.as_ref(),
    };
    matmul(&out, &view(x, (rows, k)).1, &[part], cpu).unwrap();
    buffer.assert_margins_untouched();
    out
}

#[test]
fn products_are_within_the_bound_of_the_format() {
    let mut random = Random::new(1);
    let cpu = Cpu::new(2).unwrap();
    for at in 0..FORMATS.len() {
        for (rows, n, k) in [(1, 8, 32), (3, 19, 64), (9, 100, 576), (70, 33, 1536)] {
            let weight = Weight::random(at, n, k, &mut random);
            let (format, (n, k)) = (weight.format, weight.shape);
            let values = weight.values();
            let (x, bias) = (random.floats(rows * k, 2.0), random.floats(n, 1.0));
            let got = product(&x, rows, &weight, Some(&bias), &cpu)
                .to_rows()
                .unwrap();
            for (got, x) in got.iter().zip(x.chunks_exact(k)) {
                for ((got, w), bias) in got.iter().zip(values.chunks_exact(k)).zip(&bias) {
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
                    // Quantised sums hold quants and minima apart, so their rounding is of larger terms.
                    let bound = if is_float(format) {
                        2e-6 * magnitude
                    } else {
                        step + 1e-5 * magnitude
                    } + 1e-6;
                    assert!(
                        (f64::from(*got) - want).abs() <= bound,
                        "{format:?} {n}x{k}: {got} {want} {bound}"
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
    for at in (0..FORMATS.len()).filter(|&at| !is_float(FORMATS[at].0)) {
        let weight = Weight::random(at, 16, 64, &mut random);
        let (format, (_, k)) = (weight.format, weight.shape);
        let mut x: Vec<f32> = (0..k).map(|_| random.below(255) as f32 - 127.0).collect();
        for (i, x) in x.chunks_exact_mut(16).enumerate() {
            x[i % 16] = [127.0, -127.0][i % 2];
            let step = [0.125, 1.0, 0.5, 0.25][i % 4];
            x.iter_mut().for_each(|x| *x *= step);
        }
        let got = product(&x, 1, &weight, None, &cpu).to_rows().unwrap();
        for (got, w) in got[0].iter().zip(weight.values().chunks_exact(k)) {
            let want: f64 = x
                .iter()
                .zip(w)
                .map(|(x, w)| f64::from(*x) * f64::from(*w))
                .sum();
            let magnitude: f64 = x.iter().zip(w).map(|(x, w)| f64::from((x * w).abs())).sum();
            assert!(
                (f64::from(*got) - want).abs() < 3e-6 * magnitude,
                "{format:?} {got} {want} {magnitude}"
            );
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_on_any_device() {
    let mut random = Random::new(2);
    for at in 0..FORMATS.len() {
        let (rows, n) = (37, 203);
        let weight = Weight::random(at, n, 352, &mut random);
        let (format, (_, k)) = (weight.format, weight.shape);
        let x = random.floats(rows * k, 3.0);
        let mut all = Vec::new();
        for cpu in cpus() {
            let whole = product(&x, rows, &weight, None, &cpu);
            for (row, x) in x.chunks_exact(k).enumerate() {
                let alone = product(x, 1, &weight, None, &cpu);
                assert_eq!(
                    bits(&alone),
                    bits(&whole.narrow(row, 1).unwrap()),
                    "{format:?} row {row}"
                );
            }
            all.push(bits(&whole));
        }
        assert!(
            all.iter().all(|one| one == &all[0]),
            "{format:?}: instructions and threads change no bit"
        );
    }
}

#[test]
fn many_rows_split_into_row_tasks_keep_their_bits() {
    let mut random = Random::new(6);
    let rows = 600;
    for at in 0..FORMATS.len() {
        let weight = Weight::random(at, 40, 96, &mut random);
        let (_, k) = weight.shape;
        let x = random.floats(rows * k, 3.0);
        let cpu = Cpu::new(2).unwrap();
        let whole = product(&x, rows, &weight, None, &cpu);
        let tail = product(&x[301 * k..], rows - 301, &weight, None, &cpu);
        assert_eq!(bits(&tail), bits(&whole.narrow(301, rows - 301).unwrap()));
    }
}

#[test]
fn a_row_that_is_not_there_or_does_not_fit_is_an_error() {
    let weight = Weight::random(4, 21, 96, &mut Random::new(3));
    let packed = weight.pack(&Cpu::new(2).unwrap());
    let mut row = vec![0.0; 96];
    assert!(
        packed
            .dequantise_row(21, &mut row)
            .unwrap_err()
            .to_string()
            .contains("out_idx is 21")
    );
    assert!(packed.dequantise_row(0, &mut row[1..]).is_err());
}

#[test]
fn the_planned_bytes_are_those_held() {
    for (at, (format, ..)) in FORMATS.iter().enumerate() {
        let weight = Weight::random(at, 21, 512, &mut Random::new(3));
        let packed = weight.pack(&Cpu::new(2).unwrap());
        assert_eq!(packed.num_bytes(), format.packed_bytes(21, 512));
    }
}

#[test]
fn extreme_activations_neither_overflow_nor_hide() {
    let mut random = Random::new(4);
    for at in (0..FORMATS.len()).filter(|&at| !is_float(FORMATS[at].0)) {
        let weight = Weight::random(at, 8, 64, &mut random);
        let (_, k) = weight.shape;
        for cpu in cpus() {
            // Both halves of a block.
            for at in [40, 56] {
                let result = |value: f32| {
                    let mut x = vec![1.0; k];
                    x[at] = value;
                    product(&x, 1, &weight, None, &cpu)
                        .to_rows()
                        .unwrap()
                        .remove(0)
                };
                assert!(result(f32::NAN).iter().all(|y| y.is_nan()));
                assert!(result(f32::NEG_INFINITY).iter().all(|y| y.is_nan()));
                assert!(result(1e30).iter().all(|y| y.is_finite()));
            }
            let tiny = product(&vec![1e-40; k], 1, &weight, None, &cpu)
                .to_rows()
                .unwrap();
            assert_eq!(tiny[0], [0.0; 8]);
        }
    }
}

#[test]
fn wrong_shapes_are_errors_naming_the_argument() {
    let cpu = Cpu::new(1).unwrap();
    let error = |format, n, k, data: &[u8]| {
        let result = PackedWeight::new(format, n, k, data, &cpu);
        result.err().unwrap().to_string()
    };
    assert!(error(WeightFormat::Q4_1, 8, 33, &[]).contains("in_features"));
    assert!(error(WeightFormat::Q4K, 8, 96, &[]).contains("multiple of 256"));
    assert!(error(WeightFormat::Q4_1, 8, 32, &[0; 159]).contains("length 160, has 159"));
    assert!(error(WeightFormat::F16, 1, 1, &[0; 3]).contains("length 2, has 3"));
    assert!(error(WeightFormat::Q8_0, usize::MAX / 8, 320, &[0; 34]).contains("too large"));
    assert!(error(WeightFormat::F32, 0, 4, &[]).contains("zero"));

    let w = PackedWeight::from_f32(2, 3, &[0.0; 6], &cpu).unwrap();
    let (x, out) = (tensor(&[0.0; 3], (1, 3)), tensor(&[0.0; 2], (1, 2)));
    let error = |out: &Tensor, x: &Tensor, bias: Option<&[f32]>| {
        let bias = bias.map(|bias| Vector::from(bias.to_vec()));
        let part = LinearPart {
            weight: &w,
            bias: bias.as_ref(),
        };
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
        &out.narrow(0, 0).unwrap(),
        &buffer.narrow(0, 0).unwrap(),
        &[LinearPart {
            weight: &w,
            bias: None,
        }],
        &cpu,
    )
    .unwrap();
}
