#![allow(unsafe_code)]

use flambeau::backend::cpu::Cpu;
use flambeau::ops::{PackedWeight, TiledWeight, WeightFormat};
use half::{bf16, f16};

use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, widen};

type Reference = unsafe extern "C" fn(*mut f32, *const f32, *const f32, *const f32, i32, i32, i32);

/// A row of a file of this format: scales near `size`, other bits at random.
fn encoded(format: WeightFormat, n: usize, k: usize, random: &mut Random) -> Vec<u8> {
    let half = |random: &mut Random, size: f32| {
        f16::from_f32(size * (1.0 + random.float(0.5))).to_le_bytes()
    };
    // Bytes of a block, and where the halves lie in it, with their sizes.
    let (values, bytes, halves): (usize, usize, &[(usize, f32)]) = match format {
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::BF16 => {
            let values = random.floats(n * k, 0.1);
            return match format {
                WeightFormat::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                WeightFormat::F16 => values
                    .iter()
                    .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                    .collect(),
                _ => values
                    .iter()
                    .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
                    .collect(),
            };
        }
        WeightFormat::Q4_0 | WeightFormat::Iq4Nl => (32, 18, &[(0, 0.01)]),
        WeightFormat::Q4_1 => (32, 20, &[(0, 0.01), (2, -0.08)]),
        WeightFormat::Q5_0 => (32, 22, &[(0, 0.01)]),
        WeightFormat::Q5_1 => (32, 24, &[(0, 0.01), (2, -0.08)]),
        WeightFormat::Q8_0 => (32, 34, &[(0, 0.001)]),
        WeightFormat::Int4 => (32, 19, &[(0, 0.01)]),
        WeightFormat::Mxfp4 => (32, 17, &[]),
        WeightFormat::Fp8 => (32, 36, &[]),
        WeightFormat::Q2K => (256, 84, &[(80, 0.01), (82, 0.01)]),
        WeightFormat::Q3K => (256, 110, &[(108, 0.001)]),
        WeightFormat::Q4K => (256, 144, &[(0, 0.001), (2, 0.001)]),
        WeightFormat::Q5K => (256, 176, &[(0, 0.001), (2, 0.001)]),
        WeightFormat::Q6K => (256, 210, &[(208, 0.0001)]),
        WeightFormat::Iq4Xs => (256, 136, &[(0, 0.0001)]),
        WeightFormat::Tq1_0 => (256, 54, &[(52, 0.1)]),
        WeightFormat::Tq2_0 => (256, 66, &[(64, 0.1)]),
    };
    let mut data: Vec<u8> = (0..n * k / values * bytes)
        .map(|_| random.bits() as u8)
        .collect();
    for block in data.chunks_exact_mut(bytes) {
        for &(at, size) in halves {
            block[at..at + 2].copy_from_slice(&half(random, size));
        }
        match format {
            WeightFormat::Mxfp4 => block[0] = 120 + block[0] % 8,
            WeightFormat::Int4 => block[2] %= 17,
            WeightFormat::Fp8 => {
                block[..4].copy_from_slice(&0.001f32.to_le_bytes());
                // The two that are not numbers.
                block[4..]
                    .iter_mut()
                    .filter(|byte| **byte & 0x7f == 0x7f)
                    .for_each(|byte| *byte = 0);
            }
            // Their two bits are never both set.
            WeightFormat::Tq2_0 => block[..64]
                .iter_mut()
                .for_each(|byte| *byte &= !((*byte & 0x55) << 1)),
            _ => {}
        }
    }
    data
}

/// Rows that meet one of the weights.
type RowTile = (usize, usize, usize);

struct Layer<T> {
    k: usize,
    n: usize,
    tiled: Vec<TiledWeight>,
    bias: Vec<f32>,
    x: Vec<T>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Size {
    Eight,
    ThirtyTwo,
    Many,
}

impl Size {
    const ALL: [Self; 3] = [Self::Eight, Self::ThirtyTwo, Self::Many];

    fn rows(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::ThirtyTwo => 32,
            Self::Many => 128,
        }
    }

    /// Rows `range`, cut to tiles of this size, of weight `weight`.
    fn tiles(self, range: std::ops::Range<usize>, weight: usize) -> Vec<RowTile> {
        let starts = range.clone().step_by(self.rows());
        starts
            .map(|start| (start, self.rows().min(range.end - start), weight))
            .collect()
    }
}

