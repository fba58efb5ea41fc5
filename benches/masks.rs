//! What structured output costs: `cargo bench --bench masks`.
//!
//! 16 streams on the real default model, 128 tokens each, free and under a schema or an expression that none of them comes to
//! the end of, so that all compute the same number of tokens. The kinds take turns, and the means of several rounds are
//! compared. The bar: masks cost less than 5% of the throughput.

#[path = "../tests/common/mod.rs"]
#[allow(clippy::unwrap_used)]
mod common;
#[path = "../tests/vocabulary/mod.rs"]
#[allow(clippy::unwrap_used)]
mod vocabulary;

use std::sync::Arc;
use std::time::Instant;

use common::Engine;
use flambeau::backend::cpu::Cpu;
use flambeau::constraint::Constraint;
use flambeau::model::Activations;
use flambeau::ops::KvDtype;
use flambeau::request::{DEFAULT_TENANT, GenerateRequest, Priority, SamplingParams, StopCriteria};
use flambeau::scheduler::SchedulerConfig;
use flambeau::text::{Grammars, Rule, Specials};
use serde_json::json;

const NUM_STREAMS: usize = 16;
const OUTPUT_LEN: usize = 128;
const NUM_ROUNDS: usize = 8;

fn rules() -> Vec<(&'static str, Option<Rule>)> {
    let record = json!({"type": "object", "properties": {"name": {"type": "string"}, "year": {"type": "integer"},
        "kind": {"enum": ["a", "b", "city"]}}, "required": ["name", "year", "kind"], "additionalProperties": false});
    vec![
        ("free", None),
        ("expression", Some(Rule::Regex("(.|\n)*".into()))),
        (
            "any JSON",
            Some(Rule::JsonSchema(json!({"type": "array", "minItems": 100}))),
        ),
        (
            "strings",
            Some(Rule::JsonSchema(
                json!({"type": "array", "items": {"type": "string"}, "minItems": 100}),
            )),
        ),
        (
            "records",
            Some(Rule::JsonSchema(
                json!({"type": "array", "items": record, "minItems": 60}),
            )),
        ),
    ]
}

/// Tokens a second of all streams.
fn throughput(
    engine: &Engine,
    prompt: &[u32],
    rule: &Option<Box<dyn Constraint>>,
    ends: &[u32],
) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for i in 0..NUM_STREAMS {
            let request = GenerateRequest {
                num_begun: 0,
                recalled: None,
                prompt_logprobs: None,
                constraint: rule.clone(),
                adapter: None,
                tenant: DEFAULT_TENANT.into(),
                priority: Priority::Standard,
                deadline: None,
                // Prompts that differ from the first token on.
                prompt: [&[300 + i as u32], prompt].concat(),
                sampling: SamplingParams {
                    temperature: 0.7,
                    seed: i as u64,
                    ..SamplingParams::greedy()
                },
                // The end is banned where something else is allowed.
                stop: StopCriteria {
                    max_tokens: OUTPUT_LEN,
                    min_tokens: OUTPUT_LEN,
                    stop_token_ids: ends.to_vec(),
                },
            };
            scope.spawn(move || assert_eq!(engine.answer(request).tokens.len(), OUTPUT_LEN));
        }
    });
    (NUM_STREAMS * OUTPUT_LEN) as f64 / start.elapsed().as_secs_f64()
}

fn main() -> anyhow::Result<()> {
    let model = common::load(Activations::Int8, &Cpu::new(2)?);
    let tokenizer = Arc::new(vocabulary::tokenizer());
    let prompt = tokenizer.encode(
        " Write a long list about the city of Paris as JSON:\n",
        Specials::Plain,
    )?;
    let start = Instant::now();
    let grammars = Grammars::new(&tokenizer)?;
    println!("the vocabulary is indexed in {:.0?}", start.elapsed());
    let mut rules = rules()
        .into_iter()
        .map(|(name, rule)| {
            Ok((
                name,
                rule.map(|rule| grammars.compile(&rule)).transpose()?,
                Vec::new(),
            ))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let scheduler = SchedulerConfig {
        max_num_seqs: 32,
        max_num_batched_tokens: 512,
        max_model_len: 1024,
        prefix_cache: false,
        target_itl: None,
        speculation: false,
    };
    let limits = common::limits(512, KvDtype::F16);
    let engine = Engine::start(&model, scheduler, limits, &Cpu::new(2)?, |runner| {
        Box::new(runner)
    });
    // The first round is for warming up.
    for round in 0..=NUM_ROUNDS {
        for (_, rule, results) in &mut rules {
            let result = throughput(&engine, &prompt, rule, tokenizer.eos_ids());
            if round > 0 {
                results.push(result);
            }
        }
    }
    let mean = |results: &[f64]| results.iter().sum::<f64>() / results.len() as f64;
    let free = mean(&rules[0].2);
    println!("{:<12}{:>10}{:>10}", "answers", "tok/s", "cost");
    for (name, _, results) in &rules {
        let mean = mean(results);
        println!(
            "{name:<12}{mean:>10.1}{:>9.1}%",
            100.0 * (1.0 - mean / free)
        );
    }
    Ok(())
}
