//! The settings' file, and what of it flags and environment say otherwise.
//!
//! A setting of the first model is taken from its flag, else the environment, else the first `[[models]]`, else `[server]`. Other
//! models have their `[[models]]`, else `[server]`.

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::cache::RawCache;
use super::remote::{RawRemote, is_url};
use super::routing::RawRouting;
use super::tenants::RawTenant;
use super::tiers::RawTiers;
use super::{ConfigError, RawConfig};

/// All that was typed.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// Of the server, and of its first model.
    pub first: RawConfig,
    /// Of the other models.
    pub others: Vec<RawConfig>,
    /// Of models that other servers serve.
    pub(super) remotes: Vec<RawRemote>,
    pub(super) tiers: Option<RawTiers>,
    pub(super) routing: Option<RawRouting>,
    pub(super) tenants: Vec<RawTenant>,
    pub(super) cache: RawCache,
}

/// What belongs to the server as a whole.
const OF_SERVER: [&str; 7] = [
    "host",
    "port",
    "api_key",
    "insecure_no_auth",
    "embedding_model",
    "shutdown_timeout",
    "fallback_model",
];
/// What belongs to one model and means nothing for another.
pub(super) const OF_ONE_MODEL: [&str; 12] = [
    "model",
    "served_model_name",
    "aliases",
    "lora_modules",
    "chat_template",
    "tokenizer",
    "quantize",
    "max_model_len",
    "draft_model",
    "draft_threads",
    "cost",
    "quality",
];

impl From<RawConfig> for Typed {
    fn from(first: RawConfig) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }
}

impl RawConfig {
    /// Fills what the flags leave open from the TOML file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has a key or a type that nobody knows.
    pub fn with_file(self, path: &Path) -> Result<Typed, ConfigError> {
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

    pub(super) fn with_toml(self, text: &str) -> Result<Typed, ConfigError> {
        // Without toml's own excerpt of the file, which may hold keys.
        let mut file: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = |at: usize| text[..at].matches('\n').count() + 1;
            let line = error.span().map_or(0, |span| line(span.start));
            ConfigError::Toml(format!("line {line}: {}", error.message()))
        })?;
        let server = match file.remove("server") {
            None => Table::new(),
            Some(Value::Table(server)) => server,
            Some(_) => return Err(ConfigError::value("server", "must be a table: [server]")),
        };
        check_keys("[server]", &server, &[])?;
        let mut models = models(&mut file)?.into_iter();
        let mut first = server.clone();
        first.extend(of_flags(models.next().unwrap_or_default())?);
        first.extend(Table::try_from(&self).map_err(toml_error)?);
        let (mut others, mut remotes) = (Vec::new(), Vec::new());
        for (i, model) in models.enumerate() {
            let source = model.get("source").and_then(Value::as_str);
            let is_remote = source.is_some_and(is_url);
            let read = match is_remote {
                true => typed(model).map(|remote| remotes.push(remote)),
                false => other(&server, model).map(|other| others.push(other)),
            };
            read.map_err(|error| error.of(format!("models[{}]", i + 1)))?;
        }
        let typed = Typed {
            first: typed(first)?,
            others,
            remotes,
            tiers: file.remove("tiers").map(typed).transpose()?,
            routing: file.remove("routing").map(RawRouting::typed).transpose()?,
            cache: match file.remove("cache") {
                Some(cache) => typed(cache)?,
                None => RawCache::default(),
            },
            tenants: match file.remove("tenants") {
                Some(tenants) => typed(tenants)?,
                None => Vec::new(),
            },
        };
        match file.keys().next() {
            None => Ok(typed),
            Some(key) => {
                let known =
                    ["server", "models", "tiers", "routing", "tenants", "cache"].into_iter();
                Err(ConfigError::unknown_key("the configuration", key, known))
            }
        }
    }
}

fn toml_error(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::Toml(error.to_string())
}

fn typed<T: for<'de> Deserialize<'de>>(value: impl Into<Value>) -> Result<T, ConfigError> {
    value.into().try_into().map_err(toml_error)
}

