//! A model's weights, repacked for the kernels as they are read.

use std::collections::HashSet;

use super::gguf::{TensorView, shown};
use super::source::TensorSource;
use super::{Divisors, ModelConfig, ModelError, RopeConfig};
use crate::backend::cpu::Cpu;
use crate::ops::PackedWeight;

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// Quantised to int8 with a scale per 16 values where the weights have an integer kernel: fast.
    Int8,
    /// Float32 everywhere, weights dequantised: the exact reference, four to seven times the memory.
    Float,
}

/// One or several `y = W x + b` of the same x, their outputs side by side. Parts stay apart, for they may be of different
/// types in a file.
pub struct Linear {
    /// In the order of their outputs.
    pub parts: Vec<Projection>,
}

/// `y = W x + b`.
pub struct Projection {
    /// `[out_features, in_features]`.
    pub weight: PackedWeight,
    /// `[out_features]`.
    pub bias: Option<Vec<f32>>,
}

/// RMSNorm of each query and key head.
pub struct QkNormWeights {
    /// `[D]`.
    pub q: Vec<f32>,
    /// `[D]`.
    pub k: Vec<f32>,
}

/// One decoder layer.
pub struct LayerWeights {
    /// RMSNorm before attention, `[H]`.
    pub attn_norm: Vec<f32>,
    /// Query, key and value projections, `[(num_heads + 2 num_kv_heads) * D, H]` together.
    pub qkv: Linear,
    /// Of models that have it (Qwen3).
    pub qk_norm: Option<QkNormWeights>,
    /// Output projection, `[H, num_heads * D]`.
    pub o: Linear,
    /// RMSNorm before the feed-forward, `[H]`.
    pub ffn_norm: Vec<f32>,
    /// Gate and up projections, `[2 I, H]` together.
    pub gate_up: Linear,
    /// `[H, I]`.
    pub down: Linear,
}

/// All weights of a model.
pub struct Weights {
    /// Token embedding, `[V, H]`.
    pub embedding: PackedWeight,
    /// The layers, in order.
    pub layers: Vec<LayerWeights>,
    /// RMSNorm before the LM head, `[H]`.
    pub output_norm: Vec<f32>,
    /// LM head, `[V, H]`; `None` when it is the embedding.
    pub output: Option<Linear>,
    /// Divisors of the rotary frequencies, where a file has them as tensors.
    pub rope_divisors: Divisors,
}

impl Weights {
    /// Reads, checks and repacks every tensor; each one's file pages are released once it is repacked.
    ///
    /// A tensor with an unexpected shape is an error, and so is one that no part of the decoder uses: the file is then of
    /// a model this decoder does not compute.
    pub fn load(
        file: &dyn TensorSource,
        config: &ModelConfig,
        activations: Activations,
        cpu: &Cpu,
    ) -> Result<Self, ModelError> {
        let mut loader = Loader {
            file,
            activations,
            cpu,
            used: HashSet::new(),
        };
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let weights = Self {
            embedding: loader.matrix("token_embd.weight", vocab, hidden)?,
            layers: (0..config.layers.len())
                .map(|i| loader.layer(i, config))
                .collect::<Result<_, _>>()?,
            output_norm: loader.vector("output_norm.weight", hidden)?,
            output: match file.has_tensor("output.weight") {
                true => Some(loader.linear(&[("output", vocab)], hidden)?),
                false => None,
            },
            rope_divisors: loader.rope_divisors(&config.rope)?,
        };
        for tensor in file.tensors() {
            let name = tensor?.name;
            if !loader.used.contains(name) {
                let message =
                    "no part of this decoder uses it: the file is of a model that is not supported";
                return Err(ModelError::tensor(shown(name), message));
            }
        }
        Ok(weights)
    }

    /// Bytes of the repacked matrices.
    pub fn num_bytes(&self) -> usize {
        let layers = self
            .layers
            .iter()
            .flat_map(|l| [&l.qkv, &l.o, &l.gate_up, &l.down]);
        let parts = layers.chain(&self.output).flat_map(|l| &l.parts);
        self.embedding.num_bytes() + parts.map(|part| part.weight.num_bytes()).sum::<usize>()
    }
}

struct Loader<'a> {
    file: &'a dyn TensorSource,
    activations: Activations,
    cpu: &'a Cpu,
    used: HashSet<String>,
}

