//! Log-probabilities in the two shapes of the OpenAI API, and vLLM's of a prompt.

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
    fn token(self, id: u32) -> String {
        match self.as_ids {
            true => format!("token_id:{id}"),
            false => self.tokenizer.token_text(id),
        }
    }

    fn entry(self, id: u32, logprob: f32) -> Value {
        json!({"token": self.token(id), "logprob": finite(logprob), "bytes": self.tokenizer.token_bytes(id)})
    }
}

fn finite(logprob: f32) -> f32 {
    logprob.max(IMPOSSIBLE)
}

/// A token and what is known of its likelihood: nothing of a prompt's first one.
#[derive(Clone, Copy)]
pub(crate) struct Scored<'a> {
    id: u32,
    scores: Option<&'a TokenLogprobs>,
}

impl<'a> Scored<'a> {
    pub fn new(id: u32, scores: &'a TokenLogprobs) -> Self {
        Self {
            id,
            scores: Some(scores),
        }
    }

    pub fn unscored(id: u32) -> Self {
        Self { id, scores: None }
    }

    /// A drawn token, where its scores were asked for.
    pub fn of(token: &'a SampledToken) -> Option<Self> {
        let scores = token.logprobs.as_ref()?;
        Some(Self::new(token.token_id, scores))
    }
}

/// The chat shape: `{"content": [{token, logprob, bytes, top_logprobs}]}`.
pub(crate) fn chat<'a>(tokens: impl Iterator<Item = Scored<'a>>, spelling: Spelling<'_>) -> Value {
    let content: Vec<Value> = tokens
        .filter_map(|token| Some((token.id, token.scores?)))
        .map(|(id, scores)| {
            let mut entry = spelling.entry(id, scores.chosen);
            entry["top_logprobs"] = (scores.top.iter())
                .map(|&(id, logprob)| spelling.entry(id, logprob))
                .collect();
            entry
        })
        .collect();
    json!({"content": content})
}

/// The completions shape: parallel lists. `text_offset` counts characters of the tokens' text from the answer's start
/// and is carried on between chunks.
pub(crate) fn completion<'a>(
    tokens: impl Iterator<Item = Scored<'a>>,
    spelling: Spelling<'_>,
    text_offset: &mut usize,
) -> Value {
    let (mut names, mut logprobs, mut tops, mut offsets) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Scored { id, scores } in tokens {
        names.push(spelling.token(id));
        logprobs.push(scores.map(|scores| finite(scores.chosen)));
        tops.push(scores.map(|scores| top(id, scores, spelling)));
        offsets.push(*text_offset);
        *text_offset += spelling.tokenizer.token_text(id).chars().count();
    }
    json!({"tokens": names, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets})
}

fn top(id: u32, scores: &TokenLogprobs, spelling: Spelling<'_>) -> Map<String, Value> {
    let mut top = Map::new();
    // The drawn token is among them in any case. Where tokens share a spelling, the likeliest stands for it.
    let drawn = (!scores.top.is_empty()).then_some((id, scores.chosen));
    for (id, logprob) in scores.top.iter().copied().chain(drawn) {
        top.entry(spelling.token(id))
            .or_insert_with(|| json!(finite(logprob)));
    }
    top
}

/// vLLM's shape of a prompt's: null for the first token, then `{id: {logprob, rank, decoded_token}}` for each.
pub(crate) fn prompt(ids: &[u32], scores: &[TokenLogprobs], spelling: Spelling<'_>) -> Value {
    let entry = |id: u32, logprob: f32, rank: u32| json!({"logprob": finite(logprob), "rank": rank, "decoded_token": spelling.token(id)});
    let rest = ids[1..].iter().zip(scores).map(|(&id, scores)| {
        let own = (id, scores.chosen, scores.rank);
        let ranked = scores.top.iter().zip(1..);
        let top = ranked.map(|(&(id, logprob), rank)| (id, logprob, rank));
        let map = std::iter::once(own).chain(top);
        map.map(|(id, logprob, rank)| (id.to_string(), entry(id, logprob, rank)))
            .collect()
    });
    std::iter::once(Value::Null).chain(rest).collect()
}
