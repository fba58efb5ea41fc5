//! AWQ and GPTQ: 4-bit integers in words of 32 bits, with a scale and a zero for a group of inputs.
//!
//! `[rows, columns]` as the files have them, of K inputs and N outputs in groups of g: AWQ has quants `[K, N / 8]`, GPTQ
//! `[K / 8, N]`; both have zeros `[K / g, N / 8]` and scales `[K / g, N]`. AWQ's words hold outputs in an order of its own.
//! Sources: the packing of AutoAWQ (`gemm`) and AutoGPTQ.

use ::safetensors::tensor::Dtype;
use half::f16;

use super::super::{Entry, SafetensorsFolder};
use super::{QUANTS, floats};
use crate::backend::cpu::Cpu;
use crate::model::config::{Int4Layout, error};
use crate::model::gguf::{GgmlType, shown};
use crate::model::{Encoding, ModelError};

/// What the other parts are called.
pub(super) const COMPANIONS: [&str; 3] = [".qzeros", ".scales", ".g_idx"];

/// The place in a word of AWQ's of each of its eight outputs.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The parts.
pub(in super::super) struct Int4<'a> {
    layout: Int4Layout,
    quants: &'a Entry,
    zeros: &'a Entry,
    scales: &'a Entry,
    /// The group of each input; `None` if neighbours make one.
    groups: Option<Vec<u32>>,
}

/// A block: the scale, the zero, 32 quants.
const INT4_BYTES: usize = 19;

impl SafetensorsFolder {
    pub(super) fn int4(&self, name: &str) -> Result<Int4<'_>, ModelError> {
        let Some(layout) = self.packing.int4 else {
            let message = format!("does not say how {} is packed: awq or gptq", shown(name));
            return Err(error("quantization_config.quant_method", message));
        };
        let stem = name.strip_suffix(QUANTS).unwrap_or(name);
        let mut parts = Int4 {
            layout,
            quants: self.part(name, stem, QUANTS)?,
            zeros: self.part(name, stem, ".qzeros")?,
            scales: self.part(name, stem, ".scales")?,
            groups: None,
        };
        if let Some(groups) = self.tensors.get(format!("{stem}.g_idx").as_str()) {
            let words = words(self.data(groups));
            parts.groups = Some(words.iter().map(|&group| group as u32).collect());
            if groups.dtype != Dtype::I32 || !parts.has_groups_of_inputs() {
                let message = "g_idx is no group for each input";
                return Err(ModelError::tensor(shown(name), message));
            }
            let group_size = parts.group_size();
            let of_neighbours = (0..words.len()).map(|k| (k / group_size) as u32);
            if of_neighbours.eq(parts.groups.iter().flatten().copied()) {
                parts.groups = None;
            }
        }
        Ok(parts)
    }
}

