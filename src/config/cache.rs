//! What is kept of answers: `[cache]`.

use std::time::Duration;

use serde::Deserialize;

use super::range::{milliseconds, within};
use super::semantic_cache::{RawSemantic, SemanticCacheSettings, SemanticMode, settle};
use super::{ByteSize, ConfigError};

/// `[cache]` as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    exact: Option<RawExact>,
    semantic: Option<RawSemantic>,
    min_latency_ms: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExact {
    memory: Option<ByteSize>,
    ttl_s: Option<usize>,
}

/// What is kept of answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cache {
    /// To be given again to the same request.
    pub exact: Option<ExactCache>,
    /// To be recalled by a question like the one that was asked.
    pub semantic: Option<SemanticCacheSettings>,
    /// From the arrival of a request, before which no answer begins that is given again.
    pub min_latency: Option<Duration>,
}

/// How answers are kept that are given again to exactly the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactCache {
    /// What they may take together.
    pub memory: ByteSize,
    /// How long one is good.
    pub max_age: Duration,
}

impl RawCache {
    /// What is said of it for these tenants, and whether any model speculates, tell what is of no use.
    pub(super) fn resolve(
        self,
        of_tenants: impl Iterator<Item = SemanticMode> + Clone,
        speculates: bool,
    ) -> Result<Cache, ConfigError> {
        let for_serve = self.semantic.as_ref().and_then(RawSemantic::for_serve);
        let exact = self.exact.map(RawExact::resolve).transpose();
        let semantic = self.semantic.map(RawSemantic::resolve).transpose();
        let mut cache = Cache {
            exact: exact.map_err(|error| error.of("cache.exact"))?,
            semantic: semantic.map_err(|error| error.of("cache.semantic"))?,
            min_latency: milliseconds("min_latency_ms", self.min_latency_ms, 60_000)
                .map_err(|error| error.of("cache"))?,
        };
        settle(&mut cache, of_tenants, speculates, for_serve)?;
        Ok(cache)
    }
}

impl RawExact {
    fn resolve(self) -> Result<ExactCache, ConfigError> {
        let (memory, max_age) = limits(self.memory, self.ttl_s, 3600)?;
        Ok(ExactCache { memory, max_age })
    }
}

/// What they may take, and how long one is good.
pub(super) fn limits(
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
    fn what_cannot_be_is_refused_by_name() {
        for (file, says) in [
            ("[cache.exact]\nttl_s = 0", "cache.exact: ttl_s: "),
            ("[cache.exact]\nmemory = '0'", "cache.exact: memory: "),
            ("[cache.exact]\nttl = 1", "ttl"),
            ("[cache]\nmin_latency_ms = 0", "cache: min_latency_ms: "),
            ("[cache.other]", "other"),
        ] {
            let error = resolve(file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }
}
