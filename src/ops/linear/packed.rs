//! Weights repacked for the kernels.

use candle_core::{Result, bail};
use half::f16;

use super::quantise::BLOCK;
use super::tile::Panel;
use crate::backend::cpu::Cpu;

/// 32 values of 8 outputs in 4 bits: `value = scale · nibble + min`. Byte `32 j + 4 o + i` holds values `4 j + i` (low)
/// and `16 + 4 j + i` (high) of output `o`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Q4Block {
    pub(super) quants: [u8; 128],
    pub(super) scales: [f16; 8],
    pub(super) mins: [f16; 8],
}

/// 32 values of 8 outputs in 8 bits: `value = scale · quant`. Byte `32 j + 4 o + i` is value `4 j + i` of output `o`.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Q8Block {
    pub(super) quants: [i8; 256],
    pub(super) scales: [f16; 8],
}

/// One value of 16 outputs.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct F32Column(pub(super) [[f32; 8]; 2]);

/// The weights by type; each is `[panels, K-steps]`, the last panel filled up with zeros.
pub(super) enum Panels {
    Q4_1(Vec<Q4Block>),
    Q8_0(Vec<Q8Block>),
    F32(Vec<F32Column>),
}

/// A weight matrix `[out_features, in_features]` in the layout that [`matmul`](super::matmul) reads.
pub struct PackedWeight {
    out_features: usize,
    in_features: usize,
    panels: Panels,
}

/// Bytes of a GGUF block of 32 values.
const Q4_1_BYTES: usize = 20;
const Q8_0_BYTES: usize = 34;

impl PackedWeight {
    /// Repacks GGUF Q4_1 blocks, row by row: f16 scale d, f16 minimum m, 16 bytes whose low nibbles are values 0..16 and
    /// high nibbles values 16..32; `value = d · nibble + m`.
    ///
    /// # Errors
    /// If `in_features` is no multiple of 32 or `data` does not have exactly the blocks of the shape.
    pub fn from_q4_1(
        out_features: usize,
        in_features: usize,
        data: &[u8],
        cpu: &Cpu,
    ) -> Result<Self> {
        let blocks_per_row =
            check_blocks("Q4_1", out_features, in_features, data.len(), Q4_1_BYTES)?;
        let empty = Q4Block {
            quants: [0; 128],
            scales: [f16::ZERO; 8],
            mins: [f16::ZERO; 8],
        };
        let panels = pack(
            out_features,
            blocks_per_row,
            empty,
            cpu,
            &|block, output, row, b| {
                let raw = &data[(row * blocks_per_row + b) * Q4_1_BYTES..][..Q4_1_BYTES];
                block.scales[output] = f16::from_le_bytes([raw[0], raw[1]]);
                block.mins[output] = f16::from_le_bytes([raw[2], raw[3]]);
                for (j, four) in raw[4..].chunks_exact(4).enumerate() {
                    block.quants[32 * j + 4 * output..][..4].copy_from_slice(four);
                }
            },
        );
        Ok(Self {
            out_features,
            in_features,
            panels: Panels::Q4_1(panels),
        })
    }

    /// Repacks GGUF Q8_0 blocks, row by row: f16 scale d, 32 signed bytes; `value = d · byte`.
    ///
    /// # Errors
    /// As [`PackedWeight::from_q4_1`].
    pub fn from_q8_0(
        out_features: usize,
        in_features: usize,
        data: &[u8],
        cpu: &Cpu,
    ) -> Result<Self> {
        let blocks_per_row =
            check_blocks("Q8_0", out_features, in_features, data.len(), Q8_0_BYTES)?;
        let empty = Q8Block {
            quants: [0; 256],
            scales: [f16::ZERO; 8],
        };
        let panels = pack(
            out_features,
            blocks_per_row,
            empty,
            cpu,
            &|block, output, row, b| {
                let raw = &data[(row * blocks_per_row + b) * Q8_0_BYTES..][..Q8_0_BYTES];
                block.scales[output] = f16::from_le_bytes([raw[0], raw[1]]);
                for (k, &byte) in raw[2..].iter().enumerate() {
                    block.quants[32 * (k / 4) + 4 * output + k % 4] = byte as i8;
                }
            },
        );
        Ok(Self {
            out_features,
            in_features,
            panels: Panels::Q8_0(panels),
        })
    }

    /// Repacks f32 values, row by row.
    ///
    /// # Errors
    /// If a dimension is zero or `data` does not have `out_features · in_features` values.
    pub fn from_f32(
        out_features: usize,
        in_features: usize,
        data: &[f32],
        cpu: &Cpu,
    ) -> Result<Self> {
        check_len(
            "f32",
            out_features,
            in_features,
            data.len(),
            out_features.checked_mul(in_features),
        )?;
        let empty = F32Column([[0.0; 8]; 2]);
        let panels = pack(
            out_features,
            in_features,
            empty,
            cpu,
            &|column, output, row, k| {
                column.0[output / 8][output % 8] = data[row * in_features + k];
            },
        );
        Ok(Self {
            out_features,
            in_features,
            panels: Panels::F32(panels),
        })
    }

