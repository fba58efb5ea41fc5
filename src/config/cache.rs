//! What is kept of answers: `[cache]`.

use std::time::Duration;

use serde::Deserialize;

use super::range::within;
use super::{ByteSize, ConfigError};

/// `[cache]` as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    exact: Option<RawExact>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExact {
    memory: Option<ByteSize>,
    ttl_s: Option<usize>,
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
    pub(super) fn resolve(self) -> Result<Option<ExactCache>, ConfigError> {
        let resolve = |exact: RawExact| {
            let memory = exact.memory.unwrap_or(ByteSize(64 << 20));
            if memory.0 == 0 {
                let message = "is nothing: leave [cache.exact] out to keep no answers";
                return Err(ConfigError::value("memory", message).of("cache.exact"));
            }
            let seconds = within("ttl_s", exact.ttl_s.unwrap_or(3600), 1, 365 * 86_400);
            let seconds = seconds.map_err(|error| error.of("cache.exact"))?;
            Ok(ExactCache {
                memory,
                max_age: Duration::from_secs(seconds as u64),
            })
        };
        self.exact.map(resolve).transpose()
    }
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
        assert_eq!(resolve("").unwrap().exact_cache, None);
        let cache = |file| resolve(file).unwrap().exact_cache.unwrap();
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
            ("[cache.semantic]\nmode = 'draft'", "semantic"),
        ] {
            let error = resolve(file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }
}
