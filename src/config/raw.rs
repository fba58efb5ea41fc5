//! What was typed. One struct is the flags, the environment and the file: a setting is added in one place.
//!
//! Precedence: flag, then environment, then the first `[[models]]`, then `[server]`, then the default.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::secret::one_or_many;
use super::{ByteSize, Secret};

/// The settings of `flambeau serve`, each optional.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Model to serve: a card's id, a path to a .gguf file or a folder with config.json, or a hub id
    /// (org/name, org/name@revision, org/name:file.gguf)
    /// [default: smollm2-135m-instruct]
    #[arg(long, env = "FLAMBEAU_MODEL")]
    pub model: Option<String>,
    /// What requests call the model [default: the card's id, the file's stem, the folder's name or
    /// the hub id]
    #[arg(long, env = "FLAMBEAU_SERVED_MODEL_NAME")]
    pub served_model_name: Option<String>,
    /// Model behind /v1/embeddings: a card's id, a path to a folder with config.json, or a hub id of a BERT model; none for none
    /// [default: all-minilm-l6-v2, fetched and loaded when it is first asked]
    #[arg(long, env = "FLAMBEAU_EMBEDDING_MODEL")]
    pub embedding_model: Option<String>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, env = "FLAMBEAU_HOST")]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(long, env = "FLAMBEAU_PORT")]
    pub port: Option<u16>,
    /// A key that opens the server, as KEY, NAME=KEY or NAME=env:VARIABLE; may be given several times
    #[arg(
        long,
        env = "FLAMBEAU_API_KEY",
        hide_env_values = true,
        value_name = "[NAME=]KEY"
    )]
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub api_key: Vec<Secret>,
    /// Listen beyond this machine without any key
    #[arg(long, env = "FLAMBEAU_INSECURE_NO_AUTH", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_no_auth: Option<bool>,
    /// A LoRA adapter to serve as a model of its own, as NAME=FOLDER; may be given several times
    #[arg(
        long,
        env = "FLAMBEAU_LORA_MODULES",
        value_name = "NAME=FOLDER",
        value_delimiter = ','
    )]
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub lora_modules: Vec<String>,
    /// Where to compute: auto (the first card that can, else the CPU), cpu, or cuda:N [default: auto]
    #[arg(long, env = "FLAMBEAU_DEVICE")]
    pub device: Option<String>,
    /// Whether a request gets the same answer whoever shares the batch. off: on a card, cuBLAS multiplies matrices of 16-bit floats, and
    /// its last bits depend on how many rows share a step. auto is on until both are measured [default: auto]
    #[arg(long, env = "FLAMBEAU_BATCH_INVARIANT", value_name = "auto|on|off")]
    pub batch_invariant: Option<String>,
    /// Threads that compute [default: all cores this process may use; from 8 on, all but one, which is left to HTTP]
    #[arg(long, env = "FLAMBEAU_THREADS")]
    pub threads: Option<usize>,
    /// Sequences that run at once [default: 64; on a card 256]
    #[arg(long, env = "FLAMBEAU_MAX_NUM_SEQS")]
    pub max_num_seqs: Option<usize>,
    /// Tokens computed a step, prompt chunks and decodes together [default: 256, on a card 2048; at least
    /// twice max-num-seqs]
    #[arg(long, env = "FLAMBEAU_MAX_NUM_BATCHED_TOKENS")]
    pub max_num_batched_tokens: Option<usize>,
    /// Milliseconds that a step may take while answers are being generated: prompts are cut to chunks that fit, so that long
    /// ones do not stall the others [default: no limit but max-num-batched-tokens]
    #[arg(long, env = "FLAMBEAU_TARGET_ITL_MS", value_name = "MS")]
    pub target_itl_ms: Option<usize>,
    /// Milliseconds in which the first token must come where a request has no deadline_ms; one that is not going to be in time
    /// gets a 429 that says when to come again [default: no limit]
    #[arg(long, env = "FLAMBEAU_DEFAULT_DEADLINE_MS", value_name = "MS")]
    pub default_deadline_ms: Option<usize>,
    /// Tokens of prompt and answer together [default: what the model and the KV cache allow]
    #[arg(long, env = "FLAMBEAU_MAX_MODEL_LEN")]
    pub max_model_len: Option<usize>,
    /// Requests that may wait when --max-num-seqs are running; more get a 429 [default: 256]
    #[arg(long, env = "FLAMBEAU_MAX_QUEUED_REQUESTS")]
    pub max_queued_requests: Option<usize>,
    /// Tokens a block of the KV cache, a multiple of 16 [default: 16]
    #[arg(long, env = "FLAMBEAU_BLOCK_SIZE")]
    pub block_size: Option<usize>,
    /// Part of a card's memory to use [default: 0.9]
    #[arg(long, env = "FLAMBEAU_GPU_MEMORY_UTILIZATION", value_name = "PART")]
    pub gpu_memory_utilization: Option<f64>,
    /// Memory for the KV cache [default: 1GiB; on a card what is left of gpu-memory-utilization]
    #[arg(long, env = "FLAMBEAU_KV_CACHE_MEMORY")]
    pub kv_cache_memory: Option<ByteSize>,
    /// Memory for blocks that are thrown out of the KV cache, from where they come back faster than they are computed again
    /// [default: none]
    #[arg(long, env = "FLAMBEAU_KV_OFFLOAD_MEMORY")]
    pub kv_offload_memory: Option<ByteSize>,
    /// What keys and values are rounded to in the KV cache: f16, bf16, or int8 (about half the memory) [default: f16]
    #[arg(long, env = "FLAMBEAU_KV_CACHE_DTYPE", value_name = "DTYPE")]
    pub kv_cache_dtype: Option<String>,
    /// Quantise weights of 16 or 32 bits as they are loaded: q4_k, q4_0 or q8_0 [default: as they are]
    #[arg(long, env = "FLAMBEAU_QUANTIZE", value_name = "TYPE")]
    pub quantize: Option<String>,
    /// Whether requests of one tenant share the KV cache of common beginnings [default: true]
    #[arg(long, env = "FLAMBEAU_PREFIX_CACHE", value_name = "BOOL")]
    pub prefix_cache: Option<bool>,
    /// Whether what comes next is guessed from what was said before and checked a few tokens at a time, which is faster where
    /// answers repeat their prompt; they stay the same [default: true]
    #[arg(long, env = "FLAMBEAU_SPECULATION", value_name = "BOOL")]
    pub speculation: Option<bool>,
    /// A Jinja file to use in place of the model's chat template
    #[arg(long, env = "FLAMBEAU_CHAT_TEMPLATE", value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// A folder with tokenizer.json (and tokenizer_config.json) to use in place of the model's tokenizer
    #[arg(long, env = "FLAMBEAU_TOKENIZER", value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// Seconds that open requests may take after the signal to stop [default: 30]
    #[arg(long, env = "FLAMBEAU_SHUTDOWN_TIMEOUT", value_name = "SECONDS")]
    pub shutdown_timeout: Option<u64>,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML, or a value has the wrong type.
    #[error("{0}")]
    Toml(String),
    /// A key nobody knows.
    #[error("{section}: unknown key {key:?}{hint}")]
    UnknownKey {
        /// The table.
        section: &'static str,
        /// The key.
        key: String,
        /// The nearest known one.
        hint: String,
    },
    /// A setting whose value does not do.
    #[error("{name}: {message}")]
    Value {
        /// The setting, as the file spells it.
        name: &'static str,
        /// What is wrong and what would do.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn value(name: &'static str, message: impl Into<String>) -> Self {
        Self::Value {
            name,
            message: message.into(),
        }
    }
}

