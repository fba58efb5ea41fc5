//! An encoder's weights, by the names that BERT's folders have for them.

use std::path::Path;

use super::EmbedderConfig;
use crate::backend::cpu::Cpu;
use crate::model::config::Packing;
use crate::model::safetensors::SafetensorsFolder;
use crate::model::source::{Tensor, TensorSource};
use crate::model::{Encoding, ModelError};
use crate::ops::{LinearPart, PackedWeight, Vector, WeightFormat};

/// A projection `[N, K]` with its bias `[N]`.
pub(super) struct Dense {
    weight: PackedWeight,
    bias: Vector,
}

impl Dense {
    pub(super) fn part(&self) -> LinearPart<'_> {
        LinearPart {
            weight: &self.weight,
            bias: Some(&self.bias),
        }
    }
}

/// Weight and bias of a norm, `[H]` each.
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    pub(super) fn affine(&self) -> (&[f32], &[f32]) {
        (&self.weight, &self.bias)
    }
}

pub(super) struct Layer {
    /// Queries, keys, values.
    pub qkv: [Dense; 3],
    pub attention_output: Dense,
    pub attention_norm: Norm,
    pub inner: Dense,
    pub outer: Dense,
    pub output_norm: Norm,
}

pub(super) struct Weights {
    /// `[V, H]`.
    pub words: PackedWeight,
    /// `[P, H]`: a position's vector and that of the first of a pair's two texts, which a text alone is.
    pub positions: PackedWeight,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

impl Weights {
    pub(super) fn load(
        folder: &Path,
        config: &EmbedderConfig,
        cpu: &Cpu,
    ) -> Result<Self, ModelError> {
        let file = SafetensorsFolder::open(folder, false, Packing::default())?;
        let mut prefixes = ["bert.", ""].into_iter();
        let prefix = prefixes.find(|prefix| file.has_named(&format!("{prefix}{WORDS}.weight")));
        let loader = Loader {
            prefix: prefix.unwrap_or_default(),
            file,
            cpu,
        };
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let mut positions = loader.values(
            &format!("{POSITIONS}.weight"),
            &[hidden, config.num_positions],
        )?;
        let types = loader.values(&format!("{TYPES}.weight"), &[hidden, NUM_TYPES])?;
        for position in positions.chunks_exact_mut(hidden) {
            position.iter_mut().zip(&types).for_each(|(x, y)| *x += y);
        }
        let layer = |i: usize| {
            let name = |part: &str| format!("encoder.layer.{i}.{part}");
            let qkv = ["query", "key", "value"]
                .map(|part| loader.dense(&name(&format!("attention.self.{part}")), hidden, hidden));
            let [q, k, v] = qkv;
            Ok(Layer {
                qkv: [q?, k?, v?],
                attention_output: loader.dense(&name("attention.output.dense"), hidden, hidden)?,
                attention_norm: loader.norm(&name("attention.output.LayerNorm"), hidden)?,
                inner: loader.dense(&name("intermediate.dense"), inner, hidden)?,
                outer: loader.dense(&name("output.dense"), hidden, inner)?,
                output_norm: loader.norm(&name("output.LayerNorm"), hidden)?,
            })
        };
        Ok(Self {
            words: loader.matrix(&format!("{WORDS}.weight"), config.vocab_size, hidden)?,
            positions: PackedWeight::from_f32(config.num_positions, hidden, &positions, cpu)?,
            norm: loader.norm("embeddings.LayerNorm", hidden)?,
            layers: (0..config.num_layers)
                .map(layer)
                .collect::<Result<_, ModelError>>()?,
        })
    }

    pub(super) fn num_bytes(&self) -> usize {
        let dense = |dense: &Dense| dense.weight.num_bytes() + size_of_val(&*dense.bias);
        let layer = |layer: &Layer| {
            let rest = [&layer.attention_output, &layer.inner, &layer.outer];
            layer.qkv.iter().chain(rest).map(dense).sum::<usize>()
        };
        let tables = self.words.num_bytes() + self.positions.num_bytes();
        tables + self.layers.iter().map(layer).sum::<usize>()
    }
}

const WORDS: &str = "embeddings.word_embeddings";
const POSITIONS: &str = "embeddings.position_embeddings";
const TYPES: &str = "embeddings.token_type_embeddings";
/// A text and another one that it is compared with.
const NUM_TYPES: usize = 2;

struct Loader<'a> {
    file: SafetensorsFolder,
    prefix: &'static str,
    cpu: &'a Cpu,
}

impl Loader<'_> {
    /// Hands over the tensor `name`, which has these dimensions, fastest first.
    fn with<T>(
        &self,
        name: &str,
        dims: &[usize],
        read: impl FnOnce(&Tensor<'_>) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.file.named(&name, self.cpu)?;
        tensor.shape.expect(dims)?;
        let read = read(&tensor)?;
        self.file.release(tensor.pages);
        Ok(read)
    }

    fn values(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.with(name, dims, |tensor| tensor.dequantised(self.cpu))
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<PackedWeight, ModelError> {
        self.with(name, &[columns, rows], |tensor| {
            let encoding: Encoding = tensor.shape.encoding;
            match encoding.weight_format() {
                Some(format @ (WeightFormat::F32 | WeightFormat::F16 | WeightFormat::BF16)) => Ok(
                    PackedWeight::new(format, rows, columns, &tensor.data, self.cpu)?,
                ),
                _ => {
                    let values = tensor.dequantised(self.cpu)?;
                    Ok(PackedWeight::from_f32(rows, columns, &values, self.cpu)?)
                }
            }
        })
    }

    fn dense(&self, name: &str, rows: usize, columns: usize) -> Result<Dense, ModelError> {
        Ok(Dense {
            weight: self.matrix(&format!("{name}.weight"), rows, columns)?,
            bias: self.values(&format!("{name}.bias"), &[rows])?.into(),
        })
    }

    fn norm(&self, name: &str, hidden: usize) -> Result<Norm, ModelError> {
        Ok(Norm {
            weight: self.values(&format!("{name}.weight"), &[hidden])?,
            bias: self.values(&format!("{name}.bias"), &[hidden])?,
        })
    }
}
