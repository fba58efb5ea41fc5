//! Policy on requests, beside the engine: who may have what, which model a request needs, and who answers when the model asked for would
//! not. No HTTP, no tensors.

mod answers;
mod breaker;
mod features;
mod language;
mod likeness;
mod routing;
mod static_text;
mod tenants;

pub use answers::{Answer, Answers, AskedKey, GivenChoice, Partition};
pub use breaker::{Breaker, Verdict};
pub use features::Features;
pub use language::Language;
pub use likeness::{Gate, Likeness, compare, normalised, speaks_of_now};
pub use routing::{Conditions, Router, Rule};
pub use static_text::{StaticText, StaticTexts};
pub use tenants::{Policy, Tenants};