impl<T: Half> Layer<T> {
    /// Rows of two columns more than the outputs, which begin at the second.
    fn run(&self, size: Size, tiles: &[RowTile], is_float: bool) -> Vec<f32> {
        let num_rows = self.x.len() / self.k;
        let out_len = self.n + 2;
        let (out, floats) = (
            Buffer::<T>::output("out", if is_float { 0 } else { num_rows * out_len }),
            Buffer::<f32>::output("float_out", if is_float { num_rows * out_len } else { 0 }),
        );
        let all = |part: fn(&TiledWeight) -> &Vec<u8>| {
            self.tiled
                .iter()
                .flat_map(|tiled| part(tiled).clone())
                .collect::<Vec<u8>>()
        };
        let (codes, scales) = (
            Buffer::new("codes", &all(|t| &t.codes)),
            Buffer::new("scales", &all(|t| &t.scales)),
        );
        let (x, bias) = (Buffer::new("x", &self.x), Buffer::new("bias", &self.bias));
        let tile_values: Vec<u32> = tiles
            .iter()
            .flat_map(|&(first, rows, weight)| [first, rows, weight].map(|x| x as u32))
            .collect();
        let row_tiles = Buffer::new("row_tiles", &tile_values);
        // Where all rows meet the first weight the kernel cuts them itself.
        let is_plain = tiles == size.tiles(0..num_rows, 0);
        let name = self.tiled[0].format.name;
        let (suffix, columns, threads, shared) = match size {
            Size::Eight => ("8", self.n.div_ceil(16), 256, 0),
            Size::ThirtyTwo => ("32", self.n.div_ceil(16), 256, 0),
            Size::Many => ("many", self.n.div_ceil(128), 256, 3 * 128 * 144),
        };
        let kernel_name = format!("linear_{name}_{suffix}");
        let kernel = Kernel::new(&kernel_name, [tiles.len(), columns, 1], threads)
            .shared(shared)
            .buffer(&out)
            .buffer(&floats)
            .buffer(&x)
            .buffer(&codes)
            .buffer(&scales)
            .buffer(&bias);
        let kernel = match is_plain {
            true => kernel.null(),
            false => kernel.buffer(&row_tiles),
        };
        kernel
            .fields(
                &[
                    self.n,
                    self.k,
                    out_len,
                    1,
                    usize::from(!self.bias.is_empty()),
                    is_float.into(),
                    if is_plain { num_rows } else { 0 },
                ],
                &[],
            )
            .run();
        if is_float {
            floats.to_vec()
        } else {
            widen(&out.to_vec())
        }
    }
}

fn weights(format: WeightFormat, n: usize, k: usize, seed: u64) -> (TiledWeight, Vec<f32>) {
    let cpu = Cpu::new(2).expect("two threads");
    let data = encoded(format, n, k, &mut Random::new(seed));
    let tiled = TiledWeight::new(format, n, k, &data, &cpu).expect("a weight of the shape");
    let packed = PackedWeight::new(format, n, k, &data, &cpu).expect("a weight of the shape");
    let mut values = vec![0.0; n * k];
    for (row, values) in values.chunks_exact_mut(k).enumerate() {
        packed
            .dequantise_row(row, values)
            .expect("a row of the shape");
    }
    (tiled, values)
}

