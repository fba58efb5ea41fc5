//! Structured output on the real default model's vocabulary: whatever a schema asks, an answer that ends fits it, and a schema
//! that cannot be followed is refused with the place.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "../common/mod.rs"]
mod common;
#[path = "../rng/mod.rs"]
mod rng;
mod schemas;
mod tools;
#[path = "../vocabulary/mod.rs"]
mod vocabulary;
mod walk;

use std::sync::LazyLock;

use flambeau::text::{GrammarError, Grammars, Rule};
use rng::Rng;
use serde_json::{Value, json};
use walk::Walker;

static WALKER: LazyLock<Walker> = LazyLock::new(Walker::new);

fn grammars() -> &'static Grammars {
    &WALKER.grammars
}

fn refused(rule: &Rule) -> GrammarError {
    match grammars().compile(rule) {
        Ok(_) => panic!("{rule:?} is followed"),
        Err(error) => error,
    }
}

#[test]
fn every_answer_that_ends_fits_its_schema_and_every_refused_schema_has_a_place() {
    let (mut num_ended, mut num_refused, mut num_beyond) = (0, 0, 0);
    for seed in 0..1000 {
        let mut rng = Rng(seed);
        let schema = schemas::random(&mut rng);
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        match grammars().compile(&Rule::JsonSchema(schema.clone())) {
            Ok(constraint) => {
                let Some(answer) = WALKER.answer(constraint, &mut rng) else {
                    continue;
                };
                num_ended += 1;
                let value: Value = match serde_json::from_str(&answer) {
                    // JSON has no bounds for numbers, this parser has.
                    Err(error) if error.to_string().contains("out of range") => {
                        num_beyond += 1;
                        continue;
                    }
                    value => value.unwrap(),
                };
                let errors: Vec<String> = validator
                    .iter_errors(&value)
                    .map(|error| error.to_string())
                    .collect();
                assert!(
                    errors.is_empty(),
                    "seed {seed}: {schema} answered {value}: {errors:?}"
                );
            }
            Err(error) => {
                num_refused += 1;
                assert!(!error.message.is_empty());
                // The place is one of the schema.
                assert!(
                    schemas::find(&schema, &error.path).is_some(),
                    "seed {seed}: {error:?} of {schema}"
                );
            }
        }
    }
    eprintln!("{num_ended} answers ended, {num_refused} schemas were refused");
    assert!(
        num_beyond < 30 && num_ended > 700 && num_refused > 20 && num_refused < 200,
        "{num_ended} ended, {num_refused} refused"
    );
}

#[test]
fn what_is_not_supported_or_too_much_is_refused_with_its_place() {
    let deep = (0..200).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "array", "items": inner}),
    );
    let wide: serde_json::Map<String, Value> = (0..30_000)
        .map(|i| (format!("key{i}"), json!({"type": "string"})))
        .collect();
    for (schema, path) in [
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "strnig"}}}}),
            ".properties.a.items",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=a)b"}}}),
            ".properties.a",
        ),
        (json!({"type": "array", "uniqueItems": true}), ""),
        (json!({"$ref": "#/$defs/missing"}), ""),
        (json!({"$ref": "https://example.org/schema"}), ""),
        (
            json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "number", "minimum": "x"}]}}}),
            ".properties.a.anyOf[1]",
        ),
        (json!({"type": "integer", "minimum": 5, "maximum": 4}), ""),
        (json!({"x-guidance": {"lenient": true}}), ".x-guidance"),
        (json!({"type": "object", "properties": wide}), ""),
        (json!([1]), ""),
    ] {
        let error = refused(&Rule::JsonSchema(schema));
        assert_eq!(error.path, path, "{error}");
        assert!(!error.message.is_empty() && !error.message.contains('\n'));
    }
    let error = refused(&Rule::JsonSchema(deep));
    assert!(error.message.contains("64 levels"), "{error}");
}

#[test]
fn texts_follow_regular_expressions_choices_and_grammars() {
    let mut rng = Rng(3);
    for _ in 0..20 {
        let regex = Rule::Regex(r"[A-Z]{3}-\d{2,4}".into());
        let answer = WALKER
            .answer(grammars().compile(&regex).unwrap(), &mut rng)
            .unwrap();
        let (head, digits) = answer.split_once('-').unwrap();
        assert!(
            head.len() == 3 && head.bytes().all(|b| b.is_ascii_uppercase()),
            "{answer}"
        );
        assert!((2..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
        let texts = ["yes", "no", "it \"depends\"\n", "naïve ☃"].map(String::from);
        let choice = Rule::Choice(texts.to_vec());
        let answer = WALKER
            .answer(grammars().compile(&choice).unwrap(), &mut rng)
            .unwrap();
        assert!(texts.contains(&answer), "{answer}");
        let sum = Rule::Lark("start: NUMBER (\"+\" NUMBER)*\nNUMBER: /[0-9]{1,3}/".into());
        let answer = WALKER
            .answer(grammars().compile(&sum).unwrap(), &mut rng)
            .unwrap();
        assert!(
            answer
                .split('+')
                .all(|n| n.parse::<u16>().is_ok_and(|n| n < 1000)),
            "{answer}"
        );
    }
    for rule in [
        Rule::Regex("(".into()),
        Rule::Regex("[^\\x00-\\x{10FFFF}]".into()),
        Rule::Lark("start: missing".into()),
        Rule::Lark(String::new()),
        Rule::Choice(Vec::new()),
    ] {
        assert!(!refused(&rule).message.is_empty());
    }
}

#[test]
fn a_schema_that_looks_costly_is_followed_where_it_is_not_and_refused_where_it_has_no_end() {
    for schema in [
        json!({"type": "string", "pattern": "^(a|aa|aaa)*(a{1,500}){1,500}$"}),
        json!({"type": "array", "items": {"type": "array", "items": {"type": "string", "maxLength": 100_000}, "maxItems": 100_000}, "minItems": 500_000}),
    ] {
        let mut constraint = grammars().compile(&Rule::JsonSchema(schema)).unwrap();
        assert!(constraint.mask().unwrap().count() > 0);
    }
    let endless = json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
    assert!(!refused(&Rule::JsonSchema(endless)).message.is_empty());
}
