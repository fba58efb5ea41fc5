//! A model of random weights, to try and to measure what computes them.

use std::collections::BTreeMap;
use std::ops::Range;

use half::bf16;

use super::gguf::{GgmlType, shown};
use super::quantise::encode;
use super::rope::{Divisors, RopeConfig};
use super::source::{Tensor, TensorShape, TensorSource};
use super::{Encoding, LayerConfig, ModelConfig, ModelError};
use crate::backend::cpu::Cpu;
use crate::ops::{Glu, RopeStyle};

/// Values that are drawn; matrices are made of them over and over.
const NUM_VALUES: usize = 1 << 20;

/// The tensors of a model that nobody has trained.
pub struct RandomModel {
    tensors: BTreeMap<String, (Encoding, Vec<usize>)>,
    /// Encoded values of about the size 1 / √H.
    matrix: Vec<u8>,
    /// float32, about one.
    norm: Vec<u8>,
}

impl RandomModel {
    /// Of `config`, whose matrices are encoded so: in float32, bfloat16, FP8, or a type that [`encode`] knows. `draw` gives values around
    /// zero, of about the size one.
    ///
    /// # Panics
    /// If it is another encoding.
    pub fn new(
        config: &ModelConfig,
        encoding: Encoding,
        mut draw: impl FnMut() -> f32,
        cpu: &Cpu,
    ) -> Self {
        let scale = 1.0 / (config.hidden_size as f32).sqrt();
        let values: Vec<f32> = (0..NUM_VALUES).map(|_| scale * draw()).collect();
        let matrix = match encoding {
            Encoding::Ggml(GgmlType::F32) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Encoding::Ggml(GgmlType::BF16) => (values.iter())
                .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
                .collect(),
            Encoding::Fp8 => (0..NUM_VALUES / 32)
                .flat_map(|_| fp8_block(scale, &mut draw))
                .collect(),
            Encoding::Ggml(ty) => encode(ty, NUM_VALUES, &values, None, cpu),
            Encoding::Int4 => panic!("there are no random integers of 4 bits"),
        };
        let norm = (0..NUM_VALUES).map(|_| 1.0 + 0.1 * draw());
        let mut tensors: BTreeMap<String, (Encoding, Vec<usize>)> = config
            .matrices(false)
            .into_iter()
            .map(|(name, dims)| (name, (encoding, dims)))
            .collect();
        for (name, len) in norms(config) {
            tensors.insert(name, (Encoding::Ggml(GgmlType::F32), vec![len]));
        }
        Self {
            tensors,
            matrix,
            norm: norm.flat_map(f32::to_le_bytes).collect(),
        }
    }

    fn entry(&self, name: &str) -> Result<(&str, Encoding, &[usize]), ModelError> {
        match self.tensors.get_key_value(name) {
            Some((name, (encoding, dims))) => Ok((name, *encoding, dims)),
            None => Err(ModelError::tensor(shown(name), "is missing")),
        }
    }

    /// The bytes of the values `range` of a tensor, in whole blocks.
    fn part<'a>(
        &'a self,
        name: &'a str,
        encoding: Encoding,
        dims: Vec<usize>,
        range: Range<usize>,
    ) -> Tensor<'a> {
        let pool = if dims.len() == 1 {
            &self.norm
        } else {
            &self.matrix
        };
        let layout = encoding.layout();
        let bytes = |values: usize| values / layout.block_size * layout.block_bytes;
        // Tensors begin at different values.
        let first = name
            .bytes()
            .fold(range.start, |h, b| h * 31 + usize::from(b))
            * 256;
        let start = bytes(first) % pool.len();
        let len = bytes(range.len());
        let mut data = Vec::with_capacity(len + pool.len());
        data.extend_from_slice(&pool[start..]);
        while data.len() < len {
            data.extend_from_slice(pool);
        }
        data.truncate(len);
        let shape = TensorShape {
            name,
            encoding,
            dims,
        };
        Tensor::owned(shape, data)
    }
}

