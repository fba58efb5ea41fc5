//! A model's weights, repacked for the kernels as they are read.

mod load;

use candle_core::DType;
use load::Loader;

use super::gguf::shown;
use super::quantise::Mix;
use super::source::TensorSource;
use super::{Divisors, ModelConfig, ModelError};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Blas;
use crate::ops::{ExpertStack, PackedWeight, Vector, WeightFormat};

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// Quantised to int8 with a scale per 16 values where the weights have an integer kernel: fast.
    Int8,
    /// Float32 everywhere, weights dequantised: the exact reference, four to seven times the memory.
    Float,
}

/// How weights are loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where they are to lie.
    pub device: Device,
    /// What they meet.
    pub activations: Activations,
    /// What matrices of floats are quantised to.
    pub mix: Option<Mix>,
    /// What multiplies matrices of floats on the device, a card, but for experts and the embedding; without it our kernels do.
    pub blas: Option<Blas>,
    /// Told how many layers are there, of how many.
    pub progress: Option<fn(usize, usize)>,
}

impl From<Activations> for LoadOptions {
    fn from(activations: Activations) -> Self {
        Self {
            device: Device::Cpu,
            activations,
            mix: None,
            blas: None,
            progress: None,
        }
    }
}

/// One or several `y = W x + b` of the same x, their outputs side by side. Parts stay apart, for they may be of different
/// types in a file.
pub struct Linear {
    /// In the order of their outputs.
    pub parts: Vec<Projection>,
}

/// `y = W x + b`.
pub struct Projection {
    /// What GGUF files call it, without `.weight`: `blk.3.attn_q`. All experts of a layer have the same.
    pub name: String,
    /// `[out_features, in_features]`.
    pub weight: PackedWeight,
    /// `[out_features]`.
    pub bias: Option<Vector>,
}

/// RMSNorm of each query and key head.
pub struct QkNormWeights {
    /// `[D]`.
    pub q: Vector,
    /// `[D]`.
    pub k: Vector,
}

/// One decoder layer.
pub struct LayerWeights {
    /// RMSNorm before attention, `[H]`.
    pub attn_norm: Vector,
    /// Query, key and value projections, `[(num_heads + 2 num_kv_heads) * D, H]` together.
    pub qkv: Linear,
    /// Of models that have it (Qwen3).
    pub qk_norm: Option<QkNormWeights>,
    /// A score for each query head (gpt-oss).
    pub sinks: Option<Vector>,
    /// Output projection, `[H, num_heads * D]`.
    pub o: Linear,
    /// RMSNorm of what attention adds, `[H]` (Gemma).
    pub post_attn_norm: Option<Vector>,
    /// RMSNorm before the feed-forward, `[H]`.
    pub ffn_norm: Vector,
    /// The feed-forward.
    pub ffn: FeedForward,
    /// RMSNorm of what the feed-forward adds, `[H]` (Gemma).
    pub post_ffn_norm: Option<Vector>,
}

/// The feed-forward of a layer.
pub enum FeedForward {
    /// One for all rows.
    Dense(Mlp),
    /// Rows go to some of several.
    Experts {
        /// `[E, H]`.
        router: Linear,
        /// E of them.
        experts: Experts,
    },
}

/// Feed-forwards of which each row meets some.
pub enum Experts {
    /// One by one.
    Each(Vec<Mlp>),
    /// In stacks: on a card.
    Stacked {
        /// Gate and up projections, whose outputs lie side by side.
        gate_up: Vec<ExpertStack>,
        /// The down projection.
        down: Vec<ExpertStack>,
    },
}

/// A gated feed-forward.
pub struct Mlp {
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
    pub output_norm: Vector,
    /// LM head, `[V, H]`; `None` when it is the embedding.
    pub output: Option<Linear>,
    /// Divisors of the rotary frequencies, where a file has them as tensors.
    pub rope_divisors: Divisors,
    /// What activations are of: F32 on the CPU, F16 or BF16 on a card.
    pub activation: DType,
    /// Where they lie.
    pub device: Device,
}