fn check<T: Half>(format: WeightFormat, n: usize, k: usize, rows: usize) {
    let (tiled, values) = weights(format, n, k, 7);
    let mut random = Random::new(rows as u64);
    let layer = Layer {
        k,
        n,
        tiled: vec![tiled],
        bias: random.floats(n, 1.0),
        x: random.halves::<T>(rows * k, 2.0),
    };
    let x = widen(&layer.x);
    let mut want = vec![0.0; rows * n];
    // SAFETY: the type of the function, and arrays of the shape.
    unsafe {
        let reference: Reference = function("linear_reference");
        let (rows, n, k) = (rows as i32, n as i32, k as i32);
        reference(
            want.as_mut_ptr(),
            x.as_ptr(),
            values.as_ptr(),
            layer.bias.as_ptr(),
            rows,
            n,
            k,
        );
    }
    // Each product is off by the rounding of its weight, and of a scale that is a product itself.
    let weight_error = match format {
        WeightFormat::F16 | WeightFormat::BF16 => 0.0,
        WeightFormat::Int4 => T::EPSILON,
        _ => T::EPSILON + 1.0 / 2048.0,
    };
    let mut first = None;
    for size in Size::ALL {
        for is_float in [true, false] {
            let got = layer.run(size, &size.tiles(0..rows, 0), is_float);
            for row in 0..rows {
                assert!(
                    got[row * (n + 2)].is_nan() && got[(row + 1) * (n + 2) - 1].is_nan(),
                    "others' columns"
                );
                for column in 0..n {
                    let (got, want) = (got[row * (n + 2) + 1 + column], want[row * n + column]);
                    let (x, w) = (&x[row * k..][..k], &values[column * k..][..k]);
                    let sum: f32 = x.iter().zip(w).map(|(x, w)| (x * w).abs()).sum();
                    let rounding = if is_float {
                        0.0
                    } else {
                        T::EPSILON * want.abs()
                    };
                    let bound = sum * (weight_error + 2e-6) + 1.01 * rounding;
                    assert!(
                        (got - want).abs() <= bound,
                        "{format:?} {size:?} [{row}, {column}]: {got} {want} within {bound}"
                    );
                }
            }
            if is_float {
                let bits: Vec<u32> = got.iter().map(|x| x.to_bits()).collect();
                assert_eq!(
                    first.get_or_insert_with(|| bits.clone()),
                    &bits,
                    "{size:?} changes no bit"
                );
            }
        }
    }
}

#[test]
fn shim_linear_is_the_product_for_dense_weights_of_any_shape() {
    for (n, k, rows) in [
        (16, 64, 1),
        (40, 576, 9),
        (144, 200, 33),
        (8, 8, 2),
        (130, 136, 130),
    ] {
        check::<f16>(WeightFormat::F16, n, k, rows);
        check::<bf16>(WeightFormat::BF16, n, k, rows);
    }
    check::<bf16>(WeightFormat::F32, 24, 72, 3);
}

#[test]
fn shim_linear_is_the_product_for_every_format_of_weights() {
    for format in WeightFormat::ALL {
        if !matches!(format, WeightFormat::F16 | WeightFormat::F32) {
            check::<bf16>(format, 40, 512, 5);
        }
    }
    check::<bf16>(WeightFormat::Q4_1, 48, 96, 11);
    check::<bf16>(WeightFormat::Q8_0, 140, 1056, 3);
}

#[test]
fn shim_linear_of_a_row_is_the_same_alone_and_among_512() {
    let (n, k) = (32, 320);
    for format in [WeightFormat::BF16, WeightFormat::Q4_1, WeightFormat::Fp8] {
        let (tiled, _) = weights(format, n, k, 3);
        let mut random = Random::new(9);
        let mut layer = Layer {
            k,
            n,
            tiled: vec![tiled],
            bias: Vec::new(),
            x: random.halves::<bf16>(512 * k, 2.0),
        };
        let among = layer.run(Size::Many, &Size::Many.tiles(0..512, 0), true);
        let x = layer.x.clone();
        for row in [0, 77, 300, 511] {
            layer.x = x[row * k..][..k].to_vec();
            for size in Size::ALL {
                let alone = layer.run(size, &[(0, 1, 0)], true);
                let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    bits(&alone),
                    bits(&among[row * (n + 2)..][..n + 2]),
                    "{format:?} {size:?}"
                );
            }
        }
    }
}

#[test]
fn shim_linear_gives_each_expert_its_rows() {
    let (n, k) = (48, 128);
    let (tiled, values): (Vec<_>, Vec<_>) = (0..3)
        .map(|seed| weights(WeightFormat::BF16, n, k, seed))
        .unzip();
    let mut random = Random::new(1);
    let layer = Layer {
        k,
        n,
        tiled,
        bias: random.floats(3 * n, 1.0),
        x: random.halves::<bf16>(50 * k, 2.0),
    };
    let groups = [(0..3, 2), (3..40, 0), (40..49, 1)];
    for size in Size::ALL {
        let tiles: Vec<_> = groups
            .iter()
            .flat_map(|(rows, weight)| size.tiles(rows.clone(), *weight))
            .collect();
        let got = layer.run(size, &tiles, true);
        for (rows, weight) in groups.clone() {
            for row in rows {
                for column in 0..n {
                    let (x, w) = (
                        widen(&layer.x[row * k..][..k]),
                        &values[weight][column * k..][..k],
                    );
                    let want: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>()
                        + layer.bias[weight * n + column];
                    assert!((got[row * (n + 2) + 1 + column] - want).abs() < 1e-4);
                }
            }
        }
        assert!(
            got[49 * (n + 2)..].iter().all(|x| x.is_nan()),
            "a row of no group is left alone"
        );
    }
}

