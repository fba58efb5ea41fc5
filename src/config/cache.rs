//! What is kept of answers: `[cache]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::range::within;
use super::secret::Secret;
use super::{ByteSize, ConfigError};

/// `[cache]` as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    exact: Option<RawExact>,
    semantic: Option<RawSemantic>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExact {
    memory: Option<ByteSize>,
    ttl_s: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSemantic {
    mode: Option<String>,
    embedder: Option<String>,
    memory: Option<ByteSize>,
    ttl_s: Option<usize>,
    path: Option<PathBuf>,
    key: Option<Secret>,
}

/// What is kept of answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// To be given again to the same request.
    pub exact: Option<ExactCache>,
    /// To be recalled by a question like the one that was asked.
    pub semantic: Option<SemanticCacheSettings>,
}

/// How answers are kept that are given again to exactly the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactCache {
    /// What they may take together.
    pub memory: ByteSize,
    /// How long one is good.
    pub max_age: Duration,
}

/// How answers are kept that the model says faster where it says them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemanticCacheSettings {
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

impl RawCache {
    pub(super) fn resolve(self) -> Result<Cache, ConfigError> {
        let exact = self.exact.map(RawExact::resolve).transpose();
        let semantic = self.semantic.map(RawSemantic::resolve).transpose();
        Ok(Cache {
            exact: exact.map_err(|error| error.of("cache.exact"))?,
            semantic: semantic
                .map_err(|error| error.of("cache.semantic"))?
                .flatten(),
        })
    }
}

impl RawExact {
    fn resolve(self) -> Result<ExactCache, ConfigError> {
        let (memory, max_age) = limits(self.memory, self.ttl_s, 3600)?;
        Ok(ExactCache { memory, max_age })
    }
}

impl RawSemantic {
    /// `None` where it is off.
    fn resolve(self) -> Result<Option<SemanticCacheSettings>, ConfigError> {
        let (memory, max_age) = limits(self.memory, self.ttl_s, 86_400)?;
        match self.mode.as_deref() {
            Some("off") => return Ok(None),
            None | Some("draft") => {}
            Some(other) => {
                let message =
                    format!("{other:?} is unknown: say \"draft\", or \"off\" to keep no questions");
                return Err(ConfigError::value("mode", message));
            }
        }
        Ok(Some(SemanticCacheSettings {
            embedder: self.embedder,
            memory,
            max_age,
            store: store(self.path, self.key)?,
        }))
    }
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

/// What they may take, and how long one is good.
fn limits(
    memory: Option<ByteSize>,
    ttl_s: Option<usize>,
    default_ttl_s: usize,
) -> Result<(ByteSize, Duration), ConfigError> {
    let memory = memory.unwrap_or(ByteSize(64 << 20));
    if memory.0 == 0 {
        let message = "is nothing: leave the table out to keep no answers";
        return Err(ConfigError::value("memory", message));
    }
    let seconds = within("ttl_s", ttl_s.unwrap_or(default_ttl_s), 1, 365 * 86_400)?;
    Ok((memory, Duration::from_secs(seconds as u64)))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, RawConfig};
    use super::*;

    fn resolve(file: &str) -> Result<Config, ConfigError> {
        RawConfig::default().with_toml(file)?.resolve()
    }

    #[test]
    fn answers_are_kept_where_the_table_is_there() {
        assert_eq!(resolve("").unwrap().cache, Cache::default());
        let cache = |file| resolve(file).unwrap().cache.exact.unwrap();
        assert_eq!(
            cache("[cache.exact]"),
            ExactCache {
                memory: ByteSize(64 << 20),
                max_age: Duration::from_secs(3600)
            }
        );
        let said = cache("[cache.exact]\nmemory = '1GiB'\nttl_s = 60");
        assert_eq!((said.memory.0, said.max_age.as_secs()), (1 << 30, 60));
    }

    #[test]
    fn questions_are_remembered_where_the_table_is_there_and_not_off() {
        let cache = |file: &str| resolve(file).unwrap().cache.semantic;
        let default = SemanticCacheSettings {
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
    fn what_cannot_be_is_refused_by_name() {
        for (file, says) in [
            ("[cache.exact]\nttl_s = 0", "cache.exact: ttl_s: "),
            ("[cache.exact]\nmemory = '0'", "cache.exact: memory: "),
            ("[cache.exact]\nttl = 1", "ttl"),
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
            ("[cache.other]", "other"),
        ] {
            let error = resolve(file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }
}
