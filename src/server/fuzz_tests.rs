//! Seeded fuzzing of bodies and of the spellings of answers: nothing panics, and every event can be read.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::account::{Timings, Usage};
use super::answer::anthropic::Anthropic;
use super::answer::choice::Delta;
use super::answer::form::{Asked, Form, Kind};
use super::answer::openai::OpenAi;
use super::answer::responses::Responses;
use super::answer::wire::{Whole, Wire};
use super::request::fields::{Field, Fields};
use super::request::framing::Framing;
use super::request::{anthropic, conversation, output_format, responses, tools};
use super::routes::chat;
use crate::request::{FinishReason, SampledToken, TokenLogprobs};
use crate::telemetry::Tier;
use crate::text::{GgufVocab, Piece, Tokenizer};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Keys and words of all endpoints.
const WORDS: &[&str] = &[
    "role",
    "content",
    "type",
    "text",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "tool_call_id",
    "input_schema",
    "parameters",
    "tool_use",
    "tool_result",
    "thinking",
    "json_schema",
    "schema",
    "format",
    "effort",
    "budget_tokens",
    "user",
    "assistant",
    "system",
    "tool",
    "auto",
    "any",
    "none",
    "required",
    "message",
    "function_call",
    "function_call_output",
    "call_id",
    "output",
    "reasoning",
    "{}",
    "[",
    "{\"a\":1}",
    "é",
    "",
    "\0",
    "\u{FFFF}",
];

fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 6 } else { 10 }) {
        0 => Value::Null,
        1 => (rng.below(2) == 0).into(),
        2 => json!(rng.next() as i64 >> rng.below(64)),
        3 => json!(f64::from_bits(rng.next())),
        4 | 5 => rng.pick(WORDS).into(),
        6 | 7 => (0..rng.below(4)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            let len = rng.below(5);
            let entries = (0..len).map(|_| (rng.pick(WORDS).to_owned(), value(rng, depth - 1)));
            Value::Object(entries.collect::<Vec<_>>().into_iter().collect())
        }
    }
}

/// A body with some of the fields of `tables`, and sometimes one that is not there.
fn body(rng: &mut Rng, tables: &[&[Field]]) -> Vec<u8> {
    let known: Vec<&Field> = tables.iter().copied().flatten().collect();
    let mut map = Map::new();
    for _ in 0..rng.below(8) {
        let (name, _) = known[rng.below(known.len())];
        map.insert((*name).into(), value(rng, 5));
    }
    if rng.below(8) == 0 {
        map.insert(rng.pick(WORDS).into(), value(rng, 2));
    }
    let mut bytes = Value::Object(map).to_string().into_bytes();
    // Some are no JSON, or no UTF-8.
    for _ in 0..rng.below(40) / 38 {
        let at = rng.below(bytes.len());
        bytes[at] = rng.next() as u8;
    }
    bytes
}

#[test]
fn bodies_are_taken_or_refused_by_name() {
    let mut rng = Rng(1);
    let mut num_taken = 0;
    for _ in 0..150_000 {
        if let Ok(mut fields) = Fields::parse(&body(&mut rng, chat::TABLES), chat::TABLES) {
            num_taken += usize::from(conversation::messages(&mut fields).is_ok());
            num_taken += usize::from(tools::take(&mut fields).is_ok());
            num_taken += usize::from(output_format::take(&mut fields).is_ok());
        }
        let tables = [anthropic::PROMPT, anthropic::GENERATE];
        if let Ok(fields) = Fields::parse(&body(&mut rng, &tables), &tables) {
            num_taken += usize::from(anthropic::to_chat(fields).is_ok());
        }
        let tables = [responses::FIELDS];
        if let Ok(fields) = Fields::parse(&body(&mut rng, &tables), &tables) {
            num_taken += usize::from(responses::to_chat(fields).is_ok());
        }
    }
    assert!(num_taken > 10_000, "{num_taken} were taken");
}

fn tokenizer() -> Arc<Tokenizer> {
    let vocab = GgufVocab {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens: ["a", "b", "Ġ", "Ã", "<|end|>"].map(String::from).into(),
        token_types: vec![1, 1, 1, 1, 3],
        eos_id: Some(4),
        ..GgufVocab::default()
    };
    Arc::new(Tokenizer::from_gguf(vocab).unwrap())
}