/// The norms' names and lengths.
fn norms(config: &ModelConfig) -> Vec<(String, usize)> {
    let hidden = config.hidden_size;
    let mut norms = vec![("output_norm.weight".to_owned(), hidden)];
    for i in 0..config.layers.len() {
        let mut add = |part: &str, len| norms.push((format!("blk.{i}.{part}.weight"), len));
        add("attn_norm", hidden);
        add("ffn_norm", hidden);
        if config.has_qk_norm {
            add("attn_q_norm", config.head_dim);
            add("attn_k_norm", config.head_dim);
        }
    }
    norms
}

/// A scale, and 32 values with 4 bits of exponent and 3 of mantissa.
fn fp8_block(scale: f32, draw: &mut impl FnMut() -> f32) -> Vec<u8> {
    let mut block = scale.to_le_bytes().to_vec();
    block.extend((0..32).map(|_| {
        let value = draw();
        let bits = value.to_bits();
        // Normal numbers of both kinds, the lower digits cut off; what is smaller than 2⁻⁶ is zero.
        let exponent = (bits >> 23 & 0xff) as i32 - 127 + 7;
        let magnitude = match exponent {
            ..=0 => 0,
            _ => ((exponent.min(14) as u32) << 3 | bits >> 20 & 7) as u8,
        };
        magnitude | u8::from(value < 0.0) << 7
    }));
    block
}

impl TensorSource for RandomModel {
    fn shape(&self, name: &str) -> Result<TensorShape<'_>, ModelError> {
        let (name, encoding, dims) = self.entry(name)?;
        Ok(TensorShape {
            name,
            encoding,
            dims: dims.to_vec(),
        })
    }

    fn tensor(&self, name: &str, _: &Cpu) -> Result<Tensor<'_>, ModelError> {
        let (name, encoding, dims) = self.entry(name)?;
        let len = dims.iter().product();
        Ok(self.part(name, encoding, dims.to_vec(), 0..len))
    }

    fn expert(&self, name: &str, expert: usize, _: &Cpu) -> Result<Tensor<'_>, ModelError> {
        let (name, encoding, dims) = self.entry(name)?;
        let own = &dims[..dims.len() - 1];
        let len: usize = own.iter().product();
        let range = expert * len..(expert + 1) * len;
        Ok(self.part(name, encoding, own.to_vec(), range))
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn shapes(&self) -> Box<dyn Iterator<Item = Result<TensorShape<'_>, ModelError>> + '_> {
        Box::new(self.tensors.keys().map(|name| self.shape(name)))
    }

    fn release(&self, _: &[u8]) {}
}

/// A Llama of so many layers: hidden and feed-forward sizes; heads, those of keys and their width; vocabulary.
pub fn llama_of(
    num_layers: usize,
    (hidden_size, intermediate_size): (usize, usize),
    (num_heads, num_kv_heads, head_dim): (usize, usize, usize),
    vocab_size: usize,
) -> ModelConfig {
    let layer = LayerConfig {
        rope_idx: Some(0),
        window: None,
        has_experts: false,
    };
    ModelConfig {
        architecture: "llama",
        layers: vec![layer; num_layers],
        hidden_size,
        intermediate_size,
        experts: None,
        num_heads,
        num_kv_heads,
        head_dim,
        vocab_size,
        rms_norm_eps: 1e-5,
        context_length: 1 << 17,
        ropes: vec![RopeConfig {
            base: 500_000.0,
            rotary_dim: head_dim,
            linear_scale: 1.0,
            divisors: Divisors::None,
            original_length: None,
            magnitude: 1.0,
            style: RopeStyle::Half,
        }],
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        attention_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        norm_offset: 0.0,
        glu: Glu::Silu,
        has_qkv_bias: false,
        has_all_biases: false,
        has_qk_norm: false,
        has_post_norms: false,
        has_sinks: false,
    }
}
