//! What was typed. One struct is the flags, the environment and the file: a setting is added in one place.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

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
    /// Other names that requests may call the model by; may be given several times
    #[arg(
        long,
        env = "FLAMBEAU_ALIASES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub aliases: Vec<String>,
    /// A cheaper model, served as "fallback" with the first one's settings, that answers when the first would be too late or has failed;
    /// the file's table tiers says more
    #[arg(long, env = "FLAMBEAU_FALLBACK_MODEL", value_name = "MODEL")]
    pub fallback_model: Option<String>,
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
    /// Load the model when it is first asked, rather than at the start
    #[arg(long, env = "FLAMBEAU_LOAD_ON_DEMAND", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub load_on_demand: Option<bool>,
    /// Give the model's memory back when it was not asked for so many seconds; the next request has it loaded again [default: never]
    #[arg(long, env = "FLAMBEAU_UNLOAD_AFTER", value_name = "SECONDS")]
    pub unload_after: Option<usize>,
    /// The name of another, smaller model that is served here and has the same tokenizer: on cores that are idle while a card computes, it
    /// guesses what this one says next, which is checked as other guesses are [default: none]
    #[arg(long, env = "FLAMBEAU_DRAFT_MODEL", value_name = "NAME")]
    pub draft_model: Option<String>,
    /// Threads that compute the guesses of --draft-model [default: half of the cores, up to 8]
    #[arg(long, env = "FLAMBEAU_DRAFT_THREADS", value_name = "THREADS")]
    pub draft_threads: Option<usize>,
    /// A Jinja file to use in place of the model's chat template
    #[arg(long, env = "FLAMBEAU_CHAT_TEMPLATE", value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// A folder with tokenizer.json (and tokenizer_config.json) to use in place of the model's tokenizer
    #[arg(long, env = "FLAMBEAU_TOKENIZER", value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// See [`ModelSettings::cost`](super::ModelSettings::cost); said in `[[models]]` alone
    #[arg(skip)]
    pub cost: Option<f64>,
    /// See [`ModelSettings::quality`](super::ModelSettings::quality); said in `[[models]]` alone
    #[arg(skip)]
    pub quality: Option<f64>,
    /// Seconds that open requests may take after the signal to stop [default: 30]
    #[arg(long, env = "FLAMBEAU_SHUTDOWN_TIMEOUT", value_name = "SECONDS")]
    pub shutdown_timeout: Option<u64>,
}

impl RawConfig {
    /// All keys, as the file spells them.
    pub(super) fn keys() -> Vec<String> {
        let command = <Self as Args>::augment_args(clap::Command::new("serve"));
        command
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .collect()
    }
}
