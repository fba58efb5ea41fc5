//! The embedder: texts as token ids in, one vector of length 1 for each out.
//!
//! A BERT encoder over preallocated buffers, by the same ops as the decoder where they are the same. Texts are computed side by
//! side without padding, and a text's vector is the same bit for bit whatever is computed beside it.
//!
//! Sources: Devlin et al., "BERT", 2018; Reimers and Gurevych, "Sentence-BERT", 2019.

mod config;
mod weights;

use std::path::Path;

use candle_core::{DType, Result, bail};

pub use config::{EmbedderConfig, Pooling};
use weights::{Layer, Weights};

use super::ModelError;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::engine::{Encoder, ExecutorError, normalised};
use crate::ops::{Tensor, add_assign, embedding, encoder_attention, gelu, layer_norm, matmul};

/// Token rows a step: enough for the matrix products to be efficient, few enough for a short text not to wait long.
const MAX_ROWS: usize = 512;

/// A BERT encoder, ready to compute.
pub struct Embedder {
    config: EmbedderConfig,
    weights: Weights,
    buffers: Buffers,
    cpu: Cpu,
}

/// Of as many rows as a step may have, f32.
struct Buffers {
    /// `[T, H]`.
    hidden: Tensor,
    /// `[T, H]`: what a layer adds to it.
    delta: Tensor,
    /// `[T, H]`.
    attended: Tensor,
    /// `[T, 3 H]`.
    qkv: Tensor,
    /// `[T, I]`.
    inner: Tensor,
}

impl Buffers {
    fn new(config: &EmbedderConfig, num_rows: usize) -> Result<Self> {
        let zeros = |width: usize| Tensor::zeros((num_rows, width), DType::F32, &Device::Cpu);
        Ok(Self {
            hidden: zeros(config.hidden_size)?,
            delta: zeros(config.hidden_size)?,
            attended: zeros(config.hidden_size)?,
            qkv: zeros(3 * config.hidden_size)?,
            inner: zeros(config.intermediate_size)?,
        })
    }

    /// Their first rows.
    fn rows(&self, num_rows: usize) -> Result<Self> {
        let rows = |tensor: &Tensor| tensor.narrow(0, num_rows);
        Ok(Self {
            hidden: rows(&self.hidden)?,
            delta: rows(&self.delta)?,
            attended: rows(&self.attended)?,
            qkv: rows(&self.qkv)?,
            inner: rows(&self.inner)?,
        })
    }
}

impl Embedder {
    /// Loads the folder of a BERT model: config.json, safetensors, and what sentence-transformers put beside them.
    ///
    /// # Errors
    /// Each names the file, key or tensor at fault.
    pub fn load(folder: &Path, cpu: Cpu) -> std::result::Result<Self, ModelError> {
        let config = EmbedderConfig::read(folder)?;
        let weights = Weights::load(folder, &config, &cpu)?;
        let buffers = Buffers::new(&config, MAX_ROWS.max(config.window))?;
        Ok(Self {
            config,
            weights,
            buffers,
            cpu,
        })
    }

    /// What it computes.
    pub fn config(&self) -> &EmbedderConfig {
        &self.config
    }

    /// Memory that its weights take, in bytes.
    pub fn num_bytes(&self) -> usize {
        self.weights.num_bytes()
    }

    /// The vectors of `texts`, `[H]` each and of length 1. Texts have 1 to `window` tokens, and together at most the rows of a
    /// step.
    ///
    /// # Errors
    /// If there are too many tokens, or an id is not of the vocabulary.
    pub fn embed(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = texts.concat();
        let positions: Vec<u32> = texts.iter().flat_map(|text| 0..text.len() as u32).collect();
        let ends = texts.iter().scan(0, |end, text| {
            *end += text.len();
            Some(*end)
        });
        let cu_seqlens: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let (weights, cpu) = (&self.weights, &self.cpu);
        let rows = self.buffers.rows(ids.len())?;
        embedding(&rows.delta, &ids, &weights.words, 1.0, cpu)?;
        embedding(&rows.attended, &positions, &weights.positions, 1.0, cpu)?;
        add_assign(&rows.delta, &rows.attended, cpu)?;
        layer_norm(
            &rows.hidden,
            &rows.delta,
            weights.norm.affine(),
            self.config.eps,
            cpu,
        )?;
        for layer in &weights.layers {
            self.layer(layer, &rows, &cu_seqlens)?;
        }
        let hidden = rows.hidden.to_vec()?;
        let width = self.config.hidden_size;
        let text = |rows: &[usize]| self.pool(&hidden[rows[0] * width..rows[1] * width]);
        cu_seqlens.windows(2).map(text).collect()
    }

