//! Weights as the tensor cores of GPUs take them: the layout of `kernels/weights.cuh`, which says what lies where and why.

use candle_core::{Result, bail};
use half::{bf16, f16};

use super::blocks::{self, Decoded};
use super::packed::WeightFormat;
use crate::backend::cpu::Cpu;

/// Outputs and inputs of a tile.
const TILE_N: usize = 16;
const TILE_K: usize = 64;

/// How the values of tiles are encoded. The names end those of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileFormat {
    /// As kernels' names have it.
    pub name: &'static str,
    /// Bits of a code.
    pub bits: usize,
    /// Inputs that share a scale; 0 where there are none.
    pub group: usize,
    /// Bytes of a group's scale and of its minimum or zero.
    pub scale_bytes: usize,
}

impl TileFormat {
    /// That in which a weight of `format` is kept.
    pub fn of(format: WeightFormat) -> Self {
        let (name, bits, group, scale_bytes) = match format {
            WeightFormat::F16 => ("f16", 16, 0, 0),
            WeightFormat::F32 | WeightFormat::BF16 => ("bf16", 16, 0, 0),
            WeightFormat::Q4_0 => ("q4", 4, 32, 2),
            WeightFormat::Q4_1 | WeightFormat::Q4K => ("q4_min", 4, 32, 4),
            WeightFormat::Int4 => ("q4_zero", 4, 32, 4),
            WeightFormat::Q5_0 => ("q5", 5, 32, 2),
            WeightFormat::Q5_1 | WeightFormat::Q5K => ("q5_min", 5, 32, 4),
            WeightFormat::Q8_0 => ("q8", 8, 32, 2),
            WeightFormat::Q6K => ("q6_of_16", 6, 16, 2),
            WeightFormat::Q3K | WeightFormat::Tq1_0 | WeightFormat::Tq2_0 => ("q4_of_16", 4, 16, 2),
            WeightFormat::Q2K => ("q4_min_of_16", 4, 16, 4),
            WeightFormat::Iq4Nl | WeightFormat::Iq4Xs => ("iq4", 4, 32, 2),
            WeightFormat::Mxfp4 => ("mxfp4", 4, 32, 2),
            WeightFormat::Fp8 => ("fp8", 8, 32, 4),
        };
        Self {
            name,
            bits,
            group,
            scale_bytes,
        }
    }

    /// Bytes that a weight `[out_features, in_features]` takes.
    pub fn num_bytes(self, out_features: usize, in_features: usize) -> usize {
        let num_tiles = out_features.div_ceil(TILE_N) * in_features.div_ceil(TILE_K);
        num_tiles * (self.code_bytes() + self.tile_scale_bytes())
    }

    /// Codes of a tile, in bytes.
    pub fn code_bytes(self) -> usize {
        TILE_N * TILE_K * self.bits / 8
    }

    /// Scales of a tile, in bytes.
    pub fn tile_scale_bytes(self) -> usize {
        match self.group {
            0 => 0,
            group => TILE_K / group * TILE_N * self.scale_bytes,
        }
    }
}

/// A weight `[out_features, in_features]` in tiles.
pub struct TiledWeight {
    /// How tiles are encoded.
    pub format: TileFormat,
    /// `[N / 16, K / 64]` tiles of codes.
    pub codes: Vec<u8>,
    /// As many of scales.
    pub scales: Vec<u8>,
}

/// Where a value's code lies in its tile.
struct Place {
    lane: usize,
    /// Of the four that a tile takes.
    step: usize,
    /// Among the eight of a lane and step.
    value: usize,
}

impl Place {
    fn new(n: usize, k: usize) -> Self {
        let (part, k) = (k / 16, k % 16);
        // Registers of a fragment: outputs g and g + 8 at two inputs, and both at the next two.
        let register = n / 8 + k % 4 / 2 * 2;
        Self {
            lane: n % 8 * 4 + part,
            step: k / 4,
            value: register * 2 + k % 2,
        }
    }

    fn set(&self, bits: usize, tile: &mut [u8], code: u16) {
        let &Self { lane, step, value } = self;
        match bits {
            16 => {
                let at = (step * 32 + lane) * 16 + value * 2;
                tile[at..at + 2].copy_from_slice(&code.to_le_bytes());
            }
            8 => tile[(step / 2 * 32 + lane) * 16 + step % 2 * 8 + value] = code as u8,
            _ => {
                let low = (code & 15) as u8;
                tile[lane * 16 + step * 4 + value / 2] |= low << (value % 2 * 4);
                for bit in 4..bits {
                    let at = 32 * 16 + ((bit - 4) * 32 + lane) * 4 + step;
                    tile[at] |= ((code >> bit & 1) as u8) << value;
                }
            }
        }
    }
}

/// The tiles of 16 outputs: all of K.
struct Strip<'a> {
    format: TileFormat,
    codes: &'a mut [u8],
    scales: &'a mut [u8],
}

