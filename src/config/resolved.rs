//! What the settings mean: every default filled in, every contradiction refused.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use toml::Table;

use super::draft::RawDraft;
use super::file::{OF_ONE_MODEL, Typed};
use super::remote::{RawRemote, is_url};
use super::{
    Cache, Class, ConfigError, Draft, Embeddings, ModelSettings, NamedKey, RawConfig,
    RemoteSettings, Routing, Tenant, Tiers, tenants,
};

/// Who sends requests without a key.
const DEFAULT_TENANT: &str = "default";

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its models; the first answers requests that name none.
    pub models: Vec<ModelSettings>,
    /// Those that other servers serve.
    pub remotes: Vec<RemoteSettings>,
    /// Who drafts for whom.
    pub drafts: Vec<Draft>,
    /// Who answers instead of it.
    pub tiers: Option<Tiers>,
    /// Which of them answers requests that leave it open.
    pub routing: Option<Routing>,
    /// Which answers are kept.
    pub cache: Cache,
    /// Whose requests may have what.
    pub tenants: Vec<Tenant>,
    /// What a tenant may have that is none of them.
    pub default_tenant: Tenant,
    /// What is behind `/v1/embeddings`.
    pub embeddings: Embeddings,
    /// Where to listen.
    pub address: SocketAddr,
    /// Keys that open the server; none opens it to this machine alone.
    pub api_keys: Vec<NamedKey>,
    /// For open requests, after the signal to stop.
    pub shutdown_timeout: Duration,
}

impl Config {
    /// Names that keys have; without keys everybody is one tenant.
    pub fn num_tenants(&self) -> usize {
        let names: HashSet<&str> = self.api_keys.iter().map(|key| key.name.as_str()).collect();
        names.len().max(1)
    }
}

impl RawConfig {
    /// As [`Typed::resolve`], where there is no file.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        Typed::from(self).resolve()
    }
}

impl Typed {
    /// Checks everything once. Reads the environment only for keys given as `env:VARIABLE`.
    pub fn resolve(mut self) -> Result<Config, ConfigError> {
        let fallback = self.first.fallback_model.take();
        let has_others = !self.others.is_empty() || !self.remotes.is_empty();
        if fallback.is_some() && (self.tiers.is_some() || has_others) {
            let message = "is for where the file has no [tiers] and no other models: say there which model falls back to which";
            return Err(ConfigError::value("fallback_model", message));
        }
        let mut default_tenant = Tenant {
            name: String::new(),
            class: Class::default(),
            slo_ttft: None,
            // Who starts a server with that flag wants it to be used.
            fallback: fallback.is_some(),
            may_be_static: false,
            semantic_cache: None,
            cache_details: true,
            is_admin: true,
        };
        if let Some(source) = &fallback {
            match is_url(source) {
                true => self.remotes.push(RawRemote::fallback(source)),
                false => self.others.push(fallback_of(&self.first, source)?),
            }
        }
        let first = self.first.clone().model_settings()?;
        let mut models = vec![first];
        let called = |i: usize, name: &Option<String>| match name {
            Some(name) => format!("model {name:?}"),
            None => format!("models[{i}]"),
        };
        let raw_drafts = std::iter::once(&self.first).chain(&self.others);
        let raw_drafts: Vec<RawDraft> = raw_drafts.map(RawDraft::of).collect();
        for (i, raw) in self.others.into_iter().enumerate() {
            let of = called(i + 1, &raw.served_model_name);
            models.push(raw.model_settings().map_err(|error| error.of(of))?);
        }
        let mut remotes = Vec::new();
        for (i, raw) in self.remotes.into_iter().enumerate() {
            let of = match &raw.name {
                Some(name) => format!("model {name:?}"),
                None => format!("model {} of another server", i + 1),
            };
            remotes.push(raw.resolve().map_err(|error| error.of(of))?);
        }
        let mut drafts = Vec::new();
        for (i, raw) in raw_drafts.into_iter().enumerate() {
            let draft = raw.resolve(i, &models, &remotes);
            let draft = draft.map_err(|error| match i {
                0 => error,
                _ => error.of(called(i, &models[i].served_model_name)),
            });
            drafts.extend(draft?);
        }
        let (tenants, mut tenant_keys) = tenants::resolve(self.tenants)?;
        if fallback.is_some() && !tenants.is_empty() && !tenants.iter().any(|t| t.fallback) {
            let message = "no tenant may be answered by another model: say fallback = true in its [[tenants]]";
            return Err(ConfigError::value("fallback_model", message));
        }
        let of_tenants = tenants.iter().filter_map(|tenant| tenant.semantic_cache);
        let speculates = models.iter().any(|model| model.speculation);
        let cache = self.cache.resolve(of_tenants, speculates)?;
        let tiers = match (self.tiers, &fallback) {
            (Some(tiers), _) => {
                let keeps_answers = cache.exact.is_some();
                Some(tiers.resolve(&models, &remotes, &tenants, keeps_answers)?)
            }
            (None, Some(_)) => Some(Tiers::of_two(&models[0])),
            (None, None) => None,
        };
        let routing = self.routing.map(|raw| raw.resolve(&models, &remotes));
        let routing = routing.transpose()?;
        if tiers.is_none()
            && let Some(tenant) = tenants.iter().find(|t| t.fallback || t.may_be_static)
        {
            let message = "without [tiers] there is nothing to fall back to";
            let error = ConfigError::value("fallback", message);
            return Err(error.of(format!("tenant {:?}", tenant.name)));
        }
        let first = self.first;
        let keys = first.api_key.iter().enumerate();
        let mut api_keys: Vec<NamedKey> = keys
            .map(|(i, key)| NamedKey::parse(i, &key.0))
            .collect::<Result<_, _>>()?;
        // Whose key is the only one, or who needs none, is who runs the server; several are tenants of each other.
        let names: HashSet<&str> = api_keys.iter().map(|key| &*key.name).collect();
        default_tenant.is_admin = names.len() <= 1;
        api_keys.append(&mut tenant_keys);
        check_keys(&api_keys, &tenants)?;
        let address = SocketAddr::new(host(first.host.as_deref())?, first.port.unwrap_or(8080));
        if !address.ip().is_loopback()
            && api_keys.is_empty()
            && first.insecure_no_auth != Some(true)
        {
            let message = format!(
                "{} can be reached from other machines, but there is no api_key: add one, or insist with insecure_no_auth",
                address.ip()
            );
            return Err(ConfigError::value("host", message));
        }
        Ok(Config {
            models,
            remotes,
            drafts,
            tiers,
            routing,
            tenants,
            default_tenant,
            cache,
            embeddings: Embeddings::named(first.embedding_model),
            address,
            api_keys,
            shutdown_timeout: Duration::from_secs(first.shutdown_timeout.unwrap_or(30)),
        })
    }
}