/// A card computes in half precision where all matrices are of it, else in bfloat16, as its kernels for quantised weights do.
fn activation_dtype(file: &dyn TensorSource, options: &LoadOptions) -> DType {
    let Device::Cuda(_) = options.device else {
        return DType::F32;
    };
    let mut matrices = file.shapes().flatten().filter(|shape| shape.dims.len() > 1);
    let is_half = options.mix.is_none()
        && matrices.all(|shape| shape.encoding.weight_format() == Some(WeightFormat::F16));
    if is_half { DType::F16 } else { DType::BF16 }
}

impl Weights {
    /// Reads, checks and repacks every tensor; each one's file pages are released once it is repacked.
    ///
    /// A tensor with an unexpected shape is an error, and so is one that no part of the decoder uses: the file is then of
    /// a model this decoder does not compute.
    pub fn load(
        file: &dyn TensorSource,
        config: &ModelConfig,
        options: impl Into<LoadOptions>,
        cpu: &Cpu,
    ) -> Result<Self, ModelError> {
        let options = options.into();
        let (activation, progress) = (activation_dtype(file, &options), options.progress);
        let device = options.device.clone();
        let mut loader = Loader::new(file, options, config.norm_offset, activation, cpu);
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let weights = Self {
            // Rows are looked up in tiles, also where it is the head as well.
            embedding: loader.matrix("token_embd.weight", vocab, hidden, None)?,
            layers: (0..config.layers.len())
                .map(|i| {
                    let layer = loader.layer(i, config);
                    if let Some(progress) = progress {
                        progress(i + 1, config.layers.len());
                    }
                    layer
                })
                .collect::<Result<_, _>>()?,
            output_norm: loader.norm("output_norm.weight", hidden)?,
            output: match file.has_tensor("output.weight") {
                true => Some(loader.linear(&[("output", vocab)], hidden)?),
                false => None,
            },
            rope_divisors: loader.rope_divisors(&config.ropes[0])?,
            activation,
            device,
        };
        for tensor in file.shapes() {
            let name = tensor?.name;
            if !loader.has_used(name) {
                let message =
                    "no part of this decoder uses it: the file is of a model that is not supported";
                return Err(ModelError::tensor(shown(name), message));
            }
        }
        Ok(weights)
    }

    /// The projections of the layers that are no experts: the name in GGUF files, without `.weight`, and the outputs and inputs.
    pub fn projections(&self) -> impl Iterator<Item = (&str, (usize, usize))> {
        let linears = self.layers.iter().flat_map(|layer| {
            let mlp = match &layer.ffn {
                FeedForward::Dense(mlp) => Some([&mlp.gate_up, &mlp.down]),
                FeedForward::Experts { .. } => None,
            };
            [&layer.qkv, &layer.o]
                .into_iter()
                .chain(mlp.into_iter().flatten())
        });
        let parts = linears.flat_map(|linear| &linear.parts);
        parts.map(|part| {
            let size = (part.weight.out_features(), part.weight.in_features());
            (&*part.name, size)
        })
    }

    /// Bytes of the repacked matrices.
    pub fn num_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(LayerWeights::linears);
        let parts = layers.chain(&self.output).flat_map(|l| &l.parts);
        let stacks = self.layers.iter().flat_map(LayerWeights::stacks);
        self.embedding.num_bytes()
            + parts.map(|part| part.weight.num_bytes()).sum::<usize>()
            + stacks.map(ExpertStack::num_bytes).sum::<usize>()
    }
}

impl LayerWeights {
    fn stacks(&self) -> impl Iterator<Item = &ExpertStack> {
        let (gate_up, down) = match &self.ffn {
            FeedForward::Experts {
                experts: Experts::Stacked { gate_up, down },
                ..
            } => (&gate_up[..], &down[..]),
            _ => (&[][..], &[][..]),
        };
        gate_up.iter().chain(down)
    }

    fn linears(&self) -> Vec<&Linear> {
        let (router, mlps) = match &self.ffn {
            FeedForward::Dense(mlp) => (None, std::slice::from_ref(mlp)),
            FeedForward::Experts { router, experts } => match experts {
                Experts::Each(experts) => (Some(router), &experts[..]),
                Experts::Stacked { .. } => (Some(router), &[][..]),
            },
        };
        let mlps = mlps.iter().flat_map(|mlp| [&mlp.gate_up, &mlp.down]);
        [&self.qkv, &self.o]
            .into_iter()
            .chain(router)
            .chain(mlps)
            .collect()
    }
}
