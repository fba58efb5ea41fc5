//! What the settings mean: every default filled in, every contradiction refused.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::batch_invariant::batch_invariant;
use super::step_limits::StepLimits;
use super::threads::{available_cores, default_threads};
use super::{ByteSize, ConfigError, DeviceChoice, Embeddings, NamedKey, Quantize, RawConfig};

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Card, path or hub id.
    pub model: String,
    /// What requests call it; else its card's id or file's stem.
    pub served_model_name: Option<String>,
    /// What is behind `/v1/embeddings`.
    pub embeddings: Embeddings,
    /// Where to listen.
    pub address: SocketAddr,
    /// Keys that open the server; none opens it to this machine alone.
    pub api_keys: Vec<NamedKey>,
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
    /// Overrides the model's.
    pub chat_template: Option<PathBuf>,
    /// Overrides the model's.
    pub tokenizer: Option<PathBuf>,
    /// For open requests, after the signal to stop.
    pub shutdown_timeout: Duration,
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

impl Config {
    /// Names that keys have; without keys everybody is one tenant.
    pub fn num_tenants(&self) -> usize {
        let names: HashSet<&str> = self.api_keys.iter().map(|key| key.name.as_str()).collect();
        names.len().max(1)
    }
}

impl RawConfig {
    /// Checks everything once. Reads the environment only for keys given as `env:VARIABLE`.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        // On the CPU longer steps compute no faster, and everybody's first token waits for the step's end.
        let (on_cpu, on_card) = (self.step_limits(64, 256)?, self.step_limits(256, 2048)?);
        let device = DeviceChoice::named(self.device.as_deref().unwrap_or("auto"))?;
        let config = Config {
            model: self.model.unwrap_or_else(|| DEFAULT_MODEL.into()),
            served_model_name: self.served_model_name,
            embeddings: Embeddings::named(self.embedding_model),
            address: SocketAddr::new(host(self.host.as_deref())?, self.port.unwrap_or(8080)),
            api_keys: self
                .api_key
                .iter()
                .enumerate()
                .map(|(i, key)| NamedKey::parse(i, &key.0))
                .collect::<Result<_, _>>()?,
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
            chat_template: self.chat_template,
            tokenizer: self.tokenizer,
            shutdown_timeout: Duration::from_secs(self.shutdown_timeout.unwrap_or(30)),
        };
        if !config.block_size.is_multiple_of(16) {
            return Err(ConfigError::value(
                "block_size",
                format!("{} is not a multiple of 16", config.block_size),
            ));
        }
        if config.kv_offload_memory.0 > 0 && !config.prefix_cache {
            let message = "without prefix_cache no block is found again: leave one of the two out";
            return Err(ConfigError::value("kv_offload_memory", message));
        }
        if !config.address.ip().is_loopback()
            && config.api_keys.is_empty()
            && self.insecure_no_auth != Some(true)
        {
            let message = format!(
                "{} can be reached from other machines, but there is no api_key: add one, or insist with insecure_no_auth",
                config.address.ip()
            );
            return Err(ConfigError::value("host", message));
        }
        Ok(config)
    }
}

fn milliseconds(
    name: &'static str,
    value: Option<usize>,
    max: usize,
) -> Result<Option<Duration>, ConfigError> {
    let value = value.map(|ms| within(name, ms, 1, max)).transpose()?;
    Ok(value.map(|ms| Duration::from_millis(ms as u64)))
}

pub(super) fn within(
    name: &'static str,
    value: usize,
    min: usize,
    max: usize,
) -> Result<usize, ConfigError> {
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(ConfigError::value(
            name,
            format!("{value} is not in {min}..={max}"),
        )),
    }
}

