//! What the settings of one model mean.

use std::path::PathBuf;
use std::time::Duration;

use super::batch_invariant::batch_invariant;
use super::range::{milliseconds, part, up_to, within};
use super::remote::is_url;
use super::step_limits::StepLimits;
use super::threads::{available_cores, default_threads};
use super::tiers::{CACHE, STATIC};
use super::{ByteSize, ConfigError, DeviceChoice, Quantize, RawConfig};

/// The settings of one model and its engine.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// Card, path or hub id.
    pub source: String,
    /// What requests call it; else its card's id or file's stem.
    pub served_model_name: Option<String>,
    /// What requests may call it as well.
    pub aliases: Vec<String>,
    /// LoRA adapters: what requests call each, and its folder.
    pub lora_modules: Vec<(String, String)>,
    /// Threads that compute.
    pub threads: usize,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Whether a row's bits are the same whoever shares the batch; else, on a card, cuBLAS multiplies what it can.
    pub batch_invariant: bool,
    /// Part of a card's memory to use.
    pub gpu_memory_utilization: f64,
    /// How large steps are on the CPU.
    pub on_cpu: StepLimits,
    /// How large they are on a card.
    pub on_card: StepLimits,
    /// How long a step may take while answers are being generated.
    pub target_itl: Option<Duration>,
    /// In which time the first token must come, where a request does not say.
    pub default_deadline: Option<Duration>,
    /// Tokens a sequence, when given.
    pub max_model_len: Option<usize>,
    /// Requests that may wait.
    pub max_queued_requests: usize,
    /// Tokens a block.
    pub block_size: usize,
    /// Memory for the KV cache.
    pub kv_cache_memory: Option<ByteSize>,
    /// Memory for blocks that are thrown out of it.
    pub kv_offload_memory: ByteSize,
    /// What keys and values are rounded to.
    pub kv_cache_dtype: KvCacheDtype,
    /// What weights of floats are quantised to.
    pub quantize: Option<Quantize>,
    /// Whether common beginnings share blocks.
    pub prefix_cache: bool,
    /// Whether steps compute guesses of what comes next.
    pub speculation: bool,
    /// Whether it is loaded when it is first asked, rather than at the start.
    pub load_on_demand: bool,
    /// How long nobody must ask for it until its memory is given back.
    pub unload_after: Option<Duration>,
    /// Overrides the model's.
    pub chat_template: Option<PathBuf>,
    /// Overrides the model's.
    pub tokenizer: Option<PathBuf>,
    /// What a million of its tokens cost, in whatever the operator counts.
    pub cost: Option<f64>,
    /// How good its answers are by the operator's own measure, in 0..=1.
    pub quality: Option<f64>,
}

/// A dtype of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvCacheDtype {
    /// `f16`.
    F16,
    /// `bf16`.
    Bf16,
    /// `int8`.
    Int8,
}

/// The model that `serve` takes when none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m-instruct";

/// Names that stand for something else in a chain of tiers.
pub(super) const RESERVED: [&str; 2] = [CACHE, STATIC];

impl ModelSettings {
    /// Whether it is not always loaded.
    pub fn is_on_demand(&self) -> bool {
        self.load_on_demand || self.unload_after.is_some()
    }

    /// Whether settings mean it by `name`: its own name or, where it has none, its source.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.served_model_name.as_ref().unwrap_or(&self.source) == name
    }
}

