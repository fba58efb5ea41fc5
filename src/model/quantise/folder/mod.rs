//! A folder of safetensors as the tensors and the metadata of a GGUF file.

mod checks;

use std::borrow::Cow;

use super::RawEntry;
use crate::backend::cpu::Cpu;
use crate::model::gguf::{GgmlType, raw};
use crate::model::rope::{Divisors, RopeConfig, Yarn, with_neighbouring_pairs};
use crate::model::source::{Tensor, TensorShape, TensorSource};
use crate::model::{Encoding, ModelConfig, ModelError};
use crate::ops::{Glu, RopeStyle};

/// The parts of a layer that GGUF files may have.
const PARTS: [&str; 24] = [
    "attn_norm.weight",
    "attn_q.weight",
    "attn_q.bias",
    "attn_k.weight",
    "attn_k.bias",
    "attn_v.weight",
    "attn_v.bias",
    "attn_qkv.weight",
    "attn_q_norm.weight",
    "attn_k_norm.weight",
    "attn_sinks.weight",
    "attn_output.weight",
    "attn_output.bias",
    "post_attention_norm.weight",
    "ffn_norm.weight",
    "ffn_gate.weight",
    "ffn_up.weight",
    "ffn_down.weight",
    "post_ffw_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_inp.bias",
    "ffn_gate_exps.weight",
    "ffn_up_exps.weight",
    "ffn_down_exps.weight",
];
const EXPERT_BIASES: [&str; 3] = [
    "ffn_gate_exps.bias",
    "ffn_up_exps.bias",
    "ffn_down_exps.bias",
];

/// The tensors of a folder, named, ordered and scaled as llama.cpp's converter writes them.
pub struct AsGguf<'a> {
    source: &'a dyn TensorSource,
    config: &'a ModelConfig,
    /// GGUF's name, and that by which the source has it.
    names: Vec<(String, String)>,
    /// Divisors of rotary frequencies, which these files have as tensors.
    divisors: Vec<(&'static str, Vec<f32>)>,
}

impl<'a> AsGguf<'a> {
    /// The tensors of `source` as a GGUF file has them.
    ///
    /// # Errors
    /// If the model has something that such files have no place for.
    pub fn new(source: &'a dyn TensorSource, config: &'a ModelConfig) -> Result<Self, ModelError> {
        let (rope, arch) = (&config.ropes[0], config.architecture);
        let divisors = match &rope.divisors {
            Divisors::Fixed(divisors) if arch == "llama" && rope.magnitude == 1.0 => {
                vec![("rope_freqs.weight", divisors.clone())]
            }
            Divisors::ByLength { short, long, .. } if ["llama", "phi3"].contains(&arch) => vec![
                ("rope_factors_short.weight", short.clone()),
                ("rope_factors_long.weight", long.clone()),
            ],
            Divisors::None | Divisors::InTensors | Divisors::Yarn(_) => Vec::new(),
            Divisors::Fixed(_) | Divisors::ByLength { .. } => {
                let message =
                    "such a scaling cannot be written yet: quantise a GGUF file of the model";
                return Err(ModelError::config("config.json: rope_parameters", message));
            }
        };
        let mut names = Vec::new();
        let mut add = |name: &str, of: &str| {
            if source.has_tensor(of) {
                names.push((name.to_owned(), of.to_owned()));
            }
        };
        for name in ["token_embd.weight", "output_norm.weight", "output.weight"] {
            add(name, name);
        }
        for i in 0..config.layers.len() {
            for part in PARTS.iter().chain(&EXPERT_BIASES) {
                let name = format!("blk.{i}.{part}");
                match *part {
                    // Where there is but one norm, folders call it like this one, too; gpt-oss's files have it here.
                    "post_attention_norm.weight" if !config.has_post_norms => {
                        if config.architecture == "gpt-oss" {
                            add(&name, &format!("blk.{i}.ffn_norm.weight"));
                        }
                    }
                    "ffn_norm.weight" if config.architecture == "gpt-oss" => {}
                    "ffn_up.weight" => {
                        add(&name, &name);
                        add(&name, &format!("blk.{i}.ffn_gate_up.weight"));
                    }
                    _ => add(&name, &name),
                }
            }
        }
        let this = Self {
            source,
            config,
            names,
            divisors,
        };
        this.check()?;
        this.check_tensors()?;
        Ok(this)
    }

