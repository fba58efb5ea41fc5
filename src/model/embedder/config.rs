//! What an encoder computes, from the files beside its weights.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::ModelError;

/// The shapes of a BERT encoder, and how the vectors of a text's tokens become one.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedderConfig {
    /// H.
    pub hidden_size: usize,
    /// Of the feed-forward.
    pub intermediate_size: usize,
    /// Of each layer.
    pub num_heads: usize,
    /// Layers.
    pub num_layers: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions that there are vectors for.
    pub num_positions: usize,
    /// Of the norms.
    pub eps: f32,
    /// Tokens a text may have, its special tokens included.
    pub window: usize,
    /// How one vector is made of many.
    pub pooling: Pooling,
}

/// How a text's vector comes from those of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
}

#[derive(Deserialize)]
struct BertJson {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

#[derive(Deserialize)]
struct SentenceJson {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize)]
struct ModuleJson {
    path: String,
    r#type: String,
}

impl EmbedderConfig {
    /// Reads config.json, modules.json with the pooling's config.json, and sentence_bert_config.json where there is one; without
    /// it the window is as many tokens as there are positions.
    ///
    /// # Errors
    /// Each names the file or key at fault.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let bert: BertJson = json(&folder.join("config.json"))?;
        let expect = |key: &str, found: &str, known: &str| match found == known {
            true => Ok(()),
            false => {
                let message =
                    format!("is {found:?}; of encoders only those with {known:?} are supported");
                Err(ModelError::config(key, message))
            }
        };
        expect("model_type", &bert.model_type, "bert")?;
        expect("hidden_act", &bert.hidden_act, "gelu")?;
        let positions = bert.position_embedding_type.as_deref();
        expect(
            "position_embedding_type",
            positions.unwrap_or("absolute"),
            "absolute",
        )?;
        if bert.is_decoder {
            return Err(ModelError::config(
                "is_decoder",
                "is true: the model is no encoder",
            ));
        }
        if !(bert.layer_norm_eps.is_finite() && bert.layer_norm_eps > 0.0) {
            let message = format!("is {}, which is not above 0", bert.layer_norm_eps);
            return Err(ModelError::config("layer_norm_eps", message));
        }
        let sizes = [
            ("hidden_size", bert.hidden_size),
            ("intermediate_size", bert.intermediate_size),
            ("num_attention_heads", bert.num_attention_heads),
            ("num_hidden_layers", bert.num_hidden_layers),
            ("vocab_size", bert.vocab_size),
            ("max_position_embeddings", bert.max_position_embeddings),
        ];
        // Larger than any encoder, so that a broken file cannot ask for all memory.
        if let Some((key, size)) = sizes.iter().find(|(_, size)| !(1..=1 << 20).contains(size)) {
            return Err(ModelError::config(
                *key,
                format!("is {size}, not a size from 1 to 1,048,576"),
            ));
        }
        if !bert
            .hidden_size
            .is_multiple_of(16 * bert.num_attention_heads)
        {
            let message = format!(
                "is {}, which {} heads (num_attention_heads) do not divide into multiples of 16",
                bert.hidden_size, bert.num_attention_heads
            );
            return Err(ModelError::config("hidden_size", message));
        }
        let num_positions = bert.max_position_embeddings;
        Ok(Self {
            hidden_size: bert.hidden_size,
            intermediate_size: bert.intermediate_size,
            num_heads: bert.num_attention_heads,
            num_layers: bert.num_hidden_layers,
            vocab_size: bert.vocab_size,
            num_positions,
            eps: bert.layer_norm_eps,
            window: window(folder, num_positions)?,
            pooling: pooling(folder)?,
        })
    }
}

fn window(folder: &Path, num_positions: usize) -> Result<usize, ModelError> {
    let path = folder.join("sentence_bert_config.json");
    let sentence = path
        .exists()
        .then(|| json::<SentenceJson>(&path))
        .transpose()?;
    if sentence
        .as_ref()
        .is_some_and(|sentence| sentence.do_lower_case)
    {
        let message = "do_lower_case is true, which is left to the tokenizer here; set it to false where that does it";
        return Err(ModelError::file(&path, message));
    }
    let window = sentence
        .and_then(|sentence| sentence.max_seq_length)
        .unwrap_or(num_positions);
    match (3..=num_positions).contains(&window) {
        true => Ok(window),
        false => {
            let message =
                format!("is {window}; there are positions for 3 to {num_positions} tokens");
            Err(ModelError::config("max_seq_length", message))
        }
    }
}

