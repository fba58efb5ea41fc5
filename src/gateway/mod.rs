//! Policy on requests, beside the engine: who may have what, which model a request needs, and who answers when the model asked for would
//! not. No HTTP, no tensors.

mod answers;
mod breaker;
mod features;
mod kept;
mod language;
mod likeness;
mod questions;
mod routing;
mod searches;
mod static_text;
mod tenants;
mod vector;
mod words;

pub use answers::{Answer, Answers, AskedKey, GivenChoice};
pub use breaker::{Breaker, Verdict};
pub use features::Features;
pub use kept::{Keepable, Kept, Partition};
pub use language::Language;
pub use likeness::{Gate, Likeness, compare, normalised, speaks_of_now};
pub use questions::{Answered, Asked, Context, Questions, record_of};
pub use routing::{Conditions, Router, Rule};
pub use searches::Searches;
pub use static_text::{StaticText, StaticTexts};
pub use tenants::{Policy, Tenants};
pub use vector::Vector;
pub use words::Words;