    /// All metadata of the model that is no tokenizer's; `name` is for people.
    pub fn entries(&self, name: &str) -> Vec<RawEntry<'static>> {
        let config = self.config;
        let arch = config.architecture;
        let mut entries: Vec<RawEntry<'static>> = vec![
            ("general.architecture".into(), raw::str(arch).into()),
            ("general.name".into(), raw::str(name).into()),
        ];
        let mut add = |key: &str, value: Vec<u8>| {
            entries.push((Cow::Owned(format!("{arch}.{key}")), value.into()));
        };
        let size = |value: usize| raw::u32(u32::try_from(value).unwrap_or(u32::MAX));
        add("block_count", size(config.layers.len()));
        add("context_length", size(config.context_length));
        add("embedding_length", size(config.hidden_size));
        add("feed_forward_length", size(config.intermediate_size));
        add("vocab_size", size(config.vocab_size));
        add("attention.head_count", size(config.num_heads));
        add("attention.head_count_kv", size(config.num_kv_heads));
        add("attention.key_length", size(config.head_dim));
        add("attention.value_length", size(config.head_dim));
        add(
            "attention.layer_norm_rms_epsilon",
            raw::f32(config.rms_norm_eps),
        );
        // Without the key some programs guess one for Phi-3.
        let window = config.layers.iter().find_map(|layer| layer.window);
        if let Some(window) = window.or((arch == "phi3").then_some(0)) {
            add("attention.sliding_window", size(window));
        }
        for (key, cap) in [
            ("attn_logit_softcapping", config.attention_softcap),
            ("final_logit_softcapping", config.logit_softcap),
        ] {
            if let Some(cap) = cap {
                add(key, raw::f32(cap));
            }
        }
        if let Some(experts) = config.experts {
            add("expert_count", size(experts.num_experts));
            add("expert_used_count", size(experts.top_k));
            add(
                "expert_feed_forward_length",
                size(experts.intermediate_size),
            );
        }
        rope_entries(&config.ropes, &mut add);
        if config.embedding_scale != 1.0 || config.glu != Glu::Silu {
            add("attention.scale", raw::f32(config.attention_scale));
        }
        entries
    }

    fn find(&self, name: &str) -> Option<&str> {
        let found = self.names.iter().find(|(ours, _)| ours == name);
        found.map(|(_, theirs)| theirs.as_str())
    }

    fn divisors(&self, name: &str) -> Option<(&'static str, &[f32])> {
        let found = self.divisors.iter().find(|(ours, _)| *ours == name);
        found.map(|(name, divisors)| (*name, &divisors[..]))
    }

    /// Rows that turn together become neighbours where the architecture's files have them so.
    fn heads_to_reorder(&self, name: &str) -> Option<usize> {
        let is_reordered = ["llama", "smollm3"].contains(&self.config.architecture)
            && self.config.ropes[0].style == RopeStyle::Half;
        match name.rsplit('.').nth(1) {
            Some("attn_q") if is_reordered => Some(self.config.num_heads),
            Some("attn_k") if is_reordered => Some(self.config.num_kv_heads),
            _ => None,
        }
    }
}

fn rope_entries(ropes: &[RopeConfig], add: &mut impl FnMut(&str, Vec<u8>)) {
    let rope = &ropes[0];
    let size = |value: usize| raw::u32(u32::try_from(value).unwrap_or(u32::MAX));
    add("rope.freq_base", raw::f32(rope.base as f32));
    add("rope.dimension_count", size(rope.rotary_dim));
    if let Some(local) = ropes.get(1) {
        add("rope.freq_base_swa", raw::f32(local.base as f32));
    }
    if rope.linear_scale != 1.0 {
        add("rope.scaling.type", raw::str("linear"));
        add("rope.scaling.factor", raw::f32(rope.linear_scale as f32));
    }
    if let Divisors::ByLength { original, .. } = rope.divisors {
        add("rope.scaling.type", raw::str("longrope"));
        add("rope.scaling.original_context_length", size(original));
        add("rope.scaling.attn_factor", raw::f32(rope.magnitude as f32));
    }
    if let Divisors::Yarn(yarn) = &rope.divisors {
        add("rope.scaling.type", raw::str("yarn"));
        add("rope.scaling.factor", raw::f32(yarn.factor as f32));
        add(
            "rope.scaling.original_context_length",
            size(yarn.original as usize),
        );
        add(
            "rope.scaling.yarn_beta_fast",
            raw::f32(yarn.beta_fast as f32),
        );
        add(
            "rope.scaling.yarn_beta_slow",
            raw::f32(yarn.beta_slow as f32),
        );
        // Readers multiply it by what the paper says.
        let magnitude = rope.magnitude / Yarn::magnitude(yarn.factor, 1.0);
        add("rope.scaling.attn_factor", raw::f32(magnitude as f32));
    }
}