impl Strip<'_> {
    fn set_code(&mut self, n: usize, k: usize, code: u16) {
        let len = self.format.code_bytes();
        let tile = &mut self.codes[k / TILE_K * len..][..len];
        Place::new(n, k % TILE_K).set(self.format.bits, tile, code);
    }

    /// Of the group that begins at k.
    fn set_scale(&mut self, n: usize, k: usize, scale: &[u8]) {
        let tile = k / TILE_K * self.format.tile_scale_bytes();
        let group = k % TILE_K / self.format.group;
        let at = tile + ((group * 8 + n % 8) * 2 + n / 8) * self.format.scale_bytes;
        self.scales[at..at + scale.len()].copy_from_slice(scale);
    }
}

/// What is to be cut into tiles, row by row.
struct Source<'a> {
    out_features: usize,
    in_features: usize,
    data: &'a [u8],
    cpu: &'a Cpu,
}

/// The scale of a group of a block, and its minimum or zero: which block of 32, and which half of it.
type Scaling<const N: usize> = fn(&Decoded<N>, usize, usize) -> (f32, f32);

impl TiledWeight {
    /// Cuts a matrix that is encoded row by row into tiles. Floats of 32 bits are rounded to bf16, and scales that are products
    /// (of K-quants) to f16.
    ///
    /// # Errors
    /// If a row is no whole number of the format's blocks, or `data` does not have exactly the shape's bytes.
    pub fn new(
        weight_format: WeightFormat,
        out_features: usize,
        in_features: usize,
        data: &[u8],
        cpu: &Cpu,
    ) -> Result<Self> {
        let source = Source {
            out_features,
            in_features,
            data,
            cpu,
        };
        let format = TileFormat::of(weight_format);
        match weight_format {
            WeightFormat::F32 => source.floats::<4>(format, |bytes| {
                bf16::from_f32(f32::from_le_bytes(bytes)).to_bits()
            }),
            WeightFormat::F16 | WeightFormat::BF16 => source.floats(format, u16::from_le_bytes),
            WeightFormat::Q4_0 => source.blocks(format, blocks::q4_0, 0, scale),
            WeightFormat::Q4_1 => source.blocks(format, blocks::q4_1, 0, scale_min),
            WeightFormat::Int4 => source.blocks(format, blocks::int4, 0, scale_zero),
            WeightFormat::Q4K => source.blocks(format, blocks::q4_k, 0, scale_min_of_32),
            WeightFormat::Q5_0 => source.blocks(format, blocks::q5_0, 0, scale),
            WeightFormat::Q5_1 => source.blocks(format, blocks::q5_1, 0, scale_min),
            WeightFormat::Q5K => source.blocks(format, blocks::q5_k, 0, scale_min_of_32),
            WeightFormat::Q8_0 => source.blocks(format, blocks::q8_0, 0, scale),
            WeightFormat::Q6K => source.blocks(format, blocks::q6_k, 0, scale_of_16),
            // Quants that count from 4 and 1 become such that count from 8.
            WeightFormat::Q3K => source.blocks(format, blocks::q3_k, 4, scale_of_16),
            WeightFormat::Tq1_0 => source.blocks(format, blocks::tq1_0, 7, scale_of_16),
            WeightFormat::Tq2_0 => source.blocks(format, blocks::tq2_0, 7, scale_of_16),
            WeightFormat::Q2K => source.blocks(format, blocks::q2_k, 0, scale_min_of_16),
            WeightFormat::Iq4Nl => source.blocks(format, blocks::iq4_nl, 0, scale),
            WeightFormat::Iq4Xs => source.blocks(format, blocks::iq4_xs, 0, scale_of_16),
            WeightFormat::Mxfp4 => source.blocks(format, blocks::mxfp4, 0, power_of_two),
            WeightFormat::Fp8 => source.fp8(format),
        }
    }
}

fn scale(block: &Decoded<1>, _: usize, _: usize) -> (f32, f32) {
    (block.d.to_f32(), 0.0)
}

fn scale_min(block: &Decoded<1>, _: usize, _: usize) -> (f32, f32) {
    (block.d.to_f32(), block.m.to_f32())
}

/// `d (q - z)`.
fn scale_zero(block: &Decoded<1>, _: usize, _: usize) -> (f32, f32) {
    (block.d.to_f32(), f32::from(block.scales[0]))
}

fn scale_min_of_32(block: &Decoded<8>, b: usize, _: usize) -> (f32, f32) {
    let min = block.m.to_f32() * f32::from(block.mins[b]);
    (block.d.to_f32() * f32::from(block.scales[b]), -min)
}

fn scale_of_16(block: &Decoded<8>, b: usize, half: usize) -> (f32, f32) {
    let scale = f32::from(block.scales[2 * b + half]);
    (block.d.to_f32() * scale, 0.0)
}

