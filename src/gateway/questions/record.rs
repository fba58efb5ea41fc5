//! Questions and their answers as they outlive the process.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Answered, Context, Given, Scores, Took};
use crate::gateway::answers::GivenChoice;
use crate::gateway::tags::Tags;
use crate::store::Record;

/// What a record's value holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    question: Cow<'a, str>,
    tokens: Cow<'a, [u32]>,
    has_end: bool,
    #[serde(default)]
    scores: Option<Cow<'a, Scores>>,
    #[serde(default)]
    tags: Cow<'a, Tags>,
    #[serde(default)]
    took: Took,
}

/// The record of what `tenant` was answered, which is good until `expires`, in Unix seconds.
pub fn record_of(tenant: &str, answered: &Answered, expires: u64) -> Record {
    let body = Body {
        question: (&*answered.question).into(),
        tokens: (&answered.given.choice.tokens[..]).into(),
        has_end: answered.given.choice.has_end,
        scores: answered.given.scores.as_ref().map(Cow::Borrowed),
        tags: Cow::Borrowed(&answered.given.tags),
        took: answered.given.took,
    };
    Record {
        id: record_id(tenant, answered.context, &answered.question),
        tenant: tenant.into(),
        scope: answered.context.0,
        expires,
        value: serde_json::to_vec(&body).expect("texts and numbers have a spelling: this is a bug"),
    }
}

/// What a record's value says; `None` where it is of another release.
pub(super) fn read(record: &Record) -> Option<(Context, Arc<str>, Given)> {
    let body: Body = serde_json::from_slice(&record.value).ok()?;
    let given = Given {
        choice: GivenChoice {
            tokens: body.tokens.into_owned(),
            has_end: body.has_end,
        },
        scores: body.scores.map(Cow::into_owned),
        tags: body.tags.into_owned(),
        took: body.took,
    };
    Some((Context(record.scope), body.question.into(), given))
}

/// What the record of a question is called.
pub(super) fn record_id(tenant: &str, context: Context, question: &str) -> [u8; 16] {
    let mut hasher = Sha256::new_with_prefix(context.0);
    hasher.update((tenant.len() as u64).to_le_bytes());
    hasher.update(tenant);
    hasher.update(question);
    let digest: [u8; 32] = hasher.finalize().into();
    std::array::from_fn(|i| digest[i])
}