/// Each key is somebody's, and each tenant somebody's.
fn check_keys(keys: &[NamedKey], tenants: &[Tenant]) -> Result<(), ConfigError> {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for key in keys {
        let owner = owners.insert(&key.key, &key.name);
        if owner.is_some_and(|owner| owner != key.name) {
            let message = format!("{:?} has the key of another", key.name);
            return Err(ConfigError::value("api_key", message));
        }
    }
    for tenant in tenants {
        let is_anybody = match keys {
            [] => tenant.name == DEFAULT_TENANT,
            _ => keys.iter().any(|key| key.name == tenant.name),
        };
        if !is_anybody {
            let message = "has none, so no request can be this tenant's: those without a key are \"default\", where there are no keys at all";
            let of = format!("tenant {:?}", tenant.name);
            return Err(ConfigError::value("keys", message).of(of));
        }
    }
    Ok(())
}

/// A model from `source` with the settings of `first`, but for what belongs to that one.
fn fallback_of(first: &RawConfig, source: &str) -> Result<RawConfig, ConfigError> {
    let error = |error: &dyn std::fmt::Display| ConfigError::Toml(error.to_string());
    let mut table = Table::try_from(first).map_err(|e| error(&e))?;
    table.retain(|key, _| !OF_ONE_MODEL.contains(&key));
    let raw: RawConfig = table.try_into().map_err(|e| error(&e))?;
    Ok(RawConfig {
        model: Some(source.to_owned()),
        served_model_name: Some("fallback".into()),
        ..raw
    })
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
    use super::super::{ByteSize, Secret};
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
        assert_eq!(config.models[0].source, "smollm2-135m-instruct");
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
        assert!(
            message(RawConfig {
                unload_after: Some(0),
                ..RawConfig::default()
            })
            .starts_with("unload_after: ")
        );
        assert!(
            message(RawConfig {
                load_on_demand: Some(true),
                lora_modules: vec!["tuned=folder".into()],
                ..RawConfig::default()
            })
            .starts_with("lora_modules: ")
        );
    }

    #[test]
    fn a_tenant_has_a_key_or_is_everybody_and_no_key_is_of_two() {
        let resolve = |file: &str| RawConfig::default().with_toml(file)?.resolve();
        let tenant = |name: &str, keys: &str| format!("[[tenants]]\nname = '{name}'\n{keys}\n");
        let acme = tenant("acme", "keys = 'k1'");
        for file in [
            tenant("default", ""),
            acme.clone(),
            format!("[server]\napi_key = 'acme=k1'\n{}", tenant("acme", "")),
        ] {
            assert!(resolve(&file).is_ok(), "{file}");
        }
        for file in [
            tenant("acme", ""),
            acme.clone() + &tenant("default", ""),
            acme.clone() + &tenant("other", "keys = 'k1'"),
            format!("{acme}{acme}"),
        ] {
            let error = resolve(&file).unwrap_err().to_string();
            assert!(!error.contains("k1"), "{error}");
        }
    }
}
