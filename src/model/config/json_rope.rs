//! What `config.json` says of the rotary embeddings.

use super::json::{Json, PHI3, SMOLLM3, error, in_range, positive};
use crate::model::ModelError;
use crate::model::rope::RopeConfig;
use crate::model::rope::json::{RopeContext, RopeJson, RopesJson};

/// Is never without its scaling.
const GPT_OSS: &str = "gpt_oss";

impl Json {
    /// The rotary embeddings, one or that of layers without and that of those with a window, and how many positions they are for.
    pub(super) fn ropes(
        &self,
        head_dim: usize,
        max_position_embeddings: usize,
    ) -> Result<(Vec<RopeConfig>, usize), ModelError> {
        const NEWER: &str = "rope_parameters";
        let is_gemma3 = self.model_type.starts_with("gemma3");
        let read = |key: &'static str, rope: &RopeJson, theta: f64| {
            let max_position_embeddings =
                in_range("max_position_embeddings", max_position_embeddings, 1 << 24)?;
            let context = RopeContext {
                key,
                base: positive("rope_theta", theta)?,
                rotary_dim: self.rotary_dim(rope, head_dim)?,
                max_position_embeddings,
                original_max_position_embeddings: self.original_max_position_embeddings,
            };
            rope.resolve(&context)
        };
        // What `transformers` takes where a file names none.
        let default = match &*self.model_type {
            SMOLLM3 => 2e6,
            "mixtral" => 1e6,
            GPT_OSS => 150_000.0,
            _ if is_gemma3 => 1e6,
            _ => 1e4,
        };
        let local_default = self.rope_local_base_freq.unwrap_or(1e4);
        if self.model_type == GPT_OSS
            && self.rope_parameters.is_none()
            && self.rope_scaling.is_none()
        {
            return Err(error("rope_scaling", "is missing"));
        }
        if let Some(RopesJson::ByLayer(ropes)) = &self.rope_parameters {
            if !is_gemma3 {
                let message = "names one for each kind of layer, which only Gemma 3's files do";
                return Err(error(NEWER, message));
            }
            let theta = |rope: &RopeJson, default| rope.rope_theta.unwrap_or(default);
            let (full, sliding) = (&ropes.full_attention, &ropes.sliding_attention);
            let (global, length) =
                read("rope_parameters.full_attention", full, theta(full, default))?;
            let local = theta(sliding, local_default);
            let (local, _) = read("rope_parameters.sliding_attention", sliding, local)?;
            return Ok((vec![global, local], length));
        }
        let newer = match &self.rope_parameters {
            Some(RopesJson::One(rope)) => Some(rope),
            _ => None,
        };
        let (key, rope) = match (newer, &self.rope_scaling) {
            // As in `transformers`, where who adds the older one by hand is heeded.
            (_, Some(rope)) => ("rope_scaling", rope.clone()),
            (rope, None) => (NEWER, rope.map(|rope| (**rope).clone()).unwrap_or_default()),
        };
        let theta =
            (rope.rope_theta.or(self.rope_theta)).or(newer.and_then(|newer| newer.rope_theta));
        let (global, length) = read(key, &rope, theta.unwrap_or(default))?;
        if !is_gemma3 {
            return Ok((vec![global], length));
        }
        let (local, _) = read(NEWER, &RopeJson::default(), local_default)?;
        Ok((vec![global, local], length))
    }

    fn rotary_dim(&self, rope: &RopeJson, head_dim: usize) -> Result<usize, ModelError> {
        const KEY: &str = "partial_rotary_factor";
        let part = rope.partial_rotary_factor.or(self.partial_rotary_factor);
        let part = part.unwrap_or(1.0);
        if part != 1.0 && self.model_type != PHI3 {
            let message = format!(
                "{part} is not supported for {}: all values of a head must turn",
                self.model_type
            );
            return Err(error(KEY, message));
        }
        let rotary_dim = (head_dim as f64 * part) as usize;
        match (2..=head_dim).contains(&rotary_dim) && rotary_dim.is_multiple_of(2) {
            true => Ok(rotary_dim),
            false => {
                let message = format!(
                    "{part} makes {rotary_dim} of a head's {head_dim} values turn, which must be an even number of them"
                );
                Err(error(KEY, message))
            }
        }
    }
}
