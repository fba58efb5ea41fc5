//! Settings: what was typed ([`RawConfig`]: flags, `FLAMBEAU_…` variables, a TOML file) and what it means ([`Config`]:
//! checked once, every default filled in).

mod raw;
mod resolved;
mod secret;
mod size;

pub use raw::{ConfigError, RawConfig};
pub use resolved::{
    Config, DEFAULT_MODEL, KvCacheDtype, NamedKey, available_cores, default_threads,
};
pub use secret::Secret;
pub use size::ByteSize;
