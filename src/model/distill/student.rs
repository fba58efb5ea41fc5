//! The student: a decoder of float32 whose output can be differentiated by its weights.

use std::sync::Arc;

use candle_core::{IndexOp, Tensor};

use super::DistillError;
use super::layer::{Layer, norm};
use super::ops::Linear;
use super::params::{Params, Reader};
use crate::backend::cpu::Cpu;
use crate::model::rope::Divisors;
use crate::model::source::TensorSource;
use crate::model::{ModelConfig, RopeConfig};
use crate::ops::{RopeStyle, RopeTable};

/// Some layers of a model, to be trained. The embedding, and the LM head with it, stay as they are: they are the half of a small model,
/// so that their moments would take as much memory as all that is trained, and they are the language that teacher and student share.
pub struct Student {
    /// Its own, with as many layers as were kept.
    pub config: ModelConfig,
    /// `[V, H]`.
    pub(super) embedding: Tensor,
    /// `[V, H]`, where it is not the embedding.
    pub(super) output: Option<Tensor>,
    output_norm: Tensor,
    layers: Vec<Layer>,
    pub(super) params: Params,
    rope: Arc<RopeTable>,
    /// Tokens a sequence, `S`.
    pub sequence_length: usize,
}

impl Student {
    /// The layers `kept` of a model that [`check_supported`](super::check_supported) lets pass, for sequences of `sequence_length` tokens.
    ///
    /// # Errors
    /// The tensor at fault.
    pub fn new(
        source: &dyn TensorSource,
        config: &ModelConfig,
        kept: &[usize],
        sequence_length: usize,
        cpu: &Cpu,
    ) -> Result<Self, DistillError> {
        let reader = Reader {
            source,
            config,
            cpu,
        };
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let mut params = Params::default();
        let layers = kept.iter().enumerate();
        let layers = layers
            .map(|(to, &from)| Layer::read(&reader, &mut params, from, to))
            .collect::<Result<_, _>>()?;
        let output_norm = reader.tensor("output_norm.weight", &[hidden])?;
        let output = source
            .has_tensor("output.weight")
            .then(|| reader.tensor("output.weight", &[vocab, hidden]));
        Ok(Self {
            embedding: reader.tensor("token_embd.weight", &[vocab, hidden])?,
            output: output.transpose()?,
            output_norm: params.add("output_norm.weight".into(), output_norm)?,
            layers,
            params,
            rope: rope_table(&reader, sequence_length)?,
            config: ModelConfig {
                layers: kept.iter().map(|&i| config.layers[i]).collect(),
                ..config.clone()
            },
            sequence_length,
        })
    }

    /// What the LM head is multiplied with, `[T, H]`, for sequences one after the other, `[T]`.
    pub fn hidden(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        let mut hidden = self.embedded(tokens)?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden, &self.config, &self.rope, self.sequence_length)?;
        }
        norm(&hidden, &self.output_norm, &self.config)
    }

    /// The logits of rows of [`Student::hidden`], `[T, V]`.
    pub fn logits(&self, hidden: &Tensor) -> candle_core::Result<Tensor> {
        hidden.apply_op2(self.head(), Linear)
    }

    pub(super) fn head(&self) -> &Tensor {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    fn embedded(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        embedded(&self.embedding, tokens)
    }

    /// How many numbers are trained.
    pub fn num_trained(&self) -> usize {
        self.params
            .iter()
            .map(|(_, param)| param.elem_count())
            .sum()
    }
}

pub(super) fn embedded(embedding: &Tensor, tokens: &[u32]) -> candle_core::Result<Tensor> {
    let ids = Tensor::from_slice(tokens, tokens.len(), embedding.device())?;
    embedding.index_select(&ids, 0)
}

/// Angles as folders have the rows, and with the divisors that a file may have as a tensor.
pub(super) fn rope_table(
    reader: &Reader<'_>,
    sequence_length: usize,
) -> Result<Arc<RopeTable>, DistillError> {
    let rope = RopeConfig {
        style: RopeStyle::Half,
        ..reader.config.ropes[0].clone()
    };
    let tensors = fixed_divisors(reader)?.map_or(Divisors::None, Divisors::Fixed);
    let table = rope.table(reader.config.head_dim, &tensors, sequence_length)?;
    Ok(Arc::new(table))
}

