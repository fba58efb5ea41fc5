//! What is kept of questions: `[cache.semantic]`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::cache::limits;
use super::range::up_to;
use super::secret::Secret;
use super::tiers::ROUTES;
use super::{ByteSize, Cache, ConfigError};

/// `[cache.semantic]` as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSemantic {
    mode: Option<String>,
    routes: Vec<RawRoute>,
    max_false_hit_rate: Option<f64>,
    shadow_rate: Option<f64>,
    time_words: bool,
    embedder: Option<String>,
    memory: Option<ByteSize>,
    ttl_s: Option<usize>,
    path: Option<PathBuf>,
    key: Option<Secret>,
}

/// `[[cache.semantic.routes]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    route: String,
    mode: String,
}

/// What becomes of the answer to a question like the one that is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SemanticMode {
    /// Nothing: it is not even remembered.
    Off,
    /// The model says it faster where it says it again.
    #[default]
    Draft,
    /// It is given again where all gates let it pass.
    Serve,
}

/// How answers are kept that the model says faster where it says them again, or that are given again.
#[derive(Clone, Debug, PartialEq)]
pub struct SemanticCacheSettings {
    /// What becomes of them where neither the route nor the tenant says.
    pub mode: SemanticMode,
    /// What becomes of them on these routes, where the tenant does not say.
    pub routes: HashMap<String, SemanticMode>,
    /// So many of the answers that are given again may be wrong, of 1.
    pub max_false_hit_rate: f64,
    /// So many of them are checked, of 1.
    pub shadow_rate: f64,
    /// Whether questions that speak of now are given answers again.
    pub time_words: bool,
    /// The card, path or hub id of the model that tells which questions are near; the one behind `/v1/embeddings` where none is named.
    pub embedder: Option<String>,
    /// What they may take together.
    pub memory: ByteSize,
    /// How long one is good.
    pub max_age: Duration,
    /// Where they survive a restart, if they do.
    pub store: Option<AnswerStore>,
}

/// A file of answers, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerStore {
    /// The file.
    pub path: PathBuf,
    /// Where its key is.
    pub key: KeyPlace,
}

/// Where a key is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A variable of the environment.
    Variable(String),
    /// A file.
    File(PathBuf),
}

impl SemanticMode {
    /// As it is typed.
    pub(super) fn parse(name: &'static str, typed: &str) -> Result<Self, ConfigError> {
        match typed {
            "off" => Ok(Self::Off),
            "draft" => Ok(Self::Draft),
            "serve" => Ok(Self::Serve),
            other => {
                let message = format!(
                    "{other:?} is unknown: say \"draft\", \"serve\", or \"off\" to keep no questions"
                );
                Err(ConfigError::value(name, message))
            }
        }
    }
}

impl RawSemantic {
    /// What was typed that only says something of answers that are given again.
    pub(super) fn for_serve(&self) -> Option<&'static str> {
        let typed = [
            ("max_false_hit_rate", self.max_false_hit_rate.is_some()),
            ("shadow_rate", self.shadow_rate.is_some()),
            ("time_words", self.time_words),
        ];
        let mut typed = typed.into_iter().filter(|(_, is_typed)| *is_typed);
        typed.next().map(|(name, _)| name)
    }

    pub(super) fn resolve(self) -> Result<SemanticCacheSettings, ConfigError> {
        let (memory, max_age) = limits(self.memory, self.ttl_s, 86_400)?;
        let mode = self.mode.map(|typed| SemanticMode::parse("mode", &typed));
        Ok(SemanticCacheSettings {
            mode: mode.transpose()?.unwrap_or_default(),
            routes: routes(self.routes)?,
            max_false_hit_rate: share("max_false_hit_rate", self.max_false_hit_rate, 0.01)?,
            shadow_rate: share("shadow_rate", self.shadow_rate, 0.05)?,
            time_words: self.time_words,
            embedder: self.embedder,
            memory,
            max_age,
            store: store(self.path, self.key)?,
        })
    }
}