/// Above zero, up to the whole.
fn part(name: &'static str, value: f64) -> Result<f64, ConfigError> {
    match value > 0.0 && value <= 1.0 {
        true => Ok(value),
        false => Err(ConfigError::value(
            name,
            format!("{value} is not above 0 and up to 1"),
        )),
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

fn host(host: Option<&str>) -> Result<IpAddr, ConfigError> {
    match host {
        None | Some("localhost") => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(text) => text.parse().map_err(|_| {
            ConfigError::value(
                "host",
                format!("{text:?} is not an IP address; use 127.0.0.1, 0.0.0.0 or ::"),
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    fn keys(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret((*text).into())).collect()
    }

    fn message(raw: RawConfig) -> String {
        raw.resolve().unwrap_err().to_string()
    }

    #[test]
    fn defaults_stand_and_listen_on_loopback_only() {
        let config = RawConfig::default().resolve().unwrap();
        assert_eq!(config.address.to_string(), "127.0.0.1:8080");
        assert_eq!(config.model, "smollm2-135m-instruct");
    }

    #[test]
    fn few_cores_all_compute_and_of_many_one_is_left_to_the_front() {
        let threads = [1, 2, 7, 8, 64].map(default_threads);
        assert_eq!(threads, [1, 2, 7, 7, 63]);
    }

    #[test]
    fn an_open_address_needs_a_key_or_insistence() {
        let open = RawConfig {
            host: Some("0.0.0.0".into()),
            ..RawConfig::default()
        };
        assert!(message(open.clone()).starts_with("host: "));
        assert!(
            RawConfig {
                insecure_no_auth: Some(true),
                ..open.clone()
            }
            .resolve()
            .is_ok()
        );
        assert!(
            RawConfig {
                api_key: keys(&["team=secret"]),
                ..open
            }
            .resolve()
            .is_ok()
        );
    }

    #[test]
    fn keys_have_names_and_are_never_printed() {
        let raw = RawConfig {
            api_key: keys(&["secret-1", "team=secret-2"]),
            ..RawConfig::default()
        };
        let config = raw.resolve().unwrap();
        let names: Vec<_> = config
            .api_keys
            .iter()
            .map(|key| key.name.as_str())
            .collect();
        assert_eq!(names, ["key-1", "team"]);
        assert!(!format!("{config:?}").contains("secret"));
        assert!(
            message(RawConfig {
                api_key: keys(&["env:FLAMBEAU_NO_SUCH_VARIABLE"]),
                ..RawConfig::default()
            })
            .contains("is not set")
        );
    }

    #[test]
    fn contradictions_name_the_setting() {
        assert!(
            message(RawConfig {
                max_num_seqs: Some(600),
                max_num_batched_tokens: Some(512),
                ..RawConfig::default()
            })
            .starts_with("max_num_batched_tokens: ")
        );
        assert!(
            message(RawConfig {
                target_itl_ms: Some(0),
                ..RawConfig::default()
            })
            .starts_with("target_itl_ms: ")
        );
        assert!(
            message(RawConfig {
                block_size: Some(24),
                ..RawConfig::default()
            })
            .starts_with("block_size: ")
        );
        assert!(
            message(RawConfig {
                device: Some("cuda:x".into()),
                ..RawConfig::default()
            })
            .starts_with("device: ")
        );
        for part in [0.0, 1.5, f64::NAN] {
            assert!(
                message(RawConfig {
                    gpu_memory_utilization: Some(part),
                    ..RawConfig::default()
                })
                .starts_with("gpu_memory_utilization: ")
            );
        }
        assert!(
            message(RawConfig {
                kv_cache_dtype: Some("fp8".into()),
                ..RawConfig::default()
            })
            .starts_with("kv_cache_dtype: ")
        );
        assert!(
            message(RawConfig {
                kv_offload_memory: Some(ByteSize(1 << 30)),
                prefix_cache: Some(false),
                ..RawConfig::default()
            })
            .starts_with("kv_offload_memory: ")
        );
        assert!(
            message(RawConfig {
                threads: Some(0),
                ..RawConfig::default()
            })
            .starts_with("threads: ")
        );
    }
}
