//! The last question of a request, apart from everything around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::form::Kind;
use crate::gateway::Context;
use crate::server::models::Chosen;
use crate::server::request::fields::Fields;

/// Fields that make no difference to which tokens an answer has.
const INDIFFERENT: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "session_id",
    "safety_identifier",
    "priority",
    "deadline_ms",
    "service_tier",
    "fallback",
    "cache",
];

/// Longer ones are no questions that come again: an embedder would not see them whole.
const MAX_BYTES: usize = 2048;

/// See the module. Only a text is one.
#[derive(Clone)]
pub(crate) struct Question {
    /// Of the rest.
    digest: [u8; 32],
    pub text: Arc<str>,
}

/// A digest of all that makes a difference to an answer. `instead` stands for what one of the fields holds.
pub(super) fn digest<T: Serialize>(
    fields: &Fields,
    kind: Kind,
    instead: Option<(&str, T)>,
) -> [u8; 32] {
    let replaced = instead.as_ref().map(|(name, _)| *name);
    let asked: BTreeMap<&str, &Value> = fields
        .iter()
        .filter(|(name, _)| !INDIFFERENT.contains(name) && Some(*name) != replaced)
        .collect();
    let mut hasher = Sha256::new_with_prefix([kind as u8]);
    let spelt = serde_json::to_vec(&(asked, instead));
    hasher.update(spelt.expect("JSON has a spelling: this is a bug"));
    hasher.finalize().into()
}

/// With the model, its weights and the adapter that answer.
pub(super) fn put_to(digest: [u8; 32], chosen: &Chosen) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(digest);
    let adapter = chosen.adapter.as_ref();
    hasher.update(adapter.map_or(0, |adapter| adapter.id).to_le_bytes());
    hasher.update(chosen.model.weights);
    hasher.update(&chosen.model.name);
    hasher.finalize().into()
}

impl Question {
    /// The last message of a chat, which is the user's, or the one prompt of a completion.
    pub fn of(fields: &Fields, kind: Kind) -> Option<Self> {
        let (text, digest) = match kind {
            Kind::Completion => {
                let text = short(fields.look("prompt")?.as_str()?)?;
                (text, digest(fields, kind, Some(("prompt", ()))))
            }
            Kind::Chat => {
                let (last, before) = fields.look("messages")?.as_array()?.split_last()?;
                let text = short(user_text(last)?)?;
                let rest = (before, last.get("name"));
                (text, digest(fields, kind, Some(("messages", rest))))
            }
        };
        Some(Self {
            digest,
            text: text.into(),
        })
    }

    /// What surrounds it where `chosen` answers.
    pub fn context(&self, chosen: &Chosen) -> Context {
        Context(put_to(self.digest, chosen))
    }
}

fn short(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= MAX_BYTES).then_some(text)
}

/// What the user says in a message, as one text.
fn user_text(message: &Value) -> Option<&str> {
    if message.get("role")? != "user" {
        return None;
    }
    match message.get("content")? {
        Value::String(text) => Some(text),
        Value::Array(parts) => match &parts[..] {
            [part] if part.get("type")? == "text" => part.get("text")?.as_str(),
            _ => None,
        },
        _ => None,
    }
}
