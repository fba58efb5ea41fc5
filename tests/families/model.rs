//! Tiny random models: one description gives the GGUF file and the float values that it stands for.

use std::collections::BTreeMap;

use half::{bf16, f16};

use super::blocks;
use super::gguf_writer::{GgufWriter, array, string};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Mean 0, variance 1, nearly normal: the sum of twelve uniform numbers.
    pub fn normal(&mut self) -> f64 {
        (0..12)
            .map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64)
            .sum::<f64>()
            - 6.0
    }
}

/// Which values of a head turn together.
#[derive(Clone, Copy, PartialEq)]
pub enum Pairs {
    Neighbours,
    Halves,
}

/// What a model is like. The fields after `ty` are written to the file only where they differ from the usual.
#[derive(Clone)]
pub struct Spec {
    pub arch: &'static str,
    pub pairs: Pairs,
    pub layers: usize,
    pub hidden: usize,
    pub inner: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub vocab: usize,
    pub eps: f32,
    pub rope_base: f32,
    /// Encoding of the matrices, by ggml's id; vectors are float32.
    pub ty: u32,
    pub head_dim: Option<usize>,
    pub rotary_dim: Option<usize>,
    pub linear_scale: Option<f32>,
    pub rope_freqs: bool,
    pub tied: bool,
    pub qkv_bias: bool,
    pub all_biases: bool,
    pub qk_norm: bool,
}

impl Spec {
    /// A Llama of two layers and four heads of 16, in float32.
    pub fn llama() -> Self {
        Self {
            arch: "llama",
            pairs: Pairs::Neighbours,
            layers: 2,
            hidden: 64,
            inner: 96,
            heads: 4,
            kv_heads: 2,
            vocab: 96,
            eps: 1e-5,
            rope_base: 10_000.0,
            ty: 0,
            head_dim: None,
            rotary_dim: None,
            linear_scale: None,
            rope_freqs: false,
            tied: true,
            qkv_bias: false,
            all_biases: false,
            qk_norm: false,
        }
    }

    pub fn qwen2() -> Self {
        Self {
            arch: "qwen2",
            pairs: Pairs::Halves,
            rope_base: 1e6,
            qkv_bias: true,
            ..Self::llama()
        }
    }

    pub fn qwen3() -> Self {
        Self {
            arch: "qwen3",
            pairs: Pairs::Halves,
            head_dim: Some(32),
            rope_base: 1e6,
            eps: 1e-6,
            layers: 3,
            inner: 128,
            qk_norm: true,
            ..Self::llama()
        }
    }

    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden / self.heads)
    }

    pub fn rotary_dim(&self) -> usize {
        self.rotary_dim.unwrap_or(self.head_dim())
    }
}

/// A tensor as it stands in the file, and its values, row after row.
#[derive(Clone)]
pub struct TensorData {
    /// Fastest first.
    pub dims: Vec<u64>,
    pub ty: u32,
    pub bytes: Vec<u8>,
    pub values: Vec<f64>,
}

/// A metadata value: its type's id, encoded.
pub type Entry = (u32, Vec<u8>);

/// A random model. Tests damage `entries` and `tensors`.
#[derive(Clone)]
pub struct Model {
    pub spec: Spec,
    pub entries: BTreeMap<String, Entry>,
    pub tensors: BTreeMap<String, TensorData>,
}

pub fn u32_entry(value: usize) -> Entry {
    (4, (value as u32).to_le_bytes().to_vec())
}

pub fn f32_entry(value: f32) -> Entry {
    (6, value.to_le_bytes().to_vec())
}

pub fn str_entry(value: &str) -> Entry {
    (8, string(value))
}

impl Model {
    pub fn random(spec: &Spec, seed: u64) -> Self {
        Self {
            spec: spec.clone(),
            entries: entries(spec),
            tensors: tensors(spec, &mut Rng(seed)),
        }
    }

    /// The file's bytes.
    pub fn to_gguf(&self) -> Vec<u8> {
        let mut file = GgufWriter::new();
        for (key, (ty, value)) in &self.entries {
            file.entry(key, *ty, value);
        }
        for (name, tensor) in &self.tensors {
            file.tensor(name, &tensor.dims, tensor.ty, &tensor.bytes);
        }
        file.finish()
    }

    /// The key `name` of this model's architecture.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.spec.arch)
    }
}

