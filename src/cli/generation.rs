//! What a model says of how it is to be sampled: its card, or its folder's `generation_config.json`.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::hub::Card;
use crate::server::SamplingDefaults;

const FILE: &str = "generation_config.json";

/// `generation_config.json`, as far as it is heeded: as in vLLM, where values of the file count whether or not it says
/// `do_sample`.
#[derive(Debug, Default, Deserialize)]
pub struct GenerationConfig {
    eos_token_id: Option<TokenIds>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    /// Zero, or a negative number, turns it off.
    top_k: Option<i64>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TokenIds {
    One(u32),
    Several(Vec<u32>),
}

impl GenerationConfig {
    /// That of `folder`, if it has one.
    ///
    /// # Errors
    /// If the file cannot be read, or a value is outside of what requests may ask for.
    pub fn of_folder(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let shown = || path.display().to_string();
        let json = std::fs::read(&path).with_context(shown)?;
        let config: Self = serde_json::from_slice(&json).with_context(shown)?;
        let is_part = |value: &f32| (0.0..=1.0).contains(value);
        for (key, is_valid) in [
            (
                "temperature",
                config.temperature.is_none_or(|t| (0.0..=2.0).contains(&t)),
            ),
            ("top_p", config.top_p.is_none_or(|p| is_part(&p) && p > 0.0)),
            ("min_p", config.min_p.is_none_or(|p| is_part(&p))),
            (
                "repetition_penalty",
                config
                    .repetition_penalty
                    .is_none_or(|p| p.is_finite() && p > 0.0),
            ),
        ] {
            if !is_valid {
                bail!("{}: {key} is out of range", path.display());
            }
        }
        Ok(config)
    }

    /// The tokens that end an answer.
    pub fn eos_ids(&self) -> &[u32] {
        match &self.eos_token_id {
            None => &[],
            Some(TokenIds::One(id)) => std::slice::from_ref(id),
            Some(TokenIds::Several(ids)) => ids,
        }
    }

    /// What requests are sampled with that say nothing of it: the card's values, else the file's, else the server's.
    pub fn defaults(&self, card: Option<&Card>) -> SamplingDefaults {
        let none = SamplingDefaults::default();
        let card = card.map(|card| &card.sampling);
        let pick = |of_card: Option<f32>, own: Option<f32>, none| of_card.or(own).unwrap_or(none);
        let top_k = self.top_k.map(|top_k| u32::try_from(top_k).unwrap_or(0));
        SamplingDefaults {
            temperature: pick(
                card.and_then(|card| card.temperature),
                self.temperature,
                none.temperature,
            ),
            top_k: (card.and_then(|card| card.top_k).or(top_k)).unwrap_or(none.top_k),
            top_p: pick(card.and_then(|card| card.top_p), self.top_p, none.top_p),
            min_p: self.min_p.unwrap_or(none.min_p),
            repetition_penalty: pick(
                card.and_then(|card| card.repetition_penalty),
                self.repetition_penalty,
                none.repetition_penalty,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> anyhow::Result<GenerationConfig> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), json).unwrap();
        GenerationConfig::of_folder(folder.path())
    }

    #[test]
    fn the_files_values_are_defaults_and_a_folder_without_it_has_none() {
        let config = read(
            r#"{"do_sample": true, "eos_token_id": [7, 9], "temperature": 0.6, "top_k": 20, "top_p": 0.95, "max_length": 9}"#,
        )
        .unwrap();
        let defaults = config.defaults(None);
        assert_eq!(
            (defaults.temperature, defaults.top_k, defaults.top_p),
            (0.6, 20, 0.95)
        );
        assert_eq!(config.eos_ids(), [7, 9]);
        assert_eq!(read(r#"{"eos_token_id": 7}"#).unwrap().eos_ids(), [7]);
        assert_eq!(read(r#"{"top_k": -1}"#).unwrap().defaults(None).top_k, 0);
        let none = GenerationConfig::of_folder(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(none.defaults(None).temperature, 1.0);
        assert!(none.eos_ids().is_empty());
    }

    #[test]
    fn a_value_that_no_request_may_have_is_named() {
        for (json, key) in [
            (r#"{"temperature": -1}"#, "temperature"),
            (r#"{"top_p": 0}"#, "top_p"),
            (r#"{"min_p": 2}"#, "min_p"),
            (r#"{"repetition_penalty": 0}"#, "repetition_penalty"),
            (r#"{"eos_token_id": "x"}"#, FILE),
        ] {
            let error = format!("{:#}", read(json).unwrap_err());
            assert!(error.contains(FILE) && error.contains(key), "{error}");
        }
    }
}
