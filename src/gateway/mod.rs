//! Policy on requests, beside the engine: who may have what, and who answers when the model asked for would not. No HTTP, no tensors.

mod breaker;
mod static_text;
mod tenants;

pub use breaker::{Breaker, Verdict};
pub use static_text::{StaticText, StaticTexts};
pub use tenants::{Policy, Tenants};