fn routes(typed: Vec<RawRoute>) -> Result<HashMap<String, SemanticMode>, ConfigError> {
    let mut routes = HashMap::new();
    for RawRoute { route, mode } in typed {
        if !ROUTES.contains(&&*route) {
            let message = format!("{route:?} is none of {}", ROUTES.join(", "));
            return Err(ConfigError::value("routes.route", message));
        }
        let mode = SemanticMode::parse("routes.mode", &mode)?;
        if routes.insert(route.clone(), mode).is_some() {
            let message = format!("{route:?} is there twice");
            return Err(ConfigError::value("routes.route", message));
        }
    }
    Ok(routes)
}

/// More than nothing, at most all: what is never checked is not known, and no cache is never wrong.
fn share(name: &'static str, typed: Option<f64>, default: f64) -> Result<f64, ConfigError> {
    match up_to(name, typed, 1.0)? {
        Some(share) if share < 1e-4 => {
            let message = format!("{share} is less than 0.0001");
            Err(ConfigError::value(name, message))
        }
        typed => Ok(typed.unwrap_or(default)),
    }
}

/// Leaves it out where it is off for all, and refuses what would be of no use to anybody, also `for_serve`, which only says something of answers that
/// are given again.
pub(super) fn settle(
    cache: &mut Cache,
    of_tenants: impl Iterator<Item = SemanticMode> + Clone,
    speculates: bool,
    for_serve: Option<&'static str>,
) -> Result<(), ConfigError> {
    let of_table = cache.semantic.iter().flat_map(|settings| {
        let of_routes = settings.routes.values().copied();
        of_routes.chain([settings.mode])
    });
    let modes: Vec<SemanticMode> = of_tenants.clone().chain(of_table).collect();
    let has = |mode| modes.contains(&mode);
    let (drafts, serves) = (has(SemanticMode::Draft), has(SemanticMode::Serve));
    let refused = |name, message, of: &str| Err(ConfigError::value(name, message).of(of));
    let is_there = cache.semantic.is_some();
    if !is_there && (drafts || serves) {
        let message = "there is no [cache.semantic]: add the table";
        return refused("semantic_cache", message, "tenants");
    }
    if drafts && !serves && !speculates {
        let message =
            "what is recalled is a draft, and speculation is off: leave one of the two out";
        return refused("mode", message, "cache.semantic");
    }
    if let Some(name) = for_serve.filter(|_| drafts && !serves) {
        let message = "is for answers that are given again: say mode = \"serve\" here, in a route or in a tenant's semantic_cache";
        return refused(name, message, "cache.semantic");
    }
    if cache.min_latency.is_some() && cache.exact.is_none() && !serves {
        let message =
            "no answer is given again: add [cache.exact], or mode = \"serve\" to [cache.semantic]";
        return refused("min_latency_ms", message, "cache");
    }
    if !drafts && !serves {
        cache.semantic = None;
    }
    Ok(())
}