    fn layer(&self, layer: &Layer, rows: &Buffers, cu_seqlens: &[usize]) -> Result<()> {
        let (cpu, eps) = (&self.cpu, self.config.eps);
        let qkv = layer.qkv.each_ref().map(|dense| dense.part());
        matmul(&rows.qkv, &rows.hidden, &qkv, cpu)?;
        encoder_attention(
            &rows.attended,
            &rows.qkv,
            cu_seqlens,
            self.config.num_heads,
            cpu,
        )?;
        matmul(
            &rows.delta,
            &rows.attended,
            &[layer.attention_output.part()],
            cpu,
        )?;
        add_assign(&rows.delta, &rows.hidden, cpu)?;
        layer_norm(
            &rows.hidden,
            &rows.delta,
            layer.attention_norm.affine(),
            eps,
            cpu,
        )?;
        matmul(&rows.inner, &rows.hidden, &[layer.inner.part()], cpu)?;
        gelu(&rows.inner, cpu)?;
        matmul(&rows.delta, &rows.inner, &[layer.outer.part()], cpu)?;
        add_assign(&rows.delta, &rows.hidden, cpu)?;
        layer_norm(
            &rows.hidden,
            &rows.delta,
            layer.output_norm.affine(),
            eps,
            cpu,
        )
    }

    /// One vector of those of a text's tokens, `[n, H]`.
    fn pool(&self, tokens: &[f32]) -> Result<Vec<f32>> {
        let width = self.config.hidden_size;
        if tokens.is_empty() {
            bail!("embed: a text has no tokens");
        }
        let mut pooled = tokens[..width].to_vec();
        if self.config.pooling == Pooling::Mean {
            // To the length of the sum: a mean is normalised to the same.
            for token in tokens.chunks_exact(width).skip(1) {
                pooled.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
            }
        }
        let pooled = normalised(pooled);
        if !pooled.iter().all(|x| x.is_finite()) {
            bail!("embed: a text's vector is not finite");
        }
        Ok(pooled)
    }
}

impl Encoder for Embedder {
    fn max_batch_tokens(&self) -> usize {
        MAX_ROWS.max(self.config.window)
    }

    fn encode(&mut self, texts: &[&[u32]]) -> std::result::Result<Vec<Vec<f32>>, ExecutorError> {
        self.embed(texts)
            .map_err(|error| ExecutorError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::backend::cpu::Isa;

    #[derive(Deserialize)]
    struct Case {
        token_ids: Vec<u32>,
        vector: Vec<f32>,
    }

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/embeddings")
    }

    fn cases() -> Vec<Case> {
        serde_json::from_slice(&std::fs::read(folder().join("tiny.json")).unwrap()).unwrap()
    }

    fn embedder(cpu: Cpu) -> Embedder {
        Embedder::load(&folder().join("tiny"), cpu).unwrap()
    }

    #[test]
    fn vectors_are_those_of_transformers() {
        let embedder = embedder(Cpu::new(2).unwrap());
        for case in cases() {
            let vector = &embedder.embed(&[&case.token_ids]).unwrap()[0];
            assert_eq!(vector.len(), case.vector.len());
            for (got, want) in vector.iter().zip(&case.vector) {
                assert!((got - want).abs() < 2e-6, "{got} {want}");
            }
        }
    }

    #[test]
    fn a_text_has_the_same_bits_alone_and_among_others_by_any_instructions_and_threads() {
        let cases = cases();
        let texts: Vec<&[u32]> = cases.iter().map(|case| &*case.token_ids).collect();
        let bits =
            |vectors: Vec<Vec<f32>>| vectors.concat().into_iter().map(f32::to_bits).collect();
        let mut all: Vec<Vec<u32>> = Vec::new();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.usable().is_ok()) {
            for num_threads in [1, 2] {
                let embedder = embedder(Cpu::with_isa(num_threads, isa).unwrap());
                all.push(bits(embedder.embed(&texts).unwrap()));
                let alone = texts.iter().map(|text| embedder.embed(&[text]).unwrap());
                all.push(bits(alone.flatten().collect()));
            }
        }
        assert!(all.iter().all(|one| one == &all[0]));
    }

    #[test]
    fn ids_and_rows_beyond_the_models_are_errors() {
        let embedder = embedder(Cpu::new(1).unwrap());
        assert!(
            embedder
                .embed(&[&[86]])
                .unwrap_err()
                .to_string()
                .contains("86")
        );
        assert!(embedder.embed(&[&[1; MAX_ROWS + 1]]).is_err());
        assert!(embedder.embed(&[]).unwrap().is_empty());
        assert!(embedder.embed(&[&[1], &[]]).is_err());
    }

    #[test]
    fn a_folder_without_a_tensor_names_it() {
        let copy = tempfile::tempdir().unwrap();
        let tiny = folder().join("tiny");
        let config = std::fs::read_to_string(tiny.join("config.json")).unwrap();
        let config = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
        std::fs::write(copy.path().join("config.json"), config).unwrap();
        std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
        for file in ["model.safetensors", "modules.json", "1_Pooling/config.json"] {
            std::fs::copy(tiny.join(file), copy.path().join(file)).unwrap();
        }
        let error = Embedder::load(copy.path(), Cpu::new(1).unwrap())
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .contains("encoder.layer.2.attention.self.query.weight"),
            "{error}"
        );
    }
}
