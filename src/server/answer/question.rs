//! The last question of a request, apart from everything around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::form::Kind;
use crate::gateway::{Context, Tags};
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

/// What an answer of it is purged by: the model's name, or the adapter's.
pub(super) fn answers_as(chosen: &Chosen) -> &str {
    match chosen.adapter {
        Some(_) => &chosen.name,
        None => &chosen.model.name,
    }
}

/// What of `metadata` an answer depends on.
const PROMPT_VERSION: &str = "prompt_version";
const DATA_VERSION: &str = "data_version";
/// Names, with commas between them.
const DOCUMENTS: &str = "documents";
/// Who may see the answer, by any name.
const ACCESS_TAG: &str = "access_tag";

/// See the module. Only a text is one.
#[derive(Clone)]
pub(crate) struct Question {
    /// Of the rest.
    digest: [u8; 32],
    pub text: Arc<str>,
    /// Whether it is the same answer every time though tokens are drawn at random, or one that was drawn is wanted.
    pub is_seeded: bool,
    /// Whether tools are offered, or have run.
    pub has_tools: bool,
    /// Of its answer.
    tags: Tags,
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
    let depends = [PROMPT_VERSION, DATA_VERSION, DOCUMENTS, ACCESS_TAG];
    let depends = depends.map(|name| metadata(fields, name));
    let spelt = serde_json::to_vec(&(asked, instead, depends));
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
    /// The last message of a chat, which is the user's, or the one prompt of a completion. One that was answered before may be `wanted` though it
    /// was drawn.
    pub fn of(fields: &Fields, kind: Kind, wanted: bool) -> Option<Self> {
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
            is_seeded: fields.look("seed").is_some() || wanted,
            has_tools: has_tools(fields),
            tags: tags(fields),
        })
    }

    /// Of its answer by what is chosen.
    pub fn tags(&self, chosen: &Chosen) -> Tags {
        Tags {
            model: answers_as(chosen).to_owned(),
            ..self.tags.clone()
        }
    }

    /// Asks `text` in its place.
    pub fn replace(fields: &mut Fields, kind: Kind, text: &str) {
        let place = match kind {
            Kind::Completion => fields.look_mut("prompt"),
            Kind::Chat => {
                let messages = fields.look_mut("messages").and_then(Value::as_array_mut);
                let last = messages.and_then(|messages| messages.last_mut());
                last.and_then(|last| match last.get_mut("content")? {
                    Value::Array(parts) => parts.first_mut()?.get_mut("text"),
                    content => Some(content),
                })
            }
        };
        if let Some(place) = place {
            *place = text.into();
        }
    }

    /// What surrounds it where `chosen` answers.
    pub fn context(&self, chosen: &Chosen) -> Context {
        Context(put_to(self.digest, chosen))
    }
}

/// What the metadata say of it.
fn metadata<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.look("metadata")?.get(name)?.as_str()
}

/// What its answer can be forgotten by, but for the model.
pub(super) fn tags(fields: &Fields) -> Tags {
    let said = |name| metadata(fields, name).map(str::to_owned);
    let named = metadata(fields, DOCUMENTS).unwrap_or_default().split(',');
    let named = named.map(str::trim).filter(|name| !name.is_empty());
    let users = [fields.look("user"), fields.look("safety_identifier")];
    let users = users.into_iter().flatten().filter_map(Value::as_str);
    Tags {
        model: String::new(),
        users: users.map(str::to_owned).collect(),
        shared_by: None,
        prompt_version: said(PROMPT_VERSION),
        data_version: said(DATA_VERSION),
        documents: named.map(str::to_owned).collect(),
    }
}

fn has_tools(fields: &Fields) -> bool {
    let offered = fields.look("tools").and_then(Value::as_array);
    let messages = fields.look("messages").and_then(Value::as_array);
    let mut messages = messages.into_iter().flatten();
    offered.is_some_and(|tools| !tools.is_empty())
        || messages.any(|message| {
            let role = message.get("role").and_then(Value::as_str);
            matches!(role, Some("tool" | "function")) || message.get("tool_calls").is_some()
        })
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
