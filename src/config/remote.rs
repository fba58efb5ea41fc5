//! Models that other servers serve: `[[models]]` whose source is a URL.

use std::time::Duration;

use serde::Deserialize;

use super::model_settings::RESERVED;
use super::range::{milliseconds, up_to, within};
use super::secret::one_or_many;
use super::{ConfigError, NamedKey, Secret};

/// Such a model as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRemote {
    pub name: Option<String>,
    pub source: String,
    #[serde(deserialize_with = "one_or_many")]
    pub aliases: Vec<String>,
    remote_model: Option<String>,
    #[serde(deserialize_with = "one_or_many")]
    remote_api_key: Vec<Secret>,
    connect_timeout_ms: Option<usize>,
    first_token_timeout_ms: Option<usize>,
    idle_timeout_ms: Option<usize>,
    max_retries: Option<usize>,
    cost: Option<f64>,
    quality: Option<f64>,
}

/// How a model of another server is reached, and what it is called here.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// What requests call it.
    pub name: String,
    /// What requests may call it as well.
    pub aliases: Vec<String>,
    /// The root of an OpenAI-compatible server.
    pub url: String,
    /// What it is called there; else the first that is listed there.
    pub model: Option<String>,
    /// The key that opens that server.
    pub api_key: Option<NamedKey>,
    /// What a connection may take.
    pub connect_timeout: Duration,
    /// Within which time the first piece of an answer must come.
    pub first_token_timeout: Duration,
    /// What may pass between two chunks of it.
    pub idle_timeout: Duration,
    /// How often it is asked again where nothing came.
    pub max_retries: u32,
    /// What a million of its tokens cost, in whatever the operator counts.
    pub cost: Option<f64>,
    /// How good its answers are by the operator's own measure, in 0..=1.
    pub quality: Option<f64>,
}

/// Whether a model's source is another server.
pub(super) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

impl RemoteSettings {
    /// All that requests may call it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .map(String::as_str)
    }
}

impl RawRemote {
    /// `source` under the name `fallback`, all else as it is when nothing is said.
    pub fn fallback(source: &str) -> Self {
        Self {
            name: Some("fallback".into()),
            source: source.to_owned(),
            ..Self::default()
        }
    }

    pub fn resolve(self) -> Result<RemoteSettings, ConfigError> {
        let name = self.name.filter(|name| !name.is_empty());
        let message =
            "is missing: a model of another server has no name but the one that it is given here";
        let name = name.ok_or_else(|| ConfigError::value("name", message))?;
        if RESERVED.contains(&&*name) {
            let message = format!("{name:?} means something else in [tiers]: take another name");
            return Err(ConfigError::value("name", message));
        }
        let behind = self.source.split_once("://");
        let behind = behind.map_or("", |(_, behind)| behind);
        let authority = behind.split('/').next().unwrap_or_default();
        // Not repeated: it may be what opens that server.
        if authority.contains('@') || behind.contains(['?', '#']) {
            let message = "is to be the server's root alone; give the key as remote_api_key";
            return Err(ConfigError::value("source", message));
        }
        let timeout = |key, value, default: u64| {
            let value = milliseconds(key, value, 86_400_000)?;
            Ok(value.unwrap_or(Duration::from_secs(default)))
        };
        if self.remote_api_key.len() > 1 {
            let message = "are several; one is sent";
            return Err(ConfigError::value("remote_api_key", message));
        }
        let key = self.remote_api_key.first();
        let key = key.map(|key| NamedKey::of("remote_api_key", &key.0));
        Ok(RemoteSettings {
            name,
            aliases: self.aliases,
            url: self.source,
            model: self.remote_model,
            api_key: key.transpose()?,
            connect_timeout: timeout("connect_timeout_ms", self.connect_timeout_ms, 5)?,
            first_token_timeout: timeout(
                "first_token_timeout_ms",
                self.first_token_timeout_ms,
                60,
            )?,
            idle_timeout: timeout("idle_timeout_ms", self.idle_timeout_ms, 60)?,
            max_retries: within("max_retries", self.max_retries.unwrap_or(2), 0, 10)? as u32,
            cost: up_to("cost", self.cost, f64::INFINITY)?,
            quality: up_to("quality", self.quality, 1.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::RawConfig;

    #[test]
    fn a_source_that_is_a_url_is_another_servers_model() {
        let file = "[server]\nthreads = 2\n[[models]]\nname = 'a'\n[[models]]\nname = 'big'\nsource = 'https://host/v1'\nremote_model = 'llama'\nremote_api_key = 's3cret-48'\nmax_retries = 1\n[tiers]\nchain = ['big', 'a']\n[[tenants]]\nname = 'default'\nfallback = true\n";
        let config = RawConfig::default()
            .with_toml(file)
            .unwrap()
            .resolve()
            .unwrap();
        assert_eq!(config.models.len(), 1);
        let remote = &config.remotes[0];
        assert_eq!((&*remote.name, &*remote.url), ("big", "https://host/v1"));
        assert_eq!(
            (remote.model.as_deref(), remote.max_retries),
            (Some("llama"), 1)
        );
        assert_eq!(config.tiers.as_ref().unwrap().chain, [1, 0]);
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn what_means_nothing_for_another_servers_model_is_an_error_that_names_it() {
        for (models, says) in [
            (
                "[[models]]\n[[models]]\nname = 'b'\nsource = 'http://h'\nthreads = 2",
                "threads",
            ),
            (
                "[[models]]\n[[models]]\nsource = 'http://h'",
                "name: is missing",
            ),
            (
                "[[models]]\nname = 'b'\nsource = 'http://h'",
                "the first of [[models]]",
            ),
            (
                "[[models]]\n[[models]]\nname = 'static'\nsource = 'http://h'",
                "another name",
            ),
            (
                "[[models]]\n[[models]]\nname = 'b'\nsource = 'http://me:pw@h'",
                "remote_api_key",
            ),
            (
                "[[models]]\n[[models]]\nname = 'b'\nsource = 'http://h/v1?key=pw'",
                "remote_api_key",
            ),
            (
                "[[models]]\n[[models]]\nname = 'b'\nsource = 'http://h'\nmax_retries = 11",
                "0..=10",
            ),
        ] {
            let typed = RawConfig::default().with_toml(models);
            let error = typed.and_then(|typed| typed.resolve()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(says) && !error.contains("pw"), "{error}");
        }
    }
}