fn form(kind: Kind, rng: &mut Rng, tokenizer: &Arc<Tokenizer>) -> Form {
    Form {
        kind,
        framing: Framing {
            include_usage: rng.below(2) == 0,
            continuous_usage: rng.below(4) == 0,
            return_token_ids: rng.below(4) == 0,
            ..Framing::default()
        },
        request_id: "r".into(),
        route: (rng.below(2) == 0).then(|| "r".into()),
        model: "m\n\"".into(),
        continued_by: (rng.below(4) == 0).then(|| "o".into()),
        tokenizer: Arc::clone(tokenizer),
        has_logprobs: rng.below(2) == 0,
        has_prompt_logprobs: false,
        tools: None,
        prompts: vec![Asked {
            token_ids: vec![0, 1],
            echo: (rng.below(3) == 0).then(|| "e\n\ncho".into()),
        }],
        num_choices: 1,
    }
}

fn delta(rng: &mut Rng) -> Delta {
    const TEXTS: &[&str] = &[
        "",
        "a",
        "data: x\n\n",
        "\r\n",
        "event: y\n",
        "é\u{2028}",
        "\0",
        "[DONE]",
    ];
    let pieces = (0..rng.below(3)).map(|_| {
        let text = rng.pick(TEXTS).to_owned();
        match rng.below(5) {
            0 => Piece::Reasoning(text),
            1 => Piece::Call(text),
            2 => Piece::Arguments(text),
            _ => Piece::Content(text),
        }
    });
    let pieces: Vec<Piece> = pieces.collect();
    let logprobs = (rng.below(2) == 0).then(|| TokenLogprobs {
        chosen: f32::NEG_INFINITY,
        rank: 1,
        top: vec![(0, -0.5), (3, f32::NEG_INFINITY)],
    });
    Delta {
        text: rng.pick(TEXTS).to_owned(),
        pieces,
        token: Some(SampledToken {
            token_id: rng.below(5) as u32,
            logprobs,
        }),
        ..Delta::default()
    }
}

#[test]
fn every_event_of_a_stream_can_be_read_whatever_the_answer_says() {
    let mut rng = Rng(2);
    let tokenizer = tokenizer();
    for _ in 0..30_000 {
        let kind = [Kind::Chat, Kind::Completion][rng.below(2)];
        let mut wire: Box<dyn Wire> = match rng.below(3) {
            0 => Box::new(OpenAi::new(form(kind, &mut rng, &tokenizer))),
            1 => Box::new(Anthropic::new(form(Kind::Chat, &mut rng, &tokenizer))),
            _ => Box::new(Responses::new(
                form(Kind::Chat, &mut rng, &tokenizer),
                Map::new(),
            )),
        };
        let usage = Usage {
            tier: Tier::Primary,
            level: None,
            prompt: 3,
            cached: 1,
            completion: 2,
            reasoning: 0,
            shows_cache: true,
        };
        let (mut frame, mut whole) = (Vec::new(), Whole::default());
        let num_deltas = 1 + rng.below(5);
        for i in 0..num_deltas {
            let mut delta = delta(&mut rng);
            delta.finish = (i + 1 == num_deltas).then_some(FinishReason::Stop);
            wire.delta(0, &delta, usage, &mut frame);
            whole.push(delta);
        }
        wire.end(usage, Timings::default(), &mut frame);
        let text = String::from_utf8(frame).unwrap();
        assert!(text.ends_with("\n\n"));
        for event in text.trim_end_matches('\n').split("\n\n") {
            let data = event
                .lines()
                .last()
                .unwrap()
                .strip_prefix("data: ")
                .unwrap();
            let names = event
                .lines()
                .filter(|line| line.starts_with("event: "))
                .count();
            assert!(event.lines().count() == 1 + names && names < 2, "{event:?}");
            assert!(
                data == "[DONE]" || serde_json::from_str::<Value>(data).is_ok(),
                "{event:?}"
            );
        }
        let mut other = OpenAi::new(form(kind, &mut rng, &tokenizer));
        let body = other.whole(&[whole], usage, Timings::default());
        assert!(serde_json::from_str::<Value>(&body.to_string()).is_ok());
    }
}
