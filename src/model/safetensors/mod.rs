//! Safetensors: the tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` names.
//!
//! Headers are read and checked when a folder is opened: every tensor lies inside its file and has the bytes of its shape
//! (the `safetensors` crate), every tensor of the index is in its shard and in no other, and has 1 to 4 dimensions, none of
//! them zero. Data is mapped, and read when it is asked for.

mod experts;
mod names;
mod packed;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype, TensorInfo};
use serde::Deserialize;

pub(super) use names::{names_of, part_of};
pub(super) use packed::floats;

use super::config::Packing;
use super::file_map::FileMap;
use super::gguf::{GgmlType, shown};
use super::source::{Tensor, TensorShape, TensorSource};
use super::{Encoding, ModelError};
use crate::backend::cpu::Cpu;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a folder.
pub struct SafetensorsFolder {
    shards: Vec<FileMap>,
    /// By name.
    tensors: BTreeMap<Box<str>, Entry>,
    /// What the decoder's tensors have in the place of `model.`.
    prefix: &'static str,
    packing: Packing,
    /// Whether the LM head is the embedding, whatever else the files hold.
    has_tied_head: bool,
}

struct Entry {
    shard_idx: usize,
    dtype: Dtype,
    /// Fastest dimension first.
    dims: Vec<usize>,
    data: Range<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl SafetensorsFolder {
    /// Maps the folder's files and checks their headers.
    ///
    /// # Errors
    /// Each names the file, and the tensor if it is one's fault.
    pub(super) fn open(
        folder: &Path,
        has_tied_head: bool,
        packing: Packing,
    ) -> Result<Self, ModelError> {
        let mut opened = Self {
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            prefix: "model.",
            packing,
            has_tied_head,
        };
        let index_path = folder.join(INDEX);
        if !index_path.exists() {
            opened.add_shard(&folder.join(SINGLE))?;
            opened.prefix = names::prefix(|name| opened.tensors.contains_key(name));
            return Ok(opened);
        }
        let index = std::fs::read(&index_path).map_err(ModelError::open(&index_path))?;
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| ModelError::file(&index_path, error.to_string()))?;
        let mut shards: Vec<&str> = index.weight_map.values().map(String::as_str).collect();
        shards.sort_unstable();
        shards.dedup();
        for shard in &shards {
            if Path::new(shard)
                .file_name()
                .is_none_or(|name| name != *shard)
            {
                let message = format!("weight_map: {} is no file of this folder", shown(shard));
                return Err(ModelError::file(&index_path, message));
            }
            opened.add_shard(&folder.join(shard))?;
        }
        for (name, shard) in &index.weight_map {
            let shard_idx = opened
                .tensors
                .get(name.as_str())
                .map(|entry| entry.shard_idx);
            if shard_idx.is_none_or(|i| shards[i] != shard) {
                let message = format!("{} is to be in {shard}, but it is not", shown(name));
                return Err(ModelError::file(&index_path, message));
            }
        }
        opened.prefix = names::prefix(|name| opened.tensors.contains_key(name));
        Ok(opened)
    }

    fn add_shard(&mut self, path: &Path) -> Result<(), ModelError> {
        let map = FileMap::open(path).map_err(ModelError::open(path))?;
        let (header_len, metadata) = SafeTensors::read_metadata(map.as_ref()).map_err(|error| {
            let message = format!(
                "{error}: the file is truncated, damaged or no safetensors file (an unfinished download, a Git LFS pointer?)"
            );
            ModelError::file(path, message)
        })?;
        let data_start = 8 + header_len;
        let shard_idx = self.shards.len();
        for (name, info) in metadata.tensors() {
            let entry = Entry::new(shard_idx, data_start, info)
                .map_err(|message| ModelError::tensor(shown(&name), message))?;
            if self.tensors.insert(name.as_str().into(), entry).is_some() {
                let message = "stands in two files of the folder";
                return Err(ModelError::tensor(shown(&name), message));
            }
        }
        self.shards.push(map);
        Ok(())
    }

    /// What the tensor that the file calls `name` is; of one that is packed in several, the first says it all.
    fn shape_of<'a>(&'a self, name: &'a str, entry: &Entry) -> Result<TensorShape<'a>, ModelError> {
        if let Some(packed) = self.packed(name, entry) {
            return packed?.shape(name);
        }
        let ty = match entry.dtype {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            Dtype::F64 => GgmlType::F64,
            other => {
                let message = format!(
                    "has the type {other:?}, which is not supported here; BF16, F16, F32 and F64 are, and what FP8, AWQ, GPTQ and MXFP4 pack"
                );
                return Err(ModelError::tensor(shown(name), message));
            }
        };
        Ok(TensorShape {
            name,
            encoding: Encoding::Ggml(ty),
            dims: entry.dims.clone(),
        })
    }