    /// N, the number of rows.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// K, the length of a row.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Memory held by the packed values, in bytes.
    pub fn num_bytes(&self) -> usize {
        match &self.panels {
            Panels::Q4_1(blocks) => size_of_val(&blocks[..]),
            Panels::Q8_0(blocks) => size_of_val(&blocks[..]),
            Panels::F32(columns) => size_of_val(&columns[..]),
        }
    }

    /// Writes the f32 values of row `out_idx` to `out`, `[in_features]`.
    ///
    /// # Errors
    /// If `out_idx` is not below `out_features` or `out` has another length.
    pub fn dequantise_row(&self, out_idx: usize, out: &mut [f32]) -> Result<()> {
        if out_idx >= self.out_features {
            bail!(
                "dequantise_row: out_idx is {out_idx}, but the weight has {} rows",
                self.out_features
            );
        }
        if out.len() != self.in_features {
            bail!(
                "dequantise_row: out must have {} values (in_features), has {}",
                self.in_features,
                out.len()
            );
        }
        self.read_row(out_idx, out);
        Ok(())
    }

    /// [`PackedWeight::dequantise_row`] for checked arguments. The product of scale and quant is exact in f32.
    pub(in crate::ops) fn read_row(&self, row: usize, out: &mut [f32]) {
        match &self.panels {
            Panels::Q4_1(blocks) => {
                let (blocks, output) = panel_of(blocks, row, self.in_features / BLOCK);
                for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
                    let (scale, min) = (block.scales[output].to_f32(), block.mins[output].to_f32());
                    for k in 0..16 {
                        let byte = block.quants[32 * (k / 4) + 4 * output + k % 4];
                        out[k] = scale * f32::from(byte & 15) + min;
                        out[k + 16] = scale * f32::from(byte >> 4) + min;
                    }
                }
            }
            Panels::Q8_0(blocks) => {
                let (blocks, output) = panel_of(blocks, row, self.in_features / BLOCK);
                for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
                    let scale = block.scales[output].to_f32();
                    for (k, out) in out.iter_mut().enumerate() {
                        *out = scale * f32::from(block.quants[32 * (k / 4) + 4 * output + k % 4]);
                    }
                }
            }
            Panels::F32(columns) => {
                let (columns, output) = panel_of(columns, row, self.in_features);
                for (column, out) in columns.iter().zip(out) {
                    *out = column.0[output / 8][output % 8];
                }
            }
        }
    }

    pub(super) fn panels(&self) -> &Panels {
        &self.panels
    }
}

/// The panel that holds `row`, and which of its outputs the row is.
fn panel_of<P: Panel>(all: &[P], row: usize, panel_len: usize) -> (&[P], usize) {
    (
        &all[row / P::OUTPUTS * panel_len..][..panel_len],
        row % P::OUTPUTS,
    )
}

/// Fills panels in parallel by `set(step, output, row, step_idx)`.
fn pack<P: Panel + Copy + Send>(
    out_features: usize,
    panel_len: usize,
    empty: P,
    cpu: &Cpu,
    set: &(dyn Fn(&mut P, usize, usize, usize) + Sync),
) -> Vec<P> {
    let mut all = vec![empty; out_features.div_ceil(P::OUTPUTS) * panel_len];
    cpu.for_each_chunk(&mut all, panel_len, &|panel, steps| {
        let first = panel * P::OUTPUTS;
        for (b, step) in steps.iter_mut().enumerate() {
            for row in first..out_features.min(first + P::OUTPUTS) {
                set(step, row - first, row, b);
            }
        }
    });
    all
}

/// The number of blocks in a row.
fn check_blocks(
    kind: &str,
    out_features: usize,
    in_features: usize,
    len: usize,
    block_bytes: usize,
) -> Result<usize> {
    if !in_features.is_multiple_of(BLOCK) {
        bail!("{kind} weight: in_features must be a multiple of {BLOCK}, is {in_features}");
    }
    let blocks_per_row = in_features / BLOCK;
    let want = out_features
        .checked_mul(blocks_per_row)
        .and_then(|n| n.checked_mul(block_bytes));
    check_len(kind, out_features, in_features, len, want)?;
    Ok(blocks_per_row)
}

fn check_len(
    kind: &str,
    out_features: usize,
    in_features: usize,
    len: usize,
    want: Option<usize>,
) -> Result<()> {
    if out_features == 0 || in_features == 0 {
        bail!("{kind} weight: [{out_features}, {in_features}] has a dimension of zero");
    }
    match want {
        Some(want) if want == len => Ok(()),
        Some(want) => bail!(
            "{kind} weight [{out_features}, {in_features}]: data must have length {want}, has {len}"
        ),
        None => bail!("{kind} weight: [{out_features}, {in_features}] is too large"),
    }
}
