//! The weights of routed experts: a tensor for each, or one for all (gpt-oss), whose gate and up rows take turns.

use std::borrow::Cow;

use super::names::split;
use super::packed::{BLOCKS, Packed, ggml_blocks};
use super::{Entry, SafetensorsFolder};
use crate::backend::cpu::Cpu;
use crate::model::ModelError;
use crate::model::gguf::shown;
use crate::model::source::{Tensor, TensorShape};

/// A projection of all experts of a layer.
pub(super) struct Stack<'a> {
    folder: &'a SafetensorsFolder,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// One tensor for each expert, by its place.
    Each(Vec<&'a str>),
    /// One for all.
    One {
        name: &'a str,
        entry: &'a Entry,
        /// The first of the rows that are this projection's, where every second is.
        every_second: Option<usize>,
        /// Whether rows are those of the input, as where nothing is packed.
        is_transposed: bool,
    },
}

impl SafetensorsFolder {
    /// The projection that GGUF files call `name`, `blk.….ffn_{gate,up,down}_exps.{weight,bias}`.
    pub(super) fn stack(&self, name: &str) -> Option<Stack<'_>> {
        let (layer, part, kind) = split(name)?;
        let (qwen, mixtral, fused, every_second) = match part {
            "ffn_gate_exps" => ("gate_proj", "w1", "gate_up_proj", Some(0)),
            "ffn_up_exps" => ("up_proj", "w3", "gate_up_proj", Some(1)),
            "ffn_down_exps" => ("down_proj", "w2", "down_proj", None),
            _ => return None,
        };
        let layer = format!("{}layers.{layer}", self.prefix);
        for (experts, projection) in [("mlp.experts", qwen), ("block_sparse_moe.experts", mixtral)]
        {
            let name = |e: usize| format!("{layer}.{experts}.{e}.{projection}.{kind}");
            let names = (0..).map_while(|e| Some(self.get(&name(e))?.0));
            let names: Vec<&str> = names.collect();
            if !names.is_empty() {
                let kind = Kind::Each(names);
                return Some(Stack { folder: self, kind });
            }
        }
        let suffixes = match kind {
            "weight" => [BLOCKS, ""],
            _ => ["_bias", "_bias"],
        };
        let (name, entry) = suffixes
            .iter()
            .find_map(|suffix| self.get(&format!("{layer}.mlp.experts.{fused}{suffix}")))?;
        let kind = Kind::One {
            name,
            entry,
            every_second,
            is_transposed: kind == "weight" && !name.ends_with(BLOCKS),
        };
        Some(Stack { folder: self, kind })
    }
}

impl<'a> Stack<'a> {
    /// As a GGUF file would have it: the last dimension is that of the experts.
    pub(super) fn shape(&self) -> Result<TensorShape<'a>, ModelError> {
        let folder = self.folder;
        match &self.kind {
            Kind::Each(names) => {
                let entry = &folder.tensors[names[0]];
                let mut shape = folder.shape_of(names[0], entry)?;
                shape.dims.push(names.len());
                Ok(shape)
            }
            &Kind::One {
                name,
                entry,
                every_second,
                is_transposed,
            } => {
                let mut shape = folder.shape_of(name, entry)?;
                let num_dims = if name.ends_with("_bias") { 2 } else { 3 };
                if shape.dims.len() != num_dims {
                    let message = format!("is {:?}, which is no stack of experts", shape.dims);
                    return Err(ModelError::tensor(shown(name), message));
                }
                if is_transposed {
                    shape.dims.swap(0, 1);
                }
                if every_second.is_some() {
                    // Of a bias the outputs come first.
                    let outputs = shape.dims.len() - 2;
                    if !shape.dims[outputs].is_multiple_of(2) {
                        let message = format!(
                            "is {:?}, an odd number of outputs: gates and up values take turns",
                            shape.dims
                        );
                        return Err(ModelError::tensor(shown(name), message));
                    }
                    shape.dims[outputs] /= 2;
                }
                Ok(shape)
            }
        }
    }

    /// The part of one expert.
    pub(super) fn expert(&self, expert: usize, cpu: &Cpu) -> Result<Tensor<'a>, ModelError> {
        let mut shape = self.shape()?;
        let num_experts = shape.dims.pop().unwrap_or(0);
        if expert >= num_experts {
            let message = format!("is of {num_experts} experts: there is no expert {expert}");
            return Err(ModelError::tensor(shown(shape.name), message));
        }
        let folder = self.folder;
        match &self.kind {
            Kind::Each(names) => folder.read(names[expert], &folder.tensors[names[expert]], cpu),
            &Kind::One {
                name,
                entry,
                every_second,
                is_transposed,
            } => {
                let part = |data: &'a [u8]| {
                    let len = data.len() / num_experts;
                    &data[expert * len..][..len]
                };
                let pages = part(folder.data(entry));
                let data = match folder.packed(name, entry).transpose()? {
                    Some(Packed::Mxfp4(parts)) => {
                        let (blocks, scales) = parts.data(folder);
                        let data = ggml_blocks(part(blocks), part(scales));
                        rows(&data, shape.encoding.row_bytes(shape.dims[0]), every_second)
                    }
                    Some(_) => {
                        let message = "is packed in a way that stacks of experts are not known in";
                        return Err(ModelError::tensor(shown(name), message));
                    }
                    None if is_transposed => transposed(pages, &shape, every_second),
                    None if shape.dims.len() == 1 => {
                        rows(pages, shape.encoding.layout().block_bytes, every_second)
                    }
                    None => rows(pages, shape.encoding.row_bytes(shape.dims[0]), every_second),
                };
                Ok(Tensor {
                    shape,
                    data: Cow::Owned(data),
                    pages,
                })
            }
        }
    }
}

/// The rows of `bytes` bytes, all or every second.
fn rows(data: &[u8], bytes: usize, every_second: Option<usize>) -> Vec<u8> {
    let (first, step) = every_second.map_or((0, 1), |first| (first, 2));
    let rows = data.chunks_exact(bytes).skip(first).step_by(step);
    rows.flatten().copied().collect()
}

/// Rows out of the columns of `data`, all or every second; `shape` is that of the result.
fn transposed(data: &[u8], shape: &TensorShape<'_>, every_second: Option<usize>) -> Vec<u8> {
    let (first, step) = every_second.map_or((0, 1), |first| (first, 2));
    let (cols, num_rows) = (shape.dims[0], shape.dims[1]);
    let bytes = shape.encoding.layout().block_bytes;
    let mut out = Vec::with_capacity(cols * num_rows * bytes);
    for row in 0..num_rows {
        let column = first + row * step;
        for k in 0..cols {
            out.extend_from_slice(&data[(k * num_rows * step + column) * bytes..][..bytes]);
        }
    }
    out
}