impl Int4<'_> {
    /// K and N.
    fn size(&self) -> (usize, usize) {
        let (columns, rows) = (
            self.quants.dims[0],
            self.quants.dims.get(1).copied().unwrap_or(1),
        );
        match self.layout {
            Int4Layout::Awq => (rows, columns * 8),
            Int4Layout::Gptq { .. } => (rows * 8, columns),
        }
    }

    fn num_groups(&self) -> usize {
        self.scales.dims.get(1).copied().unwrap_or(1)
    }

    fn group_size(&self) -> usize {
        self.size().0.div_ceil(self.num_groups())
    }

    fn has_groups_of_inputs(&self) -> bool {
        let Some(groups) = &self.groups else {
            return true;
        };
        groups.len() == self.size().0
            && groups
                .iter()
                .all(|&group| (group as usize) < self.num_groups())
    }

    /// Encoding and dimensions: where the groups are not those of neighbours, blocks cannot hold them, and elements become the
    /// float16 that both formats are made for.
    pub(super) fn shape(&self) -> Result<(Encoding, Vec<usize>), String> {
        let (inputs, outputs) = self.size();
        let (groups, group_size) = (self.num_groups(), self.group_size());
        let are_words = [self.quants, self.zeros]
            .iter()
            .all(|part| part.dtype == Dtype::I32);
        let is_whole = self.zeros.dims == [outputs / 8, groups]
            && self.scales.dims == [outputs, groups]
            && self.quants.dims.len() == 2
            && outputs.is_multiple_of(8)
            && groups * group_size == inputs;
        if !are_words || !is_whole {
            return Err(format!(
                "is {:?} with zeros {:?} and scales {:?} (fastest dimension first), which do not make a matrix together",
                self.quants.dims, self.zeros.dims, self.scales.dims
            ));
        }
        if floats(self.scales.dtype, &[]).is_none() {
            return Err(format!(
                "has scales of type {:?}; floats are known",
                self.scales.dtype
            ));
        }
        let encoding = match self.groups {
            Some(_) => Encoding::Ggml(GgmlType::F16),
            None if group_size.is_multiple_of(32) => Encoding::Int4,
            None => {
                return Err(format!(
                    "has groups of {group_size} inputs, which must be a multiple of 32"
                ));
            }
        };
        Ok((encoding, vec![inputs, outputs]))
    }

    /// The elements, row by row, in the encoding of the shape, which was checked.
    pub(super) fn blocks(&self, folder: &SafetensorsFolder, cpu: &Cpu) -> Vec<u8> {
        let (inputs, outputs) = self.size();
        let quants = words(folder.data(self.quants));
        let zeros = words(folder.data(self.zeros));
        let scales = floats(self.scales.dtype, folder.data(self.scales)).unwrap_or_default();
        let group_size = self.group_size();
        let (place, zero_offset): (fn(usize) -> usize, u8) = match self.layout {
            Int4Layout::Awq => (|n| AWQ_PLACES[n % 8], 0),
            Int4Layout::Gptq { zero_offset } => (|n| n % 8, zero_offset),
        };
        let nibble = |word: i32, place: usize| (word >> (4 * place) & 15) as u8;
        let zero = |group: usize, n: usize| {
            // The packing program takes the offset off before it masks.
            (nibble(zeros[group * (outputs / 8) + n / 8], place(n)) + zero_offset) & 15
        };
        let scale = |group: usize, n: usize| f16::from_f32(scales[group * outputs + n]);
        let quant = |k: usize, n: usize| match self.layout {
            Int4Layout::Awq => nibble(quants[k * (outputs / 8) + n / 8], place(n)),
            Int4Layout::Gptq { .. } => nibble(quants[k / 8 * outputs + n], k % 8),
        };
        let row = |n: usize, out: &mut [u8]| match &self.groups {
            Some(groups) => {
                let values = out.as_chunks_mut::<2>().0.iter_mut();
                for ((k, &group), value) in groups.iter().enumerate().zip(values) {
                    let group = group as usize;
                    let exact = f32::from(quant(k, n)) - f32::from(zero(group, n));
                    *value = f16::from_f32(exact * scale(group, n).to_f32()).to_le_bytes();
                }
            }
            None => {
                for (i, block) in out.as_chunks_mut::<INT4_BYTES>().0.iter_mut().enumerate() {
                    let (k, group) = (32 * i, 32 * i / group_size);
                    let [low, high] = scale(group, n).to_le_bytes();
                    [block[0], block[1], block[2]] = [low, high, zero(group, n)];
                    for (k, byte) in (k..k + 16).zip(&mut block[3..]) {
                        *byte = quant(k, n) | quant(k + 16, n) << 4;
                    }
                }
            }
        };
        let row_bytes = match self.groups {
            Some(_) => 2 * inputs,
            None => inputs / 32 * INT4_BYTES,
        };
        let mut out = vec![0; outputs * row_bytes];
        let rows_per_task = cpu.rows_per_task(outputs, inputs);
        cpu.for_each_chunk(&mut out, rows_per_task * row_bytes, &|task, rows| {
            for (i, out) in rows.chunks_mut(row_bytes).enumerate() {
                row(task * rows_per_task + i, out);
            }
        });
        out
    }
}

fn words(data: &[u8]) -> Vec<i32> {
    let fours = data.as_chunks::<4>().0.iter();
    fours.map(|&bytes| i32::from_le_bytes(bytes)).collect()
}
