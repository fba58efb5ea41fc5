//! Settings: what was typed ([`RawConfig`]: flags, `FLAMBEAU_…` variables, a TOML file) and what it means ([`Config`]:
//! checked once, every default filled in).

mod batch_invariant;
mod device;
mod embeddings;
mod named_key;
mod quantize;
mod raw;
mod resolved;
mod secret;
mod size;
mod step_limits;
mod threads;

pub use device::DeviceChoice;
pub use embeddings::{DEFAULT_EMBEDDING_MODEL, Embeddings};
pub use named_key::NamedKey;
pub use quantize::Quantize;
pub use raw::{ConfigError, RawConfig};
pub use resolved::{Config, DEFAULT_MODEL, KvCacheDtype};
pub use secret::Secret;
pub use size::ByteSize;
pub use step_limits::StepLimits;
pub use threads::{available_cores, default_threads};