#[test]
fn shim_embedding_of_tiles_is_the_row_of_the_weight_as_products_round_it() {
    for format in WeightFormat::ALL {
        let (n, k) = (
            40,
            if format == WeightFormat::Q8_0 {
                96
            } else {
                512
            },
        );
        let (tiled, values) = weights(format, n, k, 5);
        let ids: Vec<u32> = vec![0, 7, 8, 15, 16, 39, 39];
        let buffers = (
            Buffer::new("ids", &ids),
            Buffer::new("codes", &tiled.codes),
            Buffer::new("scales", &tiled.scales),
        );
        let out = Buffer::<f32>::output("out", ids.len() * k);
        let name = format!("embedding_tiles_{}", tiled.format.name);
        let kernel = Kernel::new(&name, [ids.len(), 1, 1], 256)
            .buffer(&out)
            .buffer(&buffers.0)
            .buffer(&buffers.1);
        kernel.buffer(&buffers.2).int(k).float(2.0).run();
        let out = out.to_vec();
        let error = if format == WeightFormat::F16 {
            0.0
        } else {
            bf16::EPSILON.to_f32() / 2.0 + 1.0 / 2048.0
        };
        for (row, id) in out.chunks_exact(k).zip(&ids) {
            let largest = values[*id as usize * k..][..k]
                .iter()
                .fold(0.0f32, |a, x| a.max(x.abs()));
            for (got, want) in row.iter().zip(&values[*id as usize * k..]) {
                assert!(
                    (got - 2.0 * want).abs() <= 2.0 * error * largest,
                    "{format:?}: {got} {want}"
                );
            }
        }
    }
}

#[test]
fn shim_linear_takes_codes_that_stand_for_zero_as_zero() {
    let (n, k) = (16, 64);
    // `d:f16 z:u8 qs:[u8; 16]` with all codes z.
    let block: Vec<u8> = [&f16::from_f32(0.037).to_le_bytes()[..], &[11], &[0xbb; 16]].concat();
    let data = block.repeat(n * k / 32);
    let cpu = Cpu::new(1).expect("a thread");
    let layer = Layer {
        k,
        n,
        tiled: vec![TiledWeight::new(WeightFormat::Int4, n, k, &data, &cpu).expect("a weight")],
        bias: Vec::new(),
        x: Random::new(3).halves::<bf16>(3 * k, 100.0),
    };
    let got = layer.run(Size::Eight, &Size::Eight.tiles(0..3, 0), true);
    for row in got.chunks_exact(n + 2) {
        assert!(row[1..=n].iter().all(|x| *x == 0.0), "{row:?}");
    }
}

#[test]
fn shim_linear_meets_each_weight_alone_with_its_value() {
    for format in WeightFormat::ALL {
        let (n, k) = (24, 256);
        let (tiled, values) = weights(format, n, k, 5);
        let mut x = vec![bf16::ZERO; k * k];
        x.iter_mut()
            .step_by(k + 1)
            .for_each(|value| *value = bf16::ONE);
        // A kernel for half precision where the weight is of it.
        let half: Vec<f16> = x.iter().map(|x| f16::from_f32(x.to_f32())).collect();
        let is_half = tiled.format.name == "f16";
        let (tiled, bias) = (vec![tiled], Vec::new());
        let tiles = Size::Many.tiles(0..k, 0);
        let got = match is_half {
            true => Layer {
                k,
                n,
                tiled,
                bias,
                x: half,
            }
            .run(Size::Many, &tiles, true),
            false => Layer {
                k,
                n,
                tiled,
                bias,
                x,
            }
            .run(Size::Many, &tiles, true),
        };
        let scale_error = match format {
            WeightFormat::Q2K | WeightFormat::Q4K | WeightFormat::Q5K => 0.02,
            _ => 1.0 / 2048.0,
        };
        for (at, got) in got.chunks_exact(n + 2).enumerate() {
            for (output, got) in got[1..=n].iter().enumerate() {
                let want = values[output * k + at];
                let bound = want.abs() * (1.0 / 256.0 + 1.0 / 2048.0) + scale_error * 1e-2;
                assert!(
                    (got - want).abs() <= bound,
                    "{format:?} [{output}, {at}]: {got} {want}"
                );
            }
        }
    }
}
