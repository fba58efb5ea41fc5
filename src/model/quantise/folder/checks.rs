//! Whether a GGUF file can say all that a folder says.

use super::AsGguf;
use crate::model::gguf::{Gguf, head, shown};
use crate::model::source::TensorSource;
use crate::model::{Divisors, ModelConfig, ModelError, RopeConfig};

impl AsGguf<'_> {
    /// Fails unless all tensors are there in the shapes that the configuration says, and none beside them.
    pub(super) fn check_tensors(&self) -> Result<(), ModelError> {
        let has_tied_head = !self.source.has_tensor("output.weight");
        for (name, dims) in self.config.matrices(has_tied_head) {
            let fused = fused_dims(self.config, &name);
            let is_fused = fused
                .as_ref()
                .is_some_and(|(name, _)| self.has_tensor(name));
            match (is_fused, fused) {
                // Phi-3's gate and up, whose name is also that of up alone.
                (true, Some((name, fused))) if self.shape(&name)?.dims != dims => {
                    self.shape(&name)?.expect(&fused)?;
                }
                _ => self.shape(&name)?.expect(&dims)?,
            }
        }
        let (heads, head) = (self.config.num_heads, self.config.head_dim);
        for (part, len) in [
            ("attn_norm.weight", self.config.hidden_size),
            ("attn_q.bias", heads * head),
            ("attn_k.bias", self.config.num_kv_heads * head),
        ] {
            for i in 0..self.config.layers.len() {
                let name = format!("blk.{i}.{part}");
                if self.has_tensor(&name) {
                    self.shape(&name)?.expect(&[len])?;
                }
            }
        }
        let mut used = Vec::new();
        for (_, of) in &self.names {
            used.push(self.source.shape(of)?.name.to_owned());
        }
        let experts_of = |name: &str| {
            name.split_once(".experts.")
                .map(|(layer, _)| layer.to_owned())
        };
        for shape in self.source.shapes() {
            let name = shape?.name;
            let experts = experts_of(name);
            let is_used = used.iter().any(|used| used == name)
                || experts.is_some() && used.iter().any(|used| experts_of(used) == experts);
            if !is_used {
                let message = "is no part of such a GGUF file";
                return Err(ModelError::tensor(shown(name), message));
            }
        }
        Ok(())
    }

    /// Fails unless who reads the metadata gets the same model.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        let bytes = head(&self.entries(""), &[]);
        let read = ModelConfig::from_gguf(Gguf::parse(&bytes)?.metadata())?;
        let (config, refuse) = (self.config, |what: &str| {
            let message = format!("says of {what} what GGUF files have no key for");
            Err(ModelError::config("config.json", message))
        });
        let same = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
        let are_ropes_alike = read.ropes.len() == config.ropes.len()
            && read.ropes.iter().zip(&config.ropes).all(|(a, b)| {
                same(a.base, b.base)
                    && same(a.linear_scale, b.linear_scale)
                    && same(a.magnitude, b.magnitude)
                    && is_yarn_alike(a, b)
                    && a.rotary_dim == b.rotary_dim
            });
        let are_caps_alike = (read.attention_softcap, read.logit_softcap)
            == (config.attention_softcap, config.logit_softcap);
        let is_scaled_alike = (read.attention_scale / config.attention_scale - 1.0).abs() < 1e-6;
        match config {
            _ if read.layers != config.layers => refuse("its layers"),
            _ if read.experts != config.experts => refuse("its experts"),
            _ if read.glu != config.glu => refuse("its activation"),
            _ if !is_scaled_alike || !are_caps_alike => refuse("its attention"),
            _ if !are_ropes_alike => refuse("its rotary embeddings"),
            _ => Ok(()),
        }
    }
}

/// Divisors of other kinds are tensors.
fn is_yarn_alike(a: &RopeConfig, b: &RopeConfig) -> bool {
    let divisors = |rope: &RopeConfig| match &rope.divisors {
        Divisors::Yarn(yarn) => yarn.divisors(rope.base, rope.rotary_dim),
        _ => Vec::new(),
    };
    let (a, b) = (divisors(a), divisors(b));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a / b - 1.0).abs() < 1e-5)
}

/// The tensor that holds the matrix `name` and its neighbours in models that fuse them, and its dimensions.
fn fused_dims(config: &ModelConfig, name: &str) -> Option<(String, Vec<usize>)> {
    let stem = name
        .rsplit_once(".attn_")
        .or_else(|| name.rsplit_once(".ffn_"))?;
    let (layer, hidden) = (stem.0, config.hidden_size);
    let rows = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim;
    match stem.1 {
        "q.weight" | "k.weight" | "v.weight" => {
            Some((format!("{layer}.attn_qkv.weight"), vec![hidden, rows]))
        }
        "gate.weight" | "up.weight" => {
            let dims = vec![hidden, 2 * config.intermediate_size];
            Some((format!("{layer}.ffn_up.weight"), dims))
        }
        _ => None,
    }
}
