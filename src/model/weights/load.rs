//! Reading and repacking tensor by tensor.

use std::collections::HashSet;

use candle_core::DType;

use super::{
    Activations, Experts, FeedForward, LayerWeights, Linear, LoadOptions, Mlp, Projection,
    QkNormWeights,
};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Blas;
use crate::model::gguf::shown;
use crate::model::quantise::encode_tensor;
use crate::model::source::{Tensor, TensorSource};
use crate::model::{Divisors, ExpertsConfig, ModelConfig, ModelError, RopeConfig};
use crate::ops::{ExpertStack, PackedWeight, Vector, WeightFormat};

/// Of one model.
pub(super) struct Loader<'a> {
    file: &'a dyn TensorSource,
    options: LoadOptions,
    /// Added to the weights of norms.
    norm_offset: f32,
    cpu: &'a Cpu,
    /// What activations are of.
    activation: DType,
    /// What the file calls the tensors that were read.
    used: HashSet<String>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        file: &'a dyn TensorSource,
        options: LoadOptions,
        norm_offset: f32,
        activation: DType,
        cpu: &'a Cpu,
    ) -> Self {
        Self {
            file,
            options,
            norm_offset,
            cpu,
            activation,
            used: HashSet::new(),
        }
    }

    /// Whether the tensor that the file calls `name` was read.
    pub(super) fn has_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    pub(super) fn layer(
        &mut self,
        i: usize,
        config: &ModelConfig,
    ) -> Result<LayerWeights, ModelError> {
        let (hidden, head) = (config.hidden_size, config.head_dim);
        let (q_size, kv_size) = (config.num_heads * head, config.num_kv_heads * head);
        let name = |part: &str| format!("blk.{i}.{part}");
        if config.has_qkv_bias {
            for bias in ["attn_q.bias", "attn_k.bias", "attn_v.bias"] {
                self.file.shape(&name(bias))?;
            }
        }
        if config.has_all_biases {
            for part in [
                "attn_output",
                "ffn_gate_inp",
                "ffn_gate_exps",
                "ffn_up_exps",
                "ffn_down_exps",
            ] {
                self.file.shape(&name(&format!("{part}.bias")))?;
            }
        }
        let attn_norm = self.norm(&name("attn_norm.weight"), hidden)?;
        let qk_norm = match config.has_qk_norm {
            false => None,
            true => Some(QkNormWeights {
                q: self.norm(&name("attn_q_norm.weight"), head)?,
                k: self.norm(&name("attn_k_norm.weight"), head)?,
            }),
        };
        let sinks = match config.has_sinks {
            false => None,
            true => Some(self.vector(&name("attn_sinks.weight"), config.num_heads)?),
        };
        let (q, k, v) = (name("attn_q"), name("attn_k"), name("attn_v"));
        let qkv = match self.file.has_tensor(&name("attn_qkv.weight")) {
            true => self.linear(&[(&name("attn_qkv"), q_size + 2 * kv_size)], hidden)?,
            false => self.linear(&[(&q, q_size), (&k, kv_size), (&v, kv_size)], hidden)?,
        };
        let o = self.linear(&[(&name("attn_output"), hidden)], q_size)?;
        if config.has_post_norms {
            let [before, after] = ["ffn_norm.weight", "post_attention_norm.weight"].map(&name);
            let before = self.file.shape(&before)?.name;
            if before == self.file.shape(&after)?.name {
                let message =
                    "is the norm after attention: that before the feed-forward is missing";
                return Err(ModelError::tensor(shown(before), message));
            }
        }
        let mut post_norm = |part: &str| {
            let norm = config
                .has_post_norms
                .then(|| self.norm(&name(part), hidden));
            norm.transpose()
        };
        let post_attn_norm = post_norm("post_attention_norm.weight")?;
        let post_ffn_norm = post_norm("post_ffw_norm.weight")?;
        // gpt-oss's GGUF files call it by its place.
        let by_place = name("post_attention_norm.weight");
        let ffn_norm = match !config.has_post_norms && self.file.has_tensor(&by_place) {
            true => by_place,
            false => name("ffn_norm.weight"),
        };
        Ok(LayerWeights {
            attn_norm,
            qkv,
            qk_norm,
            sinks,
            o,
            post_attn_norm,
            ffn_norm: self.norm(&ffn_norm, hidden)?,
            ffn: match config.experts.filter(|_| config.layers[i].has_experts) {
                Some(experts) => self.experts(&name, hidden, experts)?,
                None => FeedForward::Dense(self.mlp(&name, hidden, config.intermediate_size)?),
            },
            post_ffn_norm,
        })
    }

    fn mlp(
        &mut self,
        name: &dyn Fn(&str) -> String,
        hidden: usize,
        inner: usize,
    ) -> Result<Mlp, ModelError> {
        let gate_up = match self.fused_gate_up(name, inner) {
            Some(fused) => {
                let mut linear = self.linear(&[(&fused, 2 * inner)], hidden)?;
                // As GGUF files call it, whatever the file is.
                linear.parts[0].name = name("ffn_up");
                linear
            }
            None => {
                let (gate, up) = (name("ffn_gate"), name("ffn_up"));
                self.linear(&[(&gate, inner), (&up, inner)], hidden)?
            }
        };
        let down = self.linear(&[(&name("ffn_down"), hidden)], inner)?;
        Ok(Mlp { gate_up, down })
    }

    fn experts(
        &mut self,
        name: &dyn Fn(&str) -> String,
        hidden: usize,
        config: ExpertsConfig,
    ) -> Result<FeedForward, ModelError> {
        let (num_experts, inner) = (config.num_experts, config.intermediate_size);
        let router = self.linear(&[(&name("ffn_gate_inp"), num_experts)], hidden)?;
        for (part, dims) in [
            ("ffn_gate_exps.weight", [hidden, inner, num_experts]),
            ("ffn_up_exps.weight", [hidden, inner, num_experts]),
            ("ffn_down_exps.weight", [inner, hidden, num_experts]),
        ] {
            self.file.shape(&name(part))?.expect(&dims)?;
        }
        let device = self.options.device.clone();
        let mut projection = |part: &str, expert: usize, rows: usize, cols: usize| {
            let tensor = self
                .file
                .expert(&name(&format!("{part}.weight")), expert, self.cpu)?;
            let weight = self.packed(&tensor, rows, cols, None)?;
            let bias_name = name(&format!("{part}.bias"));
            let bias = match self.file.has_tensor(&bias_name) {
                false => None,
                true => {
                    self.file.shape(&bias_name)?.expect(&[rows, num_experts])?;
                    let tensor = self.file.expert(&bias_name, expert, self.cpu)?;
                    let values = self.values(&tensor, rows)?;
                    Some(self.on_device(&bias_name, values)?)
                }
            };
            let name = name(part);
            Ok::<_, ModelError>(Projection { name, weight, bias })
        };
        if let Device::Cuda(_) = device {
            let mut stack = |part: &str, rows: usize, cols: usize| {
                let own = (0..num_experts).map(|expert| {
                    let own = projection(part, expert, rows, cols)?;
                    Ok((own.weight, own.bias))
                });
                let own = own.collect::<Result<Vec<_>, ModelError>>()?;
                ExpertStack::new(&own, &device)
                    .map_err(|error| ModelError::tensor(shown(&name(part)), error.to_string()))
            };
            let experts = Experts::Stacked {
                gate_up: vec![
                    stack("ffn_gate_exps", inner, hidden)?,
                    stack("ffn_up_exps", inner, hidden)?,
                ],
                down: vec![stack("ffn_down_exps", hidden, inner)?],
            };
            return Ok(FeedForward::Experts { router, experts });
        }
        let mut mlp = |expert: usize| {
            let gate = projection("ffn_gate_exps", expert, inner, hidden)?;
            let up = projection("ffn_up_exps", expert, inner, hidden)?;
            let down = projection("ffn_down_exps", expert, hidden, inner)?;
            Ok::<_, ModelError>(Mlp {
                gate_up: Linear {
                    parts: vec![gate, up],
                },
                down: Linear { parts: vec![down] },
            })
        };
        let experts = (0..num_experts).map(&mut mlp);
        let experts = Experts::Each(experts.collect::<Result<_, _>>()?);
        Ok(FeedForward::Experts { router, experts })
    }

    /// The matrix that has the gate in its first rows (Phi-3): GGUF files call it as if it were the other alone.
    fn fused_gate_up(&self, name: &dyn Fn(&str) -> String, inner: usize) -> Option<String> {
        let is_fused = |stem: &String| {
            let tensor = self.file.shape(&format!("{stem}.weight"));
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
    pub(super) fn linear(
        &mut self,
        parts: &[(&str, usize)],
        cols: usize,
    ) -> Result<Linear, ModelError> {
        let blas = self.options.blas.clone();
        let mut projection = |&(stem, rows): &(&str, usize)| {
            Ok(Projection {
                name: stem.to_owned(),
                weight: self.matrix(&format!("{stem}.weight"), rows, cols, blas.as_ref())?,
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

    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        blas: Option<&Blas>,
    ) -> Result<PackedWeight, ModelError> {
        let tensor = self.file.tensor(name, self.cpu)?;
        self.packed(&tensor, rows, cols, blas)
    }

    /// The tensor as a matrix `[rows, cols]`, which `blas` multiplies where it is of floats.
    fn packed(
        &mut self,
        tensor: &Tensor<'_>,
        rows: usize,
        cols: usize,
        blas: Option<&Blas>,
    ) -> Result<PackedWeight, ModelError> {
        tensor.shape.expect(&[cols, rows])?;
        let encoding = tensor.shape.encoding;
        let mix = self.options.mix.filter(|_| encoding.is_float());
        let quantised = mix.and_then(|mix| mix.type_of(tensor.shape.name, &tensor.shape.dims));
        let is_float = self.options.activations == Activations::Float;
        let packed = match (quantised, encoding.weight_format()) {
            (Some(ty), _) if !is_float => {
                let data = encode_tensor(tensor, ty, None, self.file, self.cpu)?;
                let format = ty.weight_format();
                let format = format.expect("a type to quantise to has a format: this is a bug");
                self.pack(format, (rows, cols), &data, blas)
            }
            (None, Some(format)) if !is_float => {
                self.pack(format, (rows, cols), &tensor.data, blas)
            }
            _ => {
                let values = tensor.dequantised(self.cpu)?;
                match &self.options.device {
                    Device::Cpu => PackedWeight::from_f32(rows, cols, &values, self.cpu),
                    Device::Cuda(_) => {
                        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                        self.pack(WeightFormat::F32, (rows, cols), &bytes, blas)
                    }
                }
            }
        };
        let packed = packed
            .map_err(|error| ModelError::tensor(shown(tensor.shape.name), error.to_string()))?;
        self.finish(tensor);
        Ok(packed)
    }

    /// As the device reads it.
    fn pack(
        &self,
        format: WeightFormat,
        (rows, cols): (usize, usize),
        data: &[u8],
        blas: Option<&Blas>,
    ) -> candle_core::Result<PackedWeight> {
        match &self.options.device {
            Device::Cpu => PackedWeight::new(format, rows, cols, data, self.cpu),
            Device::Cuda(cuda) => {
                let (half, devices) = (self.activation, (self.cpu, cuda));
                PackedWeight::on_card_of(format, rows, cols, data, half, devices, blas)
            }
        }
    }

    pub(super) fn vector(&mut self, name: &str, len: usize) -> Result<Vector, ModelError> {
        let values = self.numbers(name, len)?;
        self.on_device(name, values)
    }

    fn numbers(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let tensor = self.file.tensor(name, self.cpu)?;
        self.values(&tensor, len)
    }

    fn on_device(&self, name: &str, values: Vec<f32>) -> Result<Vector, ModelError> {
        let vector = Vector::new(values, &self.options.device);
        vector.map_err(|error| ModelError::tensor(shown(name), error.to_string()))
    }

    fn values(&mut self, tensor: &Tensor<'_>, len: usize) -> Result<Vec<f32>, ModelError> {
        tensor.shape.expect(&[len])?;
        let values = tensor.dequantised(self.cpu)?;
        self.finish(tensor);
        Ok(values)
    }

    fn finish(&mut self, tensor: &Tensor<'_>) {
        self.file.release(tensor.pages);
        self.used.insert(tensor.shape.name.to_owned());
    }

    /// The weights of an RMSNorm.
    pub(super) fn norm(&mut self, name: &str, len: usize) -> Result<Vector, ModelError> {
        let mut weights = self.numbers(name, len)?;
        weights.iter_mut().for_each(|x| *x += self.norm_offset);
        self.on_device(name, weights)
    }

    fn opt_vector(&mut self, name: &str, len: usize) -> Result<Option<Vector>, ModelError> {
        self.file
            .has_tensor(name)
            .then(|| self.vector(name, len))
            .transpose()
    }

    pub(super) fn rope_divisors(&mut self, rope: &RopeConfig) -> Result<Divisors, ModelError> {
        const LONG: &str = "rope_factors_long.weight";
        let num_pairs = rope.rotary_dim / 2;
        if self.file.has_tensor("rope_freqs.weight") {
            return Ok(Divisors::Fixed(
                self.numbers("rope_freqs.weight", num_pairs)?,
            ));
        }
        if rope.divisors != Divisors::InTensors && !self.file.has_tensor(LONG) {
            return Ok(Divisors::None);
        }
        let long = self.numbers(LONG, num_pairs)?;
        let Some(original) = rope.original_length else {
            let message = "is there, but rope.scaling.original_context_length is not";
            return Err(ModelError::tensor(LONG, message));
        };
        Ok(Divisors::ByLength {
            original,
            short: self.numbers("rope_factors_short.weight", num_pairs)?,
            long,
        })
    }
}