impl TensorSource for AsGguf<'_> {
    fn shape(&self, name: &str) -> Result<TensorShape<'_>, ModelError> {
        if let Some((name, divisors)) = self.divisors(name) {
            return Ok(TensorShape {
                name,
                encoding: Encoding::Ggml(GgmlType::F32),
                dims: vec![divisors.len()],
            });
        }
        let of = self.find(name).unwrap_or(name);
        let mut shape = self.source.shape(of)?;
        if let Some((ours, _)) = self.names.iter().find(|(ours, _)| ours == name) {
            shape.name = ours;
        }
        // Vectors are float32 in such files, and what they have no type for is decoded.
        if shape.dims.len() == 1
            || name.ends_with(".bias")
            || !matches!(shape.encoding, Encoding::Ggml(_))
        {
            shape.encoding = match shape.dims.len() {
                1 => Encoding::Ggml(GgmlType::F32),
                _ if name.ends_with(".bias") => Encoding::Ggml(GgmlType::F32),
                _ => Encoding::Ggml(GgmlType::F16),
            };
        }
        Ok(shape)
    }

    fn tensor(&self, name: &str, cpu: &Cpu) -> Result<Tensor<'_>, ModelError> {
        if let Some((_, divisors)) = self.divisors(name) {
            let bytes: Vec<u8> = divisors.iter().flat_map(|x| x.to_le_bytes()).collect();
            return Ok(Tensor::owned(self.shape(name)?, bytes));
        }
        let of = self.find(name).unwrap_or(name);
        let tensor = self.source.tensor(of, cpu)?;
        let is_norm = name.ends_with("norm.weight");
        if is_norm || tensor.shape.dims.len() == 1 {
            let offset = if is_norm {
                self.config.norm_offset
            } else {
                0.0
            };
            let mut values = tensor.dequantised(cpu)?;
            values.iter_mut().for_each(|x| *x += offset);
            if let Some(heads) = self.heads_to_reorder(name) {
                values = with_neighbouring_pairs(&values, heads, 1);
            }
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            return Ok(Tensor::owned(self.shape(name)?, bytes));
        }
        match self.heads_to_reorder(name) {
            None => Ok(tensor),
            Some(heads) => {
                let row = tensor.shape.encoding.row_bytes(tensor.shape.cols());
                let data = with_neighbouring_pairs(&tensor.data, heads, row);
                Ok(Tensor::owned(tensor.shape, data))
            }
        }
    }

    fn expert(&self, name: &str, expert: usize, cpu: &Cpu) -> Result<Tensor<'_>, ModelError> {
        let tensor = self.source.expert(name, expert, cpu)?;
        if tensor.shape.dims.len() > 1 {
            return Ok(tensor);
        }
        let values = tensor.dequantised(cpu)?;
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = TensorShape {
            encoding: Encoding::Ggml(GgmlType::F32),
            ..tensor.shape
        };
        Ok(Tensor::owned(shape, bytes))
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.find(name).is_some() || self.divisors(name).is_some()
    }

    fn shapes(&self) -> Box<dyn Iterator<Item = Result<TensorShape<'_>, ModelError>> + '_> {
        let names = self.names.iter().map(|(ours, _)| ours.as_str());
        let divisors = self.divisors.iter().map(|(name, _)| *name);
        Box::new(names.chain(divisors).map(|name| self.shape(name)))
    }

    fn release(&self, pages: &[u8]) {
        self.source.release(pages);
    }
}
