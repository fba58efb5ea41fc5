//! Seeded fuzzing of what reads what others write: a million cases, none of which may panic, hang or contradict itself.
//!
//! `FUZZ_SEED=n cargo test --release --test fuzz` runs another million.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "../byte_vocabulary/mod.rs"]
mod byte_vocabulary;
#[path = "../rng/mod.rs"]
mod rng;

use std::sync::Arc;

use flambeau::text::{
    ChatTemplate, Conversation, Grammars, Marks, Message, Piece, Role, Rule, Splitter, StopMatcher,
    ToolChoice, ToolFormat, ToolRules, encode_chat,
};
use rng::Rng;
use serde_json::{Map, Value, json};

fn seed() -> u64 {
    std::env::var("FUZZ_SEED").map_or(0, |seed| seed.parse().unwrap())
}

/// Words that mean something somewhere, and some that do not.
const WORDS: &[&str] = &[
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "<|python_tag|>",
    "<|im_start|>",
    "<|im_end|>",
    "{\"name\": ",
    "\"arguments\": ",
    "\"parameters\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ";",
    "\"",
    "\\",
    "\\u00",
    "\n",
    " ",
    "\t",
    "a",
    "name",
    "é",
    "世",
    "\u{FDD0}",
    "\u{FEFF}",
    "\0",
    "1",
    "-",
    ".",
    "e9",
    "null",
    "true",
    "<",
    ">",
    "/",
    "|",
    "(",
    ")",
    "*",
    "+",
    "?",
    "^",
    "$",
    "%",
    "start:",
    "{{",
    "}}",
    "{%",
    "%}",
    "messages",
    "for",
    "in",
    "if",
];

fn text(rng: &mut Rng, most: usize) -> String {
    let len = rng.below(most + 1);
    (0..len).map(|_| WORDS[rng.below(WORDS.len())]).collect()
}

fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => (rng.below(3) == 0).into(),
        2 => json!(rng.next() as i64 >> rng.below(64)),
        3 => json!(f64::from_bits(rng.next())),
        4 | 5 => text(rng, 4).into(),
        6 => (0..rng.below(4)).map(|_| value(rng, depth - 1)).collect(),
        _ => object(
            rng,
            depth - 1,
            &[
                "type",
                "properties",
                "items",
                "enum",
                "$ref",
                "minimum",
                "pattern",
                "anyOf",
                "required",
            ],
        ),
    }
}

fn object(rng: &mut Rng, depth: usize, keys: &[&str]) -> Value {
    let mut map = Map::new();
    for _ in 0..rng.below(5) {
        let key = match rng.below(4) {
            0 => text(rng, 2),
            _ => keys[rng.below(keys.len())].to_owned(),
        };
        map.insert(key, value(rng, depth));
    }
    Value::Object(map)
}

/// Cuts at random borders of characters.
fn cut<'a>(text: &'a str, rng: &mut Rng) -> Vec<&'a str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let mut at = 1 + rng.below(rest.len());
        while !rest.is_char_boundary(at) {
            at += 1;
        }
        let (piece, more) = rest.split_at(at);
        pieces.push(piece);
        rest = more;
    }
    pieces
}

#[test]
fn answers_are_taken_apart_however_they_are_cut() {
    let mut rng = Rng(seed());
    for case in 0..500_000 {
        let answer = text(&mut rng, 10);
        let marks = Marks {
            may_think: rng.below(2) == 0,
            is_thinking: false,
            tools: [
                None,
                Some(ToolFormat::Hermes),
                Some(ToolFormat::Llama3),
                Some(ToolFormat::Mistral),
            ][rng.below(4)],
        };
        let mut all: Vec<Vec<Piece>> = Vec::new();
        for parts in [vec![answer.as_str()], cut(&answer, &mut rng)] {
            let (mut splitter, mut pieces) = (Splitter::new(marks), Vec::new());
            parts
                .iter()
                .for_each(|part| splitter.push(part, &mut pieces));
            splitter.finish(&mut pieces);
            all.push(joined(pieces));
        }
        assert_eq!(all[0], all[1], "case {case}: {answer:?} with {marks:?}");
        let calls = all[0]
            .iter()
            .filter(|piece| matches!(piece, Piece::Call(_)));
        assert!(marks.tools.is_some() || calls.count() == 0);
    }
}

fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), piece) {
            (Some(Piece::Content(last)), Piece::Content(text))
            | (Some(Piece::Reasoning(last)), Piece::Reasoning(text))
            | (Some(Piece::Arguments(last)), Piece::Arguments(text)) => last.push_str(&text),
            (_, piece) => all.push(piece),
        }
    }
    all
}