fn entries(spec: &Spec) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    entries.insert("general.architecture".to_owned(), str_entry(spec.arch));
    let tokens: Vec<u8> = (0..spec.vocab)
        .flat_map(|id| string(&format!("t{id}")))
        .collect();
    let tokens = array(8, spec.vocab as u64, &tokens);
    entries.insert("tokenizer.ggml.tokens".to_owned(), (9, tokens));
    let mut put = |name: &str, entry: Entry| entries.insert(format!("{}.{name}", spec.arch), entry);
    put("block_count", u32_entry(spec.layers));
    put("embedding_length", u32_entry(spec.hidden));
    put("feed_forward_length", u32_entry(spec.inner));
    put("attention.head_count", u32_entry(spec.heads));
    put("attention.head_count_kv", u32_entry(spec.kv_heads));
    put("attention.layer_norm_rms_epsilon", f32_entry(spec.eps));
    put("context_length", u32_entry(1024));
    put("rope.freq_base", f32_entry(spec.rope_base));
    if let Some(head_dim) = spec.head_dim {
        put("attention.key_length", u32_entry(head_dim));
        put("attention.value_length", u32_entry(head_dim));
    }
    if let Some(rotary_dim) = spec.rotary_dim {
        put("rope.dimension_count", u32_entry(rotary_dim));
    }
    if let Some(scale) = spec.linear_scale {
        put("rope.scaling.type", str_entry("linear"));
        put("rope.scaling.factor", f32_entry(scale));
    }
    entries
}

fn tensors(spec: &Spec, rng: &mut Rng) -> BTreeMap<String, TensorData> {
    let (hidden, inner, head) = (spec.hidden, spec.inner, spec.head_dim());
    let (q_size, kv_size) = (spec.heads * head, spec.kv_heads * head);
    let mut tensors = BTreeMap::new();
    let mut put = |name: String, tensor| tensors.insert(name, tensor);
    put(
        "token_embd.weight".into(),
        matrix(spec.ty, spec.vocab, hidden, rng),
    );
    put("output_norm.weight".into(), vector(hidden, 1.0, 0.2, rng));
    if !spec.tied {
        put(
            "output.weight".into(),
            matrix(spec.ty, spec.vocab, hidden, rng),
        );
    }
    if spec.rope_freqs {
        // As Llama 3's scaling: the slower a pair turns, the more it is slowed.
        let num_pairs = spec.rotary_dim() / 2;
        let factors = (0..num_pairs).map(|i| 1.0 + 7.0 * i as f64 / num_pairs as f64);
        put("rope_freqs.weight".into(), floats(factors.collect()));
    }
    for layer in 0..spec.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        for (stem, rows, cols) in [
            ("attn_q", q_size, hidden),
            ("attn_k", kv_size, hidden),
            ("attn_v", kv_size, hidden),
            ("attn_output", hidden, q_size),
            ("ffn_gate", inner, hidden),
            ("ffn_up", inner, hidden),
            ("ffn_down", hidden, inner),
        ] {
            let is_qkv = ["attn_q", "attn_k", "attn_v"].contains(&stem);
            put(
                name(&format!("{stem}.weight")),
                matrix(spec.ty, rows, cols, rng),
            );
            if spec.all_biases || spec.qkv_bias && is_qkv {
                put(name(&format!("{stem}.bias")), vector(rows, 0.0, 0.5, rng));
            }
        }
        put(name("attn_norm.weight"), vector(hidden, 1.0, 0.2, rng));
        put(name("ffn_norm.weight"), vector(hidden, 1.0, 0.2, rng));
        if spec.qk_norm {
            put(name("attn_q_norm.weight"), vector(head, 1.0, 0.2, rng));
            put(name("attn_k_norm.weight"), vector(head, 1.0, 0.2, rng));
        }
    }
    tensors
}

/// Values of variance `1 / cols`, so that a product with a normalised row has variance 1.
fn matrix(ty: u32, rows: usize, cols: usize, rng: &mut Rng) -> TensorData {
    let spread = 1.0 / (cols as f64).sqrt();
    let mut bytes = Vec::new();
    let mut normal = || spread * rng.normal();
    let count = rows * cols;
    match ty {
        blocks::F32 => (0..count).for_each(|_| bytes.extend((normal() as f32).to_le_bytes())),
        blocks::F16 => (0..count).for_each(|_| bytes.extend(f16::from_f64(normal()).to_le_bytes())),
        blocks::BF16 => {
            (0..count).for_each(|_| bytes.extend(bf16::from_f64(normal()).to_le_bytes()))
        }
        blocks::F64 => (0..count).for_each(|_| bytes.extend(normal().to_le_bytes())),
        _ => bytes = blocks::random(ty, count, spread, rng),
    }
    TensorData {
        dims: vec![cols as u64, rows as u64],
        ty,
        values: blocks::values(ty, &bytes, count),
        bytes,
    }
}

fn vector(len: usize, mean: f64, spread: f64, rng: &mut Rng) -> TensorData {
    floats((0..len).map(|_| mean + spread * rng.normal()).collect())
}

/// A vector of float32.
fn floats(values: Vec<f64>) -> TensorData {
    let rounded: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    TensorData {
        dims: vec![values.len() as u64],
        ty: blocks::F32,
        bytes: rounded.iter().flat_map(|x| x.to_le_bytes()).collect(),
        values: rounded.into_iter().map(f64::from).collect(),
    }
}
