//! Calls of tools: whatever is drawn, names are among the tools and arguments fit their schemas, in every format.

use flambeau::text::{Marks, Piece, Splitter, ToolChoice, ToolFormat, ToolRules};
use serde_json::{Value, json};

use crate::rng::Rng;
use crate::{WALKER, grammars};

const FORMATS: [ToolFormat; 3] = [ToolFormat::Hermes, ToolFormat::Llama3, ToolFormat::Mistral];

fn functions() -> Vec<(String, Value)> {
    let weather = json!({"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["C", "F"]}}, "required": ["city"], "additionalProperties": false});
    let add = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": -99, "maximum": 99}, "b": {"$ref": "#/$defs/n"}}, "required": ["a", "b"], "additionalProperties": false, "$defs": {"n": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}}});
    let none = json!({"type": "object", "properties": {}, "additionalProperties": false});
    vec![
        ("get_weather".into(), weather),
        ("add".into(), add),
        ("now".into(), none),
    ]
}

/// The calls in an answer, and what else it says.
fn read(format: ToolFormat, answer: &str) -> (Vec<(String, Value)>, String) {
    let mut splitter = Splitter::new(Marks {
        tools: Some(format),
        ..Marks::default()
    });
    let mut pieces = Vec::new();
    splitter.push(answer, &mut pieces);
    splitter.finish(&mut pieces);
    let (mut calls, mut content) = (Vec::<(String, String)>::new(), String::new());
    for piece in pieces {
        match piece {
            Piece::Call(name) => calls.push((name, String::new())),
            Piece::Arguments(text) => calls.last_mut().unwrap().1.push_str(&text),
            Piece::Content(text) => content.push_str(&text),
            Piece::Reasoning(text) => panic!("nobody thinks: {text}"),
        }
    }
    let parsed = |(name, text): (String, String)| (name, serde_json::from_str(&text).unwrap());
    (calls.into_iter().map(parsed).collect(), content)
}

fn check(calls: &[(String, Value)]) {
    for (name, arguments) in calls {
        let functions = functions();
        let (_, schema) = functions.iter().find(|(known, _)| known == name).unwrap();
        assert!(
            jsonschema::is_valid(schema, arguments),
            "{name}: {arguments}"
        );
    }
}

#[test]
fn calls_that_must_come_come_and_fit_their_schemas() {
    let mut rng = Rng(11);
    for format in FORMATS {
        for (choice, is_parallel) in [
            (ToolChoice::Required, true),
            (ToolChoice::Required, false),
            (ToolChoice::Named("add".into()), true),
        ] {
            let rules = ToolRules {
                functions: functions(),
                choice: choice.clone(),
                is_parallel,
            };
            let mut num_calls = 0;
            for _ in 0..15 {
                let rule = grammars().compile(&rules.rule(format, None)).unwrap();
                let Some(answer) = WALKER.answer(rule, &mut rng) else {
                    continue;
                };
                let (calls, content) = read(format, &answer);
                assert!(
                    !calls.is_empty() && content.is_empty(),
                    "{format:?}: {answer}"
                );
                check(&calls);
                if let ToolChoice::Named(name) = &choice {
                    assert!(calls.len() == 1 && calls[0].0 == *name, "{answer}");
                }
                assert!(is_parallel || calls.len() == 1, "{answer}");
                num_calls += calls.len();
            }
            assert!(num_calls >= 10, "{format:?} {choice:?}: {num_calls} calls");
        }
    }
}

#[test]
fn text_that_would_be_read_as_a_call_is_none() {
    let rules = ToolRules {
        functions: functions(),
        choice: ToolChoice::Auto,
        is_parallel: true,
    };
    for (text, is_text) in [
        ("\n{\"name\": \"nope\"", false),
        ("<|python_tag|>{\"name\": \"nope\"", false),
        (" <b>{bold}</b>", true),
        ("1 < 2 {}", true),
    ] {
        let rule = grammars()
            .compile(&rules.rule(ToolFormat::Llama3, None))
            .unwrap();
        assert_eq!(WALKER.may_say(text, rule), is_text, "{text}");
    }
}

#[test]
fn a_special_token_begins_calls_where_there_is_one() {
    let marker = WALKER.token_id("<|im_start|>");
    let mut rng = Rng(13);
    for (choice, may_say) in [(ToolChoice::Required, false), (ToolChoice::Auto, true)] {
        let rules = ToolRules {
            functions: functions(),
            choice,
            is_parallel: true,
        };
        let rule = rules.rule(ToolFormat::Mistral, Some(marker));
        let mut constraint = grammars().compile(&rule).unwrap();
        let mask = constraint.mask().unwrap();
        assert!(mask.allows(marker) && (mask.count() > 1) == may_say);
        constraint.accept(marker).unwrap();
        let answer = WALKER.answer(constraint, &mut rng).unwrap();
        let (calls, _) = read(ToolFormat::Mistral, &format!("[TOOL_CALLS]{answer}"));
        check(&calls);
    }
}

#[test]
fn a_model_that_may_call_says_what_it_likes_and_its_calls_fit_their_schemas() {
    let mut rng = Rng(12);
    let rules = ToolRules {
        functions: functions(),
        choice: ToolChoice::Auto,
        is_parallel: true,
    };
    for (format, begin, said) in [
        (
            ToolFormat::Hermes,
            "Let me see.\n<tool_call>",
            "Let me see.",
        ),
        (ToolFormat::Hermes, "<tool_call>", ""),
        (ToolFormat::Llama3, "{", ""),
        (ToolFormat::Mistral, "[TOOL_CALLS]", ""),
    ] {
        let mut num_ended = 0;
        for _ in 0..10 {
            let rule = grammars().compile(&rules.rule(format, None)).unwrap();
            if let Some(answer) = WALKER.goes_on(begin, rule, &mut rng) {
                let (calls, content) = read(format, &answer);
                assert!(!calls.is_empty(), "{format:?}: {answer}");
                assert_eq!(content, said, "{answer}");
                check(&calls);
                num_ended += 1;
            }
        }
        assert!(num_ended >= 5, "{format:?} after {begin:?}");
        // Text is free, and may end anywhere.
        let rule = grammars().compile(&rules.rule(format, None)).unwrap();
        let answer = WALKER.goes_on("Nothing to call: 1 < 2, {}", rule, &mut rng);
        assert!(answer.is_none_or(|answer| answer.starts_with("Nothing to call")));
    }
}
