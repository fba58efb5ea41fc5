//! Log-probabilities in the two shapes of the OpenAI API.

use serde_json::{Map, Value, json};

use crate::request::{SampledToken, TokenLogprobs};
use crate::text::Tokenizer;

/// JSON has no infinity; this is what OpenAI and vLLM write in its place.
const IMPOSSIBLE: f32 = -9999.0;

/// How tokens are spelt in log-probabilities.
#[derive(Clone, Copy)]
pub(crate) struct Spelling<'a> {
    pub tokenizer: &'a Tokenizer,
    /// `token_id:N` instead of text.
    pub as_ids: bool,
}

impl Spelling<'_> {
    pub fn token(self, id: u32) -> String {
        if self.as_ids {
            format!("token_id:{id}")
        } else {
            self.tokenizer.token_text(id)
        }
    }

    fn entry(self, id: u32, logprob: f32) -> Value {
        json!({"token": self.token(id), "logprob": finite(logprob), "bytes": self.tokenizer.token_bytes(id)})
    }
}

fn finite(logprob: f32) -> f32 {
    logprob.max(IMPOSSIBLE)
}

fn with_logprobs(tokens: &[SampledToken]) -> impl Iterator<Item = (u32, &TokenLogprobs)> {
    tokens.iter().filter_map(|token| {
        token
            .logprobs
            .as_ref()
            .map(|logprobs| (token.token_id, logprobs))
    })
}

/// The chat shape: `{"content": [{token, logprob, bytes, top_logprobs}]}`.
pub(crate) fn chat(tokens: &[SampledToken], spelling: Spelling<'_>) -> Value {
    let content: Vec<Value> = with_logprobs(tokens)
        .map(|(id, logprobs)| {
            let mut entry = spelling.entry(id, logprobs.chosen);
            entry["top_logprobs"] = logprobs
                .top
                .iter()
                .map(|&(id, logprob)| spelling.entry(id, logprob))
                .collect();
            entry
        })
        .collect();
    json!({"content": content})
}

/// The completions shape: parallel lists. `text_offset` counts characters of the tokens' text from the answer's start
/// and is carried on between chunks.
pub(crate) fn completion(
    tokens: &[SampledToken],
    spelling: Spelling<'_>,
    text_offset: &mut usize,
) -> Value {
    let (mut names, mut logprobs, mut tops, mut offsets) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, token) in with_logprobs(tokens) {
        names.push(spelling.token(id));
        logprobs.push(finite(token.chosen));
        let mut top = Map::new();
        // The drawn token is among them in any case. Where tokens share a spelling, the likeliest stands for it.
        let drawn = (!token.top.is_empty()).then_some((id, token.chosen));
        for (id, logprob) in token.top.iter().copied().chain(drawn) {
            top.entry(spelling.token(id))
                .or_insert_with(|| json!(finite(logprob)));
        }
        tops.push(top);
        offsets.push(*text_offset);
        *text_offset += spelling.tokenizer.token_text(id).chars().count();
    }
    json!({"tokens": names, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets})
}
