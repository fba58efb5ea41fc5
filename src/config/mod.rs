//! Settings: what was typed ([`RawConfig`]: flags, `FLAMBEAU_…` variables, a TOML file) and what it means ([`Config`]:
//! checked once, every default filled in).

mod batch_invariant;
mod cache;
mod device;
mod draft;
mod embeddings;
mod error;
mod file;
mod model_settings;
mod named_key;
mod quantize;
mod range;
mod raw;
mod remote;
mod resolved;
mod routing;
mod secret;
mod semantic_cache;
mod size;
mod step_limits;
mod tenants;
mod threads;
mod tiers;

pub use cache::{Cache, ExactCache};
pub use device::DeviceChoice;
pub use draft::Draft;
pub use embeddings::{DEFAULT_EMBEDDING_MODEL, Embeddings};
pub use error::ConfigError;
pub use file::Typed;
pub use model_settings::{DEFAULT_MODEL, KvCacheDtype, ModelSettings};
pub use named_key::NamedKey;
pub use quantize::Quantize;
pub use raw::RawConfig;
pub use remote::RemoteSettings;
pub use resolved::Config;
pub use routing::{Routing, RoutingRule};
pub use secret::Secret;
pub use semantic_cache::{AnswerStore, KeyPlace, SemanticCacheSettings, SemanticMode};
pub use size::ByteSize;
pub use step_limits::StepLimits;
pub use tenants::{Class, Tenant};
pub use threads::{available_cores, default_threads};
pub use tiers::{StaticText, Tiers};