impl RawConfig {
    /// Fills what the flags leave open from the TOML file at `path`.
    pub fn with_file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.to_owned(),
            error,
        })?;
        self.with_toml(&text).map_err(|error| match error {
            ConfigError::Toml(message) => {
                ConfigError::Toml(format!("{}: {message}", path.display()))
            }
            other => other,
        })
    }

    fn with_toml(self, text: &str) -> Result<Self, ConfigError> {
        let toml_error = |error: &dyn std::fmt::Display| ConfigError::Toml(error.to_string());
        // Without toml's own excerpt of the file, which may hold keys.
        let mut file: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = |at: usize| text[..at].matches('\n').count() + 1;
            let line = error.span().map_or(0, |span| line(span.start));
            ConfigError::Toml(format!("line {line}: {}", error.message()))
        })?;
        let mut merged = match file.remove("server") {
            None => Table::new(),
            Some(Value::Table(server)) => server,
            Some(_) => return Err(ConfigError::value("server", "must be a table: [server]")),
        };
        check_keys("[server]", &merged, &[])?;
        if let Some(model) = the_model(&mut file)? {
            merged.extend(model);
        }
        for later in ["tiers", "cache", "tenants"] {
            if file.contains_key(later) {
                return Err(ConfigError::value(later, "is not supported yet"));
            }
        }
        if let Some(key) = file.keys().next() {
            return Err(unknown(
                "the configuration",
                key,
                ["server", "models"].into_iter(),
            ));
        }
        let flags = Table::try_from(&self).map_err(|error| toml_error(&error))?;
        merged.extend(flags);
        merged
            .try_into()
            .map_err(|error: toml::de::Error| toml_error(&error))
    }

    /// All keys, as the file spells them.
    fn keys() -> Vec<String> {
        let command = <Self as Args>::augment_args(clap::Command::new("serve"));
        command
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .collect()
    }
}