/// The divisors of rotary frequencies that a GGUF file has as a tensor (Llama 3).
pub(super) fn fixed_divisors(reader: &Reader<'_>) -> Result<Option<Vec<f32>>, DistillError> {
    const NAME: &str = "rope_freqs.weight";
    if !reader.source.has_tensor(NAME) {
        return Ok(None);
    }
    let divisors = reader.tensor(NAME, &[reader.config.ropes[0].rotary_dim / 2])?;
    Ok(Some(divisors.to_vec1()?))
}

/// Rows of `[T, H]`, outside of what is differentiated.
pub(super) fn rows_of(hidden: &Tensor, start: usize, len: usize) -> candle_core::Result<Tensor> {
    hidden.i(start..start + len)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::gguf::GgmlType;
    use crate::model::one_sequence::plan;
    use crate::model::random::{RandomModel, llama_of};
    use crate::model::{Activations, Decoder, Encoding, Limits, Weights};
    use crate::ops::KvDtype;

    /// A Llama of four layers as folders have it.
    pub fn tiny_config() -> ModelConfig {
        llama_of(4, (64, 96), (4, 2, 16), 96)
    }

    pub fn random_model(config: &ModelConfig, cpu: &Cpu) -> RandomModel {
        let mut state = 7u64;
        let draw = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        RandomModel::new(config, Encoding::Ggml(GgmlType::F32), draw, cpu)
    }

    pub fn tokens(num: usize) -> Vec<u32> {
        (0..num as u32).map(|i| i * 37 % 95).collect()
    }

    pub fn decoder(
        source: &dyn TensorSource,
        config: &ModelConfig,
        len: usize,
        cpu: &Cpu,
    ) -> Decoder {
        let weights = Weights::load(source, config, Activations::Float, cpu).unwrap();
        let limits = Limits {
            max_num_batched_tokens: len,
            max_samples: len,
            max_model_len: len,
            num_blocks: len.div_ceil(16),
            num_host_blocks: 0,
            block_size: 16,
            kv_dtype: KvDtype::F16,
        };
        Decoder::new(config.clone(), Arc::new(weights), &limits, cpu.clone()).unwrap()
    }

    /// Rounding of keys and values to float16, relative to the largest logit.
    const BOUND: f32 = 1e-3;

    #[test]
    fn a_student_of_all_layers_gives_the_logits_of_the_decoder() {
        let cpu = Cpu::new(2).unwrap();
        let llama = tiny_config();
        let qwen3 = ModelConfig {
            architecture: "qwen3",
            has_qk_norm: true,
            ..tiny_config()
        };
        let mut gguf = tiny_config();
        gguf.ropes[0].style = RopeStyle::Interleaved;
        let mut scaled = tiny_config();
        scaled.ropes[0].linear_scale = 2.0;
        scaled.ropes[0].magnitude = 1.3;
        for config in [llama, qwen3, gguf, scaled] {
            let model = random_model(&config, &cpu);
            let (len, tokens) = (32, tokens(64));
            let student = Student::new(&model, &config, &[0, 1, 2, 3], len, &cpu).unwrap();
            let hidden = student.hidden(&tokens).unwrap();
            let got = student.logits(&hidden).unwrap().to_vec2::<f32>().unwrap();
            let decoder = decoder(&model, &config, len, &cpu);
            for (i, tokens) in tokens.chunks(len).enumerate() {
                let plan = plan(tokens, 0, 0..len as u32, 16);
                let want = decoder.forward(&plan, None).unwrap().unwrap();
                let want = want.to_rows().unwrap();
                let largest = want
                    .iter()
                    .flatten()
                    .fold(0.0f32, |max, x| max.max(x.abs()));
                for (got, want) in got[i * len..].iter().zip(&want) {
                    for (got, want) in got.iter().zip(want) {
                        assert!((got - want).abs() <= BOUND * largest, "{got} {want}");
                    }
                }
            }
        }
    }
}