#[test]
fn stop_strings_end_text_where_it_first_holds_one() {
    let mut rng = Rng(seed() + 1);
    for case in 0..300_000 {
        let answer = text(&mut rng, 10);
        let stops: Vec<String> = (0..1 + rng.below(3))
            .map(|_| text(&mut rng, 2))
            .filter(|stop| !stop.is_empty())
            .collect();
        let mut matcher = StopMatcher::new(stops.clone(), false).unwrap();
        let (mut said, mut is_stopped) = (String::new(), false);
        for part in cut(&answer, &mut rng) {
            let emit = matcher.push(part);
            said.push_str(&emit.text);
            is_stopped |= emit.stopped.is_some();
        }
        if !is_stopped {
            said.push_str(&matcher.finish());
        }
        let is_there = stops.iter().any(|stop| answer.contains(stop.as_str()));
        assert_eq!(is_stopped, is_there, "case {case}: {answer:?}, {stops:?}");
        assert!(
            answer.starts_with(&said) && stops.iter().all(|stop| !said.contains(stop.as_str()))
        );
    }
}

#[test]
fn templates_render_whatever_is_said_and_keep_special_tokens_to_themselves() {
    let mut rng = Rng(seed() + 2);
    let tokenizer = byte_vocabulary::tokenizer();
    let sources = ["hermes", "llama3", "mistral"].map(|name| {
        let path = format!(
            "{}/tests/data/templates/{name}.jinja",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    });
    let chatml =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let templates: Vec<ChatTemplate> = (sources.iter().map(String::as_str).chain([chatml]))
        .map(|source| ChatTemplate::new(Some(source), Some("<s>"), Some("</s>")).unwrap())
        .collect();
    for case in 0..60_000 {
        let roles = [
            Role::User,
            Role::Assistant,
            Role::System,
            Role::Tool,
            Role::Developer,
        ];
        let message = |rng: &mut Rng| Message {
            reasoning_content: (rng.below(3) == 0).then(|| text(rng, 3)),
            name: (rng.below(4) == 0).then(|| text(rng, 2)),
            tool_call_id: (rng.below(4) == 0).then(|| text(rng, 2)),
            ..Message::new(roles[rng.below(5)], text(rng, 6))
        };
        let messages: Vec<Message> = (0..1 + rng.below(4)).map(|_| message(&mut rng)).collect();
        let conversation = Conversation {
            tools: (0..rng.below(2)).map(|_| value(&mut rng, 2)).collect(),
            continue_final_message: rng.below(4) == 0,
            add_generation_prompt: rng.below(2) == 0,
            ..Conversation::new(messages.clone())
        };
        let i = rng.below(templates.len());
        // A template may refuse what it is given.
        let Ok(prompt) = encode_chat(&tokenizer, &templates[i], &conversation) else {
            continue;
        };
        if i == 3 && !conversation.continue_final_message {
            let specials = prompt
                .token_ids
                .iter()
                .filter(|&&id| tokenizer.is_special(id))
                .count();
            assert_eq!(specials, 2 * messages.len(), "case {case}: {messages:?}");
            assert_eq!(tokenizer.detokenise(&prompt.token_ids, false), prompt.text);
        }
    }
}

#[test]
fn templates_of_any_text_compile_or_say_why() {
    let mut rng = Rng(seed() + 3);
    let conversation = Conversation::new(vec![Message::new(Role::User, "Hi")]);
    for _ in 0..100_000 {
        if let Ok(template) = ChatTemplate::new(Some(&text(&mut rng, 12)), None, None) {
            let _ = template.render(&conversation);
        }
    }
}

#[test]
fn rules_of_any_text_are_followed_or_refused() {
    let mut rng = Rng(seed() + 4);
    let grammars = Grammars::new(&Arc::new(byte_vocabulary::tokenizer())).unwrap();
    let (mut num_followed, mut num_refused) = (0, 0);
    for _ in 0..40_000 {
        let rule = match rng.below(5) {
            0 => Rule::Regex(text(&mut rng, 6)),
            1 => Rule::Lark(format!("start: {}", text(&mut rng, 8))),
            2 => Rule::Choice((0..rng.below(3)).map(|_| text(&mut rng, 3)).collect()),
            3 => Rule::JsonSchema(value(&mut rng, 3)),
            _ => ToolRules {
                functions: vec![(
                    "f".into(),
                    object(&mut rng, 2, &["type", "properties", "items"]),
                )],
                choice: [ToolChoice::Auto, ToolChoice::Required][rng.below(2)].clone(),
                is_parallel: rng.below(2) == 0,
            }
            .rule(
                [ToolFormat::Hermes, ToolFormat::Llama3, ToolFormat::Mistral][rng.below(3)],
                None,
            ),
        };
        match grammars.compile(&rule) {
            Ok(mut constraint) => {
                num_followed += 1;
                // What is allowed is taken.
                for _ in 0..4 {
                    let Ok(mask) = constraint.mask() else { break };
                    let Some(id) = (0..256).filter(|&id| mask.allows(id)).nth(rng.below(3)) else {
                        break;
                    };
                    constraint.accept(id).unwrap();
                }
            }
            Err(error) => {
                num_refused += 1;
                assert!(!error.message.is_empty(), "{rule:?}");
            }
        }
    }
    assert!(
        num_followed > 1000 && num_refused > 1000,
        "{num_followed}, {num_refused}"
    );
}