fn pooling(folder: &Path) -> Result<Pooling, ModelError> {
    let path = folder.join("modules.json");
    // Without it the mean would be a guess, and a wrong one unnoticed.
    let modules: Vec<ModuleJson> = json(&path)?;
    let mut pooling = None;
    for ModuleJson {
        path: place,
        r#type,
    } in modules
    {
        match r#type.rsplit('.').next().unwrap_or_default() {
            // Vectors are normalised whether or not the model asks for it.
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                if place.split('/').any(|part| part == "..") || Path::new(&place).is_absolute() {
                    let message = format!("the path {place:?} leads out of the folder");
                    return Err(ModelError::file(&path, message));
                }
                let path = folder.join(place).join("config.json");
                let modes: Map<String, Value> = json(&path)?;
                let modes = modes.iter().filter(|(name, value)| {
                    name.starts_with("pooling_mode") && value.as_bool() == Some(true)
                });
                let modes: Vec<&str> = modes.map(|(name, _)| name.as_str()).collect();
                pooling = Some(match modes[..] {
                    ["pooling_mode_mean_tokens"] => Pooling::Mean,
                    ["pooling_mode_cls_token"] => Pooling::First,
                    _ => {
                        let message = format!(
                            "says {modes:?}; pooling by pooling_mode_mean_tokens or pooling_mode_cls_token is supported"
                        );
                        return Err(ModelError::file(&path, message));
                    }
                });
            }
            other => {
                let message = format!(
                    "has the module {other:?}; Transformer, Pooling and Normalize are supported"
                );
                return Err(ModelError::file(&path, message));
            }
        }
    }
    pooling.ok_or_else(|| ModelError::file(&path, "has no module that pools"))
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = std::fs::read(path).map_err(ModelError::open(path))?;
    serde_json::from_slice(&text).map_err(|error| ModelError::file(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type": "bert", "hidden_act": "gelu", "hidden_size": 32, "intermediate_size": 64,
        "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 100, "max_position_embeddings": 20, "layer_norm_eps": 1e-12}"#;

    fn read(files: &[(&str, &str)]) -> Result<EmbedderConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        let mean = (
            "1_Pooling/config.json",
            r#"{"pooling_mode_mean_tokens": true}"#,
        );
        let whole = [("config.json", CONFIG), MODULES, mean];
        for (name, text) in whole.iter().chain(files) {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        EmbedderConfig::read(folder.path()).map_err(|error| error.to_string())
    }

    const MODULES: (&str, &str) = (
        "modules.json",
        r#"[{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]"#,
    );

    #[test]
    fn pooling_and_window_are_those_of_the_folder() {
        let plain = read(&[]).unwrap();
        assert_eq!((plain.window, plain.pooling), (20, Pooling::Mean));
        let first = (
            "1_Pooling/config.json",
            r#"{"pooling_mode_cls_token": true}"#,
        );
        let window = ("sentence_bert_config.json", r#"{"max_seq_length": 8}"#);
        let own = read(&[first, window]).unwrap();
        assert_eq!((own.window, own.pooling), (8, Pooling::First));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let changed = |from: &str, to: &str| {
            let text = CONFIG.replacen(from, to, 1);
            assert_ne!(text, CONFIG);
            read(&[("config.json", &text)]).unwrap_err()
        };
        assert!(changed("\"bert\"", "\"roberta\"").contains("model_type: is \"roberta\""));
        assert!(changed("\"gelu\"", "\"relu\"").contains("hidden_act"));
        assert!(
            changed("\"hidden_size\": 32", "\"hidden_size\": 40").contains("hidden_size: is 40")
        );
        assert!(
            changed("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 0")
                .contains("num_hidden_layers")
        );
        assert!(changed("\"vocab_size\": 100", "\"vocab_size\": 99999999").contains("vocab_size"));
        assert!(
            changed(
                "1e-12",
                "1e-12, \"position_embedding_type\": \"relative_key\""
            )
            .contains("position_embedding_type")
        );
        assert!(changed("1e-12", "-1.0").contains("layer_norm_eps: is -1"));
        assert!(changed("1e-12", "1e-12, \"is_decoder\": true").contains("is_decoder"));
        let none = ("modules.json", "[]");
        assert!(read(&[none]).unwrap_err().contains("no module that pools"));
        let lower = ("sentence_bert_config.json", r#"{"do_lower_case": true}"#);
        assert!(read(&[lower]).unwrap_err().contains("do_lower_case"));
        let maximum = (
            "1_Pooling/config.json",
            r#"{"pooling_mode_max_tokens": true}"#,
        );
        assert!(
            read(&[maximum])
                .unwrap_err()
                .contains("says [\"pooling_mode_max_tokens\"]")
        );
        let dense = (
            "modules.json",
            r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#,
        );
        assert!(read(&[dense]).unwrap_err().contains("the module \"Dense\""));
        let outside = ("modules.json", r#"[{"path": "../x", "type": "Pooling"}]"#);
        assert!(
            read(&[outside])
                .unwrap_err()
                .contains("leads out of the folder")
        );
        let window = ("sentence_bert_config.json", r#"{"max_seq_length": 21}"#);
        assert!(
            read(&[window])
                .unwrap_err()
                .contains("max_seq_length: is 21")
        );
    }
}