impl<'a> Loader<'a> {
    fn layer(&mut self, i: usize, config: &ModelConfig) -> Result<LayerWeights, ModelError> {
        let (hidden, inner, head) = (
            config.hidden_size,
            config.intermediate_size,
            config.head_dim,
        );
        let (q_size, kv_size) = (config.num_heads * head, config.num_kv_heads * head);
        let name = |part: &str| format!("blk.{i}.{part}");
        if config.qkv_bias {
            for bias in ["attn_q.bias", "attn_k.bias", "attn_v.bias"] {
                self.file.tensor(&name(bias))?;
            }
        }
        let qk_norm = match config.qk_norm {
            false => None,
            true => Some(QkNormWeights {
                q: self.vector(&name("attn_q_norm.weight"), head)?,
                k: self.vector(&name("attn_k_norm.weight"), head)?,
            }),
        };
        let attn_norm = self.vector(&name("attn_norm.weight"), hidden)?;
        let (q, k, v) = (name("attn_q"), name("attn_k"), name("attn_v"));
        let qkv = match self.file.has_tensor(&name("attn_qkv.weight")) {
            true => self.linear(&[(&name("attn_qkv"), q_size + 2 * kv_size)], hidden)?,
            false => self.linear(&[(&q, q_size), (&k, kv_size), (&v, kv_size)], hidden)?,
        };
        let gate_up = match self.fused_gate_up(name, inner) {
            Some(fused) => self.linear(&[(&fused, 2 * inner)], hidden)?,
            None => {
                let (gate, up) = (name("ffn_gate"), name("ffn_up"));
                self.linear(&[(&gate, inner), (&up, inner)], hidden)?
            }
        };
        Ok(LayerWeights {
            attn_norm,
            qkv,
            qk_norm,
            o: self.linear(&[(&name("attn_output"), hidden)], q_size)?,
            ffn_norm: self.vector(&name("ffn_norm.weight"), hidden)?,
            gate_up,
            down: self.linear(&[(&name("ffn_down"), hidden)], inner)?,
        })
    }

    /// The matrix that has the gate in its first rows (Phi-3): GGUF files call it as if it were the other alone.
    fn fused_gate_up(&self, name: impl Fn(&str) -> String, inner: usize) -> Option<String> {
        let is_fused = |stem: &String| {
            let tensor = self.file.tensor(&format!("{stem}.weight"));
            tensor.is_ok_and(|tensor| tensor.dims.get(1) == Some(&(2 * inner)))
        };
        if self.file.has_tensor(&name("ffn_gate.weight")) {
            return None;
        }
        [name("ffn_gate_up"), name("ffn_up")]
            .into_iter()
            .find(is_fused)
    }

    /// The projections whose names (without `.weight`) and numbers of outputs are given, of inputs of `cols` values.
    fn linear(&mut self, parts: &[(&str, usize)], cols: usize) -> Result<Linear, ModelError> {
        let mut projection = |&(stem, rows): &(&str, usize)| {
            Ok(Projection {
                weight: self.matrix(&format!("{stem}.weight"), rows, cols)?,
                bias: self.opt_vector(&format!("{stem}.bias"), rows)?,
            })
        };
        Ok(Linear {
            parts: parts
                .iter()
                .map(&mut projection)
                .collect::<Result<_, ModelError>>()?,
        })
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<PackedWeight, ModelError> {
        let tensor = self.tensor(name, &[cols, rows])?;
        let kept = tensor.ty.weight_format();
        let packed = match kept.filter(|_| self.activations == Activations::Int8) {
            Some(format) => PackedWeight::new(format, rows, cols, tensor.data, self.cpu),
            None => PackedWeight::from_f32(rows, cols, &dequantised(&tensor)?, self.cpu),
        };
        let packed = packed.map_err(|error| ModelError::tensor(name, error.to_string()))?;
        self.file.release(&tensor);
        Ok(packed)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name, &[len])?;
        let values = dequantised(&tensor)?;
        self.file.release(&tensor);
        Ok(values)
    }

    fn opt_vector(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        self.file
            .has_tensor(name)
            .then(|| self.vector(name, len))
            .transpose()
    }

    fn rope_divisors(&mut self, rope: &RopeConfig) -> Result<Divisors, ModelError> {
        const LONG: &str = "rope_factors_long.weight";
        let num_pairs = rope.rotary_dim / 2;
        if let Some(divisors) = self.opt_vector("rope_freqs.weight", num_pairs)? {
            return Ok(Divisors::Fixed(divisors));
        }
        if rope.divisors != Divisors::InTensors && !self.file.has_tensor(LONG) {
            return Ok(Divisors::None);
        }
        let long = self.vector(LONG, num_pairs)?;
        let Some(original) = rope.original_length else {
            let message = "is there, but rope.scaling.original_context_length is not";
            return Err(ModelError::tensor(LONG, message));
        };
        Ok(Divisors::ByLength {
            original,
            short: self.vector("rope_factors_short.weight", num_pairs)?,
            long,
        })
    }

    /// The tensor `name`, which must have exactly these dimensions, fastest first.
    fn tensor(&mut self, name: &str, dims: &[usize]) -> Result<TensorView<'a>, ModelError> {
        let tensor = self.file.tensor(name)?;
        if tensor.dims != dims {
            return Err(ModelError::tensor(
                tensor.name,
                format!(
                    "is {:?}, but the model's configuration makes it {dims:?} (fastest dimension first)",
                    tensor.dims
                ),
            ));
        }
        self.used.insert(tensor.name.to_owned());
        Ok(tensor)
    }
}

fn dequantised(tensor: &TensorView<'_>) -> Result<Vec<f32>, ModelError> {
    let mut values = vec![0.0; tensor.rows() * tensor.cols()];
    tensor.dequantise_into(&mut values)?;
    Ok(values)
}