/// A model that is not the first.
fn other(server: &Table, model: Table) -> Result<RawConfig, ConfigError> {
    if let Some(key) = OF_SERVER.into_iter().find(|&key| model.contains_key(key)) {
        let message = "is said once, in [server] or in the first of [[models]]";
        return Err(ConfigError::value(key, message));
    }
    let model = of_flags(model)?;
    let mut merged = server.clone();
    merged.retain(|key, _| !OF_SERVER.contains(&key) && !OF_ONE_MODEL.contains(&key));
    merged.extend(model);
    typed(merged)
}

/// A model that is served here, its `name` and `source` under the flags' names.
fn of_flags(mut model: Table) -> Result<Table, ConfigError> {
    check_keys("[[models]]", &model, &["name", "source", "cost", "quality"])?;
    for (key, flag) in [("name", "served_model_name"), ("source", "model")] {
        if let Some(value) = model.remove(key) {
            model.insert(flag.into(), value);
        }
    }
    Ok(model)
}

/// The `[[models]]`.
fn models(file: &mut Table) -> Result<Vec<Table>, ConfigError> {
    let tables = || ConfigError::value("models", "must be a list of tables: [[models]]");
    let models = match file.remove("models") {
        None => return Ok(Vec::new()),
        Some(Value::Array(models)) => models,
        Some(_) => return Err(tables()),
    };
    let model = |value| match value {
        Value::Table(model) => Ok(model),
        _ => Err(tables()),
    };
    models.into_iter().map(model).collect()
}

fn check_keys(section: &'static str, table: &Table, also: &[&str]) -> Result<(), ConfigError> {
    let known = RawConfig::keys();
    let names = || known.iter().map(String::as_str).chain(also.iter().copied());
    match table.keys().find(|key| !names().any(|name| name == *key)) {
        Some(key) => Err(ConfigError::unknown_key(section, key, names())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ByteSize;
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_models_over_server() {
        let flags = RawConfig {
            port: Some(1),
            ..RawConfig::default()
        };
        let file = "[server]\nport = 2\nthreads = 3\nmax_num_seqs = 4\n[[models]]\nname = \"m\"\nsource = \"s\"\nthreads = 5\nkv_cache_memory = \"2GiB\"\n";
        let merged = flags.with_toml(file).unwrap().first;
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
            .unwrap()
            .first;
        assert_eq!(one.api_key.len(), 1);
        assert!(!format!("{one:?}").contains("s3cret"));
    }

    #[test]
    fn wrong_types_and_broken_files_are_errors() {
        for file in [
            "[server]\nport = 'x'",
            "server = 1",
            "models = 1",
            "models = [1]",
            "tiers = 1",
            "[tiers]\nchain = 'x'",
            "[tenants]",
            "[[tenants]]\nname = 'x'\nfallbck = true",
            "[server",
            "[server]\nport = 70000",
        ] {
            assert!(RawConfig::default().with_toml(file).is_err(), "{file}");
        }
    }

    #[test]
    fn other_models_take_the_servers_settings_but_not_what_belongs_to_the_first() {
        let flags = RawConfig {
            threads: Some(7),
            ..RawConfig::default()
        };
        let file = "[server]\nport = 2\nmax_num_seqs = 4\nquantize = 'q8_0'\n[[models]]\nname = 'a'\nmax_num_seqs = 5\n[[models]]\nname = 'b'\nsource = 'c'\nthreads = 3\n[[models]]\nsource = 'd'\n";
        let typed = flags.with_toml(file).unwrap();
        let [b, d] = &typed.others[..] else {
            panic!("{:?}", typed.others)
        };
        assert_eq!(
            (typed.first.max_num_seqs, typed.first.threads),
            (Some(5), Some(7))
        );
        assert_eq!(
            (b.max_num_seqs, b.threads, &b.quantize, b.port),
            (Some(4), Some(3), &None, None)
        );
        assert_eq!(
            (b.model.as_deref(), d.model.as_deref()),
            (Some("c"), Some("d"))
        );
        let twice = "[[models]]\n[[models]]\nport = 3";
        let error = RawConfig::default().with_toml(twice).unwrap_err();
        assert_eq!(
            error.to_string(),
            "models[1]: port: is said once, in [server] or in the first of [[models]]"
        );
    }
}