impl RawConfig {
    /// What is said of a model, but for what belongs to the server.
    pub(super) fn model_settings(self) -> Result<ModelSettings, ConfigError> {
        // On the CPU longer steps compute no faster, and everybody's first token waits for the step's end.
        let (on_cpu, on_card) = (self.step_limits(64, 256)?, self.step_limits(256, 2048)?);
        let device = DeviceChoice::named(self.device.as_deref().unwrap_or("auto"))?;
        let settings = ModelSettings {
            source: self.model.unwrap_or_else(|| DEFAULT_MODEL.into()),
            served_model_name: self.served_model_name,
            aliases: self.aliases,
            lora_modules: self
                .lora_modules
                .iter()
                .map(|text| lora_module(text))
                .collect::<Result<_, _>>()?,
            threads: within(
                "threads",
                self.threads
                    .unwrap_or_else(|| default_threads(available_cores())),
                1,
                1024,
            )?,
            on_cpu,
            on_card,
            target_itl: milliseconds("target_itl_ms", self.target_itl_ms, 600_000)?,
            default_deadline: milliseconds(
                "default_deadline_ms",
                self.default_deadline_ms,
                86_400_000,
            )?,
            max_model_len: self
                .max_model_len
                .map(|len| within("max_model_len", len, 2, 1 << 24))
                .transpose()?,
            max_queued_requests: within(
                "max_queued_requests",
                self.max_queued_requests.unwrap_or(256),
                0,
                1 << 20,
            )?,
            block_size: within("block_size", self.block_size.unwrap_or(16), 16, 4096)?,
            device,
            batch_invariant: batch_invariant(self.batch_invariant.as_deref(), device)?,
            gpu_memory_utilization: part(
                "gpu_memory_utilization",
                self.gpu_memory_utilization.unwrap_or(0.9),
            )?,
            kv_cache_memory: self.kv_cache_memory,
            kv_offload_memory: self.kv_offload_memory.unwrap_or(ByteSize(0)),
            prefix_cache: self.prefix_cache.unwrap_or(true),
            speculation: self.speculation.unwrap_or(true),
            kv_cache_dtype: kv_cache_dtype(self.kv_cache_dtype.as_deref())?,
            quantize: self.quantize.as_deref().map(Quantize::named).transpose()?,
            load_on_demand: self.load_on_demand.unwrap_or(false),
            unload_after: self
                .unload_after
                .map(|seconds| within("unload_after", seconds, 1, 365 * 86_400))
                .transpose()?
                .map(|seconds| Duration::from_secs(seconds as u64)),
            chat_template: self.chat_template,
            tokenizer: self.tokenizer,
            cost: up_to("cost", self.cost, f64::INFINITY)?,
            quality: up_to("quality", self.quality, 1.0)?,
        };
        if !settings.block_size.is_multiple_of(16) {
            return Err(ConfigError::value(
                "block_size",
                format!("{} is not a multiple of 16", settings.block_size),
            ));
        }
        if settings.kv_offload_memory.0 > 0 && !settings.prefix_cache {
            let message = "without prefix_cache no block is found again: leave one of the two out";
            return Err(ConfigError::value("kv_offload_memory", message));
        }
        if settings.is_on_demand() && !settings.lora_modules.is_empty() {
            let message = "adapters are for a model that is always loaded: leave out load_on_demand and unload_after, or these";
            return Err(ConfigError::value("lora_modules", message));
        }
        if is_url(&settings.source) {
            let message = "is another server, and the first of [[models]] is served here: put one that is before it";
            return Err(ConfigError::value("source", message));
        }
        let names = settings.served_model_name.iter().chain(&settings.aliases);
        if let Some(name) = names.into_iter().find(|name| RESERVED.contains(&&***name)) {
            let message = format!("{name:?} means something else in [tiers]: take another name");
            return Err(ConfigError::value("name", message));
        }
        Ok(settings)
    }
}

fn lora_module(text: &str) -> Result<(String, String), ConfigError> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok((name.to_owned(), folder.to_owned()))
        }
        _ => Err(ConfigError::value(
            "lora_modules",
            format!("{text:?} is not NAME=FOLDER"),
        )),
    }
}

fn kv_cache_dtype(dtype: Option<&str>) -> Result<KvCacheDtype, ConfigError> {
    match dtype {
        None | Some("f16") => Ok(KvCacheDtype::F16),
        Some("bf16") => Ok(KvCacheDtype::Bf16),
        Some("int8") => Ok(KvCacheDtype::Int8),
        Some(other) => Err(ConfigError::value(
            "kv_cache_dtype",
            format!("{other:?} is not known; use f16, bf16 or int8"),
        )),
    }
}