fn scale_min_of_16(block: &Decoded<8>, b: usize, half: usize) -> (f32, f32) {
    let min = block.m.to_f32() * f32::from(block.mins[2 * b + half]);
    (scale_of_16(block, b, half).0, -min)
}

/// `2^(e - 128)`.
fn power_of_two(block: &Decoded<1>, _: usize, _: usize) -> (f32, f32) {
    let exponent = i32::from(block.scales[0].cast_unsigned());
    (2f64.powi(exponent - 128) as f32, 0.0)
}

impl Source<'_> {
    /// Fills all strips, in parallel, each row by `set(strip, n, row)`.
    fn tiles(
        &self,
        format: TileFormat,
        row_bytes: usize,
        set: &(dyn Fn(&mut Strip<'_>, usize, &[u8]) + Sync),
    ) -> Result<TiledWeight> {
        let (num_rows, width) = (self.out_features, self.in_features);
        if num_rows == 0 || width == 0 {
            bail!("weight: [{num_rows}, {width}] has a dimension of zero");
        }
        if num_rows.checked_mul(row_bytes) != Some(self.data.len()) {
            bail!(
                "weight [{num_rows}, {width}]: data must have {num_rows} rows of {row_bytes} bytes, has {}",
                self.data.len()
            );
        }
        let (strips, tiles) = (num_rows.div_ceil(TILE_N), width.div_ceil(TILE_K));
        let (code_len, scale_len) = (
            tiles * format.code_bytes(),
            tiles * format.tile_scale_bytes(),
        );
        let mut codes = vec![0; strips * code_len];
        let mut scales = vec![0; strips * scale_len];
        let mut rest = &mut scales[..];
        let mut parts: Vec<Strip<'_>> = (codes.chunks_exact_mut(code_len))
            .map(|codes| {
                let (scales, after) = std::mem::take(&mut rest).split_at_mut(scale_len);
                rest = after;
                Strip {
                    format,
                    codes,
                    scales,
                }
            })
            .collect();
        self.cpu.for_each_chunk(&mut parts, 1, &|i, strip| {
            let rows = self.data[i * TILE_N * row_bytes..].chunks_exact(row_bytes);
            for (n, row) in rows.take(TILE_N).enumerate() {
                set(&mut strip[0], n, row);
            }
        });
        Ok(TiledWeight {
            format,
            codes,
            scales,
        })
    }

    fn floats<const BYTES: usize>(
        &self,
        format: TileFormat,
        bits: fn([u8; BYTES]) -> u16,
    ) -> Result<TiledWeight> {
        self.tiles(format, self.in_features * BYTES, &|strip, n, row| {
            for (k, value) in row.as_chunks().0.iter().enumerate() {
                strip.set_code(n, k, bits(*value));
            }
        })
    }

    fn blocks<const BYTES: usize, const N: usize>(
        &self,
        format: TileFormat,
        decode: fn(&[u8; BYTES]) -> Decoded<N>,
        shift: u16,
        scaling: Scaling<N>,
    ) -> Result<TiledWeight> {
        self.check_width(32 * N)?;
        let row_bytes = self.in_features / (32 * N) * BYTES;
        self.tiles(format, row_bytes, &|strip, n, row| {
            for (i, block) in row.as_chunks().0.iter().enumerate() {
                let decoded = decode(block);
                for (b, quants) in decoded.quants.iter().enumerate() {
                    let first = (i * N + b) * 32;
                    for (k, q) in quants.iter().enumerate() {
                        strip.set_code(n, first + k, u16::from(*q) + shift);
                    }
                    for half in 0..32 / format.group {
                        let (scale, min) = scaling(&decoded, b, half);
                        let bits = match format.name {
                            "mxfp4" => bf16::from_f32(scale).to_bits(),
                            _ => f16::from_f32(scale).to_bits(),
                        };
                        let [a, b] = bits.to_le_bytes();
                        let [c, d] = f16::from_f32(min).to_bits().to_le_bytes();
                        let bytes = [a, b, c, d];
                        let at = first + half * format.group;
                        strip.set_scale(n, at, &bytes[..format.scale_bytes]);
                    }
                }
            }
        })
    }

    fn fp8(&self, format: TileFormat) -> Result<TiledWeight> {
        self.check_width(32)?;
        self.tiles(format, self.in_features / 32 * 36, &|strip, n, row| {
            for (i, block) in row.chunks_exact(36).enumerate() {
                let (scale, values) = block.split_at(4);
                strip.set_scale(n, i * 32, scale);
                for (k, value) in values.iter().enumerate() {
                    strip.set_code(n, i * 32 + k, u16::from(*value));
                }
            }
        })
    }

    fn check_width(&self, block: usize) -> Result<()> {
        if !self.in_features.is_multiple_of(block) {
            bail!(
                "weight: in_features must be a multiple of {block}, is {}",
                self.in_features
            );
        }
        Ok(())
    }
}