/// Nothing is written that is not encrypted.
fn store(path: Option<PathBuf>, key: Option<Secret>) -> Result<Option<AnswerStore>, ConfigError> {
    let (path, key) = match (path, key) {
        (None, None) => return Ok(None),
        (Some(path), Some(Secret(key))) => (path, key),
        (Some(_), None) => {
            let message = "what is on the disk is encrypted: say key = \"env:VARIABLE\" or \"file:PATH\", or leave path out to remember in memory alone";
            return Err(ConfigError::value("path", message));
        }
        (None, Some(_)) => {
            let message = "there is nothing to encrypt: say which file it is for in path";
            return Err(ConfigError::value("key", message));
        }
    };
    let key = match key.split_once(':') {
        Some(("env", name)) if !name.is_empty() => KeyPlace::Variable(name.to_owned()),
        Some(("file", file)) if !file.is_empty() => KeyPlace::File(file.into()),
        _ => {
            let message = "must be \"env:VARIABLE\" or \"file:PATH\": the key itself does not stand in the settings";
            return Err(ConfigError::value("key", message));
        }
    };
    Ok(Some(AnswerStore { path, key }))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, RawConfig};
    use super::*;

    fn resolve(file: &str) -> Result<Config, ConfigError> {
        RawConfig::default().with_toml(file)?.resolve()
    }

    #[test]
    fn questions_are_remembered_where_the_table_is_there_and_not_off() {
        let cache = |file: &str| resolve(file).unwrap().cache.semantic;
        let default = SemanticCacheSettings {
            mode: SemanticMode::Draft,
            routes: HashMap::new(),
            max_false_hit_rate: 0.01,
            shadow_rate: 0.05,
            time_words: false,
            embedder: None,
            memory: ByteSize(64 << 20),
            max_age: Duration::from_secs(86_400),
            store: None,
        };
        assert_eq!(cache("[cache.semantic]"), Some(default.clone()));
        assert_eq!(cache("[cache.semantic]\nmode = 'draft'"), Some(default));
        assert_eq!(cache("[cache.semantic]\nmode = 'off'\nttl_s = 9"), None);
        let store = |key: &str| {
            let file = format!("[cache.semantic]\npath = 'a.db'\nkey = '{key}'");
            cache(&file).unwrap().store.unwrap().key
        };
        assert_eq!(store("env:KEY"), KeyPlace::Variable("KEY".into()));
        assert_eq!(store("file:/k"), KeyPlace::File("/k".into()));
    }

    #[test]
    fn answers_are_given_again_where_a_route_or_a_tenant_says_so() {
        let serve = "[cache.semantic]\nmode = 'serve'\nmax_false_hit_rate = 0.02\nshadow_rate = 1";
        let all = resolve(serve).unwrap().cache.semantic.unwrap();
        assert_eq!(all.mode, SemanticMode::Serve);
        assert_eq!((all.max_false_hit_rate, all.shadow_rate), (0.02, 1.0));
        let route = "[cache.semantic]\nmode = 'off'\n[[cache.semantic.routes]]\nroute = '/v1/completions'\nmode = 'serve'";
        let one = resolve(route).unwrap().cache.semantic.unwrap();
        assert_eq!(one.routes["/v1/completions"], SemanticMode::Serve);
        let tenant = "[cache.semantic]\nmode = 'off'\n[[tenants]]\nname = 'a'\nkeys = ['0123456789abcdef']\nsemantic_cache = 'serve'";
        let config = resolve(tenant).unwrap();
        assert!(config.cache.semantic.is_some());
        assert_eq!(config.tenants[0].semantic_cache, Some(SemanticMode::Serve));
        // What is given again needs no speculation.
        resolve(&format!("[server]\nspeculation = false\n{serve}")).unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let tenant = "[[tenants]]\nname = 'a'\nkeys = ['0123456789abcdef']\nsemantic_cache = ";
        for (file, says) in [
            ("[cache.semantic]\nmode = 'fast'", "cache.semantic: mode: "),
            (
                "[server]\nspeculation = false\n[cache.semantic]",
                "cache.semantic: mode: ",
            ),
            ("[cache.semantic]\nmemory = '0'", "cache.semantic: memory: "),
            ("[cache.semantic]\npath = 'a.db'", "cache.semantic: path: "),
            ("[cache.semantic]\nkey = 'env:KEY'", "cache.semantic: key: "),
            (
                "[cache.semantic]\npath = 'a.db'\nkey = '0123'",
                "cache.semantic: key: ",
            ),
            (
                "[cache.semantic]\nmode = 'serve'\nmax_false_hit_rate = 0",
                "cache.semantic: max_false_hit_rate: ",
            ),
            (
                "[cache.semantic]\nmode = 'serve'\nshadow_rate = 1.5",
                "cache.semantic: shadow_rate: ",
            ),
            (
                "[[cache.semantic.routes]]\nroute = '/v1/models'\nmode = 'serve'",
                "cache.semantic: routes.route: ",
            ),
            (
                "[[cache.semantic.routes]]\nroute = '/v1/messages'\nmode = 'x'",
                "cache.semantic: routes.mode: ",
            ),
            (
                "[cache.semantic]\nshadow_rate = 0.5",
                "cache.semantic: shadow_rate: ",
            ),
            (
                "[cache]\nmin_latency_ms = 5\n[cache.semantic]",
                "cache: min_latency_ms: ",
            ),
            (&format!("{tenant}'x'"), "semantic_cache: "),
            (&format!("{tenant}'serve'"), "semantic_cache: "),
        ] {
            let error = resolve(file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }
}