/// The one `[[models]]` entry, its `name` and `source` under the flags' names.
fn the_model(file: &mut Table) -> Result<Option<Table>, ConfigError> {
    let mut model = match file.remove("models") {
        None => return Ok(None),
        Some(Value::Array(models)) => match <[Value; 1]>::try_from(models) {
            Ok([Value::Table(model)]) => model,
            Ok(_) => return Err(ConfigError::value("models", "must be tables: [[models]]")),
            Err(models) => {
                let message = format!(
                    "{} models are configured; this version serves one",
                    models.len()
                );
                return Err(ConfigError::value("models", message));
            }
        },
        Some(_) => {
            return Err(ConfigError::value(
                "models",
                "must be a list of tables: [[models]]",
            ));
        }
    };
    check_keys("[[models]]", &model, &["name", "source"])?;
    for (key, flag) in [("name", "served_model_name"), ("source", "model")] {
        if let Some(value) = model.remove(key) {
            model.insert(flag.into(), value);
        }
    }
    Ok(Some(model))
}

fn check_keys(section: &'static str, table: &Table, also: &[&str]) -> Result<(), ConfigError> {
    let known = RawConfig::keys();
    let names = || known.iter().map(String::as_str).chain(also.iter().copied());
    match table.keys().find(|key| !names().any(|name| name == *key)) {
        Some(key) => Err(unknown(section, key, names())),
        None => Ok(()),
    }
}

fn unknown<'a>(
    section: &'static str,
    key: &str,
    known: impl Iterator<Item = &'a str>,
) -> ConfigError {
    let nearest =
        known.max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    let hint = nearest
        .map(|name| format!("; the nearest known one is {name}"))
        .unwrap_or_default();
    ConfigError::UnknownKey {
        section,
        key: key.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_models_over_server() {
        let flags = RawConfig {
            port: Some(1),
            ..RawConfig::default()
        };
        let file = "[server]\nport = 2\nthreads = 3\nmax_num_seqs = 4\n[[models]]\nname = \"m\"\nsource = \"s\"\nthreads = 5\nkv_cache_memory = \"2GiB\"\n";
        let merged = flags.with_toml(file).unwrap();
        assert_eq!(
            (merged.port, merged.threads, merged.max_num_seqs),
            (Some(1), Some(5), Some(4))
        );
        assert_eq!(
            (merged.served_model_name.as_deref(), merged.model.as_deref()),
            (Some("m"), Some("s"))
        );
        assert_eq!(merged.kv_cache_memory, Some(ByteSize(2 << 30)));
    }

    #[test]
    fn unknown_keys_name_their_table_and_the_nearest_known_key() {
        let error = |file: &str| {
            RawConfig::default()
                .with_toml(file)
                .unwrap_err()
                .to_string()
        };
        assert!(
            error("[server]\nprot = 1")
                .contains("[server]: unknown key \"prot\"; the nearest known one is port")
        );
        assert!(error("[[models]]\nsauce = 'x'").contains("nearest known one is source"));
        assert!(error("[sever]").contains("nearest known one is server"));
    }

    #[test]
    fn errors_never_repeat_a_key() {
        let error = |file: &str| {
            RawConfig::default()
                .with_toml(file)
                .unwrap_err()
                .to_string()
        };
        for file in [
            "[server]\napi_key = 4815162342",
            "[server]\napi_key = [\"s3cret-4815162342\", 1]",
            "[server]\napi_key = \"s3cret-4815162342\nport = 1",
        ] {
            assert!(!error(file).contains("4815162342"), "{}", error(file));
        }
        let one = RawConfig::default()
            .with_toml("[server]\napi_key = 's3cret'")
            .unwrap();
        assert_eq!(one.api_key.len(), 1);
        assert!(!format!("{one:?}").contains("s3cret"));
    }

    #[test]
    fn wrong_types_and_broken_files_are_errors() {
        for file in [
            "[server]\nport = 'x'",
            "server = 1",
            "models = 1",
            "[[models]]\n[[models]]",
            "[server",
            "[server]\nport = 70000",
        ] {
            assert!(RawConfig::default().with_toml(file).is_err(), "{file}");
        }
    }
}
