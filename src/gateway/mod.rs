//! Policy on requests, beside the engine: who may have what, which model a request needs, and who answers when the model asked for would
//! not. No HTTP, no tensors.

mod answers;
mod breaker;
mod false_hits;
mod features;
mod kept;
mod language;
mod likelihood;
mod likeness;
mod personal;
mod questions;
mod reject;
mod routing;
mod searches;
mod static_text;
mod tags;
mod tenants;
mod vector;
mod words;

pub use answers::{Answer, Answers, AskedKey, GivenChoice};
pub use breaker::{Breaker, Verdict};
pub use false_hits::{FalseHits, Trust};
pub use features::Features;
pub use kept::{Keepable, Kept, Partition};
pub use language::Language;
pub use likelihood::Loss;
pub use likeness::{Gate, Likeness, compare, normalised, speaks_of_now};
pub use personal::is_personal;
pub use questions::{
    Answered, Asked, Context, Given, NormalForm, Questions, SHARED, Scores, Took, record_of,
};
pub use reject::Reject;
pub use routing::{Conditions, Router, Rule};
pub use searches::Searches;
pub use static_text::{StaticText, StaticTexts};
pub use tags::{Selection, Tags};
pub use tenants::{Policy, SemanticMode, Tenants};
pub use vector::Vector;
pub use words::Words;