    fn data<'a>(&'a self, entry: &Entry) -> &'a [u8] {
        &self.shards[entry.shard_idx].as_ref()[entry.data.clone()]
    }

    /// The tensor that the file calls `name`, or the first of those that it is packed in.
    fn get(&self, name: &str) -> Option<(&str, &Entry)> {
        let found = self.tensors.get_key_value(name).or_else(|| {
            let stem = name.strip_suffix(".weight")?;
            let name = format!("{stem}{}", packed::QUANTS);
            self.tensors.get_key_value(name.as_str())
        });
        found.map(|(name, entry)| (&**name, entry))
    }

    /// The file's tensor for what GGUF files call `name`, where there is one.
    fn find(&self, name: &str) -> Option<(&str, &Entry)> {
        if self.has_tied_head && name == "output.weight" {
            return None;
        }
        let names = names::names_of(name).into_iter();
        names
            .flat_map(|name| self.prefixed(&name))
            .find_map(|name| self.get(&name))
    }

    /// The names that the tensor may have in this folder which others call `name`.
    fn prefixed(&self, name: &str) -> [String; 2] {
        match name.strip_prefix("model.") {
            Some(rest) => [format!("{}{rest}", self.prefix), name.to_owned()],
            None => [name.to_owned(), format!("language_model.{name}")],
        }
    }

    /// The tensor that the file calls `name`, for models whose names GGUF files do not have.
    pub(super) fn named<'a>(&'a self, name: &'a str, cpu: &Cpu) -> Result<Tensor<'a>, ModelError> {
        match self.get(name) {
            Some((name, entry)) => self.read(name, entry, cpu),
            None => Err(ModelError::tensor(shown(name), "is missing")),
        }
    }

    /// Whether the file calls a tensor `name`.
    pub(super) fn has_named(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn missing(&self, name: &str) -> ModelError {
        let name = match (names::names_of(name).first(), names::split(name)) {
            (Some(name), _) => self.prefixed(name)[0].clone(),
            (None, Some((layer, part, kind))) if part.ends_with("_exps") => {
                format!("{}layers.{layer}.mlp.experts ({part}.{kind})", self.prefix)
            }
            _ => name.to_owned(),
        };
        let message = "is missing: a shard is missing, or the folder is of another architecture than its config.json says";
        ModelError::tensor(name, message)
    }
}

impl Entry {
    fn new(shard_idx: usize, data_start: usize, info: &TensorInfo) -> Result<Self, String> {
        let (start, end) = info.data_offsets;
        let dims: Vec<usize> = info.shape.iter().rev().copied().collect();
        if dims.is_empty() || dims.len() > 4 || dims.contains(&0) {
            return Err(format!(
                "has the shape {:?}; 1 to 4 dimensions are supported, none of them zero",
                info.shape
            ));
        }
        Ok(Self {
            shard_idx,
            dtype: info.dtype,
            dims,
            data: data_start + start..data_start + end,
        })
    }
}

impl TensorSource for SafetensorsFolder {
    fn shape(&self, name: &str) -> Result<TensorShape<'_>, ModelError> {
        if let Some(stack) = self.stack(name) {
            return stack.shape();
        }
        match self.find(name) {
            Some((name, entry)) => self.shape_of(name, entry),
            None => Err(self.missing(name)),
        }
    }

    fn tensor(&self, name: &str, cpu: &Cpu) -> Result<Tensor<'_>, ModelError> {
        match self.find(name) {
            Some((name, entry)) => self.read(name, entry, cpu),
            None => Err(self.missing(name)),
        }
    }

    fn expert(&self, name: &str, expert: usize, cpu: &Cpu) -> Result<Tensor<'_>, ModelError> {
        match self.stack(name) {
            Some(stack) => stack.expert(expert, cpu),
            None => Err(self.missing(name)),
        }
    }

    fn has_tensor(&self, name: &str) -> bool {
        match name {
            // Untied, it must be there.
            "output.weight" => !self.has_tied_head,
            _ => self.find(name).is_some() || self.stack(name).is_some(),
        }
    }

    fn shapes(&self) -> Box<dyn Iterator<Item = Result<TensorShape<'_>, ModelError>> + '_> {
        let used = self.tensors.iter().filter(|(name, _)| {
            let is_head = self.has_tied_head && name.ends_with("lm_head.weight");
            !(names::is_redundant(name) || is_head || self.is_companion(name))
        });
        Box::new(used.map(|(name, entry)| self.shape_of(name, entry)))
    }

    fn release(&self, pages: &[u8]) {
        for shard in &self.shards {
            // Only advice to the system, and only of the shard that the tensor is in.
            let _ = shard.release(pages);
        }
    }
}
