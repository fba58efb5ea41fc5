//! Right answers: the default model against float32 reference log-probabilities of the same weights
//! (tests/data/golden), teacher-forced and free-running, and the prompts' token ids.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "../common/mod.rs"]
mod common;
mod embeddings;
mod folder;

use std::sync::Arc;

use flambeau::backend::cpu::Cpu;
use flambeau::cli::load;
use flambeau::engine::Executor;
use flambeau::hub::Card;
use flambeau::model::gguf::GgufFile;
use flambeau::model::quantise::{Mix, Quantisation};
use flambeau::model::{Activations, Checkpoint, Decoder, Runner, Weights};
use flambeau::ops::KvDtype;
use flambeau::request::{
    DEFAULT_TENANT, GenerateRequest, Priority, SampledToken, SamplingParams, StopCriteria,
};
use flambeau::scheduler::{SampleRow, SchedulerConfig, SequenceId, StepPlan};
use flambeau::text::{Conversation, Message, encode_chat};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Message>,
    prompt: String,
    prompt_token_ids: Vec<u32>,
    greedy_token_ids: Vec<u32>,
    top8_logprobs: Vec<Vec<(u32, f64)>>,
}

impl Case {
    /// By how much the reference prefers its token at output position `i` to the next best, in nats.
    fn margin(&self, i: usize) -> f64 {
        self.top8_logprobs[i][0].1 - self.top8_logprobs[i][1].1
    }
}

const SHORT: &str = "smollm2_q4_1_reference.json";
const LONG: &str = "smollm2_q4_1_reference_long.json";

fn golden(name: &str) -> Vec<Case> {
    let path = format!("{}/tests/data/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice::<Golden>(&std::fs::read(path).unwrap())
        .unwrap()
        .cases
}

/// Feeds prompt and reference tokens in chunks and reads the raw log-probabilities at each position before a
/// reference token. A huge bias forces the reference token to be drawn, so that its own is reported too.
fn teacher_force(runner: &mut Runner, case: &Case) -> Vec<SampledToken> {
    let tokens = [&case.prompt_token_ids[..], &case.greedy_token_ids[..]].concat();
    let (num_prompt, num_fed) = (case.prompt_token_ids.len(), tokens.len() - 1);
    let mut drawn = Vec::new();
    for start in (0..num_fed).step_by(320) {
        let end = (start + 320).min(num_fed);
        let mut plan = StepPlan::default();
        plan.clear();
        plan.token_ids.extend_from_slice(&tokens[start..end]);
        plan.positions.extend(start as u32..end as u32);
        plan.slot_mapping.extend(start as u32..end as u32);
        plan.sequences.push(SequenceId(0));
        plan.adapters.push(None);
        plan.cu_seqlens_q.push((end - start) as u32);
        plan.context_lens.push(end as u32);
        plan.block_tables.extend(0..end.div_ceil(16) as u32);
        plan.block_table_offsets
            .push(plan.block_tables.len() as u32);
        plan.samples
            .extend((start.max(num_prompt - 1)..end).map(|position| SampleRow {
                known: None,
                mask: None,
                row_idx: (position - start) as u32,
                sampling: Arc::new(SamplingParams {
                    logprobs: Some(8),
                    logit_bias: vec![(tokens[position + 1], 1e9)],
                    ..SamplingParams::greedy()
                }),
                position: position as u32 + 1,
                history: 0..0,
                num_prompt_tokens: 0,
                banned: 0..0,
            }));
        drawn.extend(runner.step(&plan).unwrap().sampled.into_iter().flatten());
    }
    drawn
}

#[derive(Debug)]
struct Agreement {
    top1: f64,
    /// Positions where the reference's top-2 margin is at least half a nat and the top token differs.
    clear_misses: usize,
    mean: f64,
    p95: f64,
}

fn agreement(decoder: Decoder, cpu: &Cpu, cases: &[Case]) -> Agreement {
    let mut runner = Runner::new(decoder, cpu.clone()).unwrap();
    let (mut hits, mut clear_misses, mut differences) = (0, 0, Vec::new());
    for case in cases {
        let drawn = teacher_force(&mut runner, case);
        assert_eq!(drawn.len(), case.greedy_token_ids.len());
        for (i, (token, &reference)) in drawn.iter().zip(&case.greedy_token_ids).enumerate() {
            let top8 = &case.top8_logprobs[i];
            assert_eq!(
                token.token_id, reference,
                "the bias forces the reference token"
            );
            let ours = token.logprobs.as_ref().unwrap();
            let theirs = top8
                .iter()
                .find(|(id, _)| *id == reference)
                .expect("greedy tokens are in the top 8")
                .1;
            differences.push((f64::from(ours.chosen) - theirs).abs());
            let hit = ours.top[0].0 == top8[0].0;
            hits += usize::from(hit);
            clear_misses += usize::from(!hit && case.margin(i) >= 0.5);
        }
    }
    differences.sort_by(f64::total_cmp);
    let count = differences.len();
    Agreement {
        top1: hits as f64 / count as f64,
        clear_misses,
        mean: differences.iter().sum::<f64>() / count as f64,
        p95: differences[count * 95 / 100],
    }
}

fn measure(activations: Activations, kv_dtype: KvDtype, name: &str) -> Agreement {
    let cpu = Cpu::new(2).unwrap();
    let model = common::load(activations, &cpu);
    let decoder = common::decoder(&model, &common::limits(90, kv_dtype), &cpu);
    let result = agreement(decoder, &cpu, &golden(name));
    println!("{activations:?} activations, {kv_dtype} cache on {name}: {result:?}");
    result
}

#[test]
fn int8_activations_stay_within_the_reference_bar() {
    let result = measure(Activations::Int8, KvDtype::F16, SHORT);
    assert!(
        result.top1 >= 0.955 && result.clear_misses == 0,
        "{result:?}"
    );
    assert!(result.mean <= 0.034 && result.p95 <= 0.12, "{result:?}");
}

#[test]
fn int8_activations_stay_within_the_bar_far_from_the_start() {
    let result = measure(Activations::Int8, KvDtype::F16, LONG);
    assert!(
        result.clear_misses == 0 && result.mean <= 0.048 && result.p95 <= 0.14,
        "{result:?}"
    );
}

#[test]
fn float_activations_match_the_reference() {
    for name in [SHORT, LONG] {
        let result = measure(Activations::Float, KvDtype::F16, name);
        assert!(
            result.top1 == 1.0 && result.mean <= 0.002,
            "{name}: {result:?}"
        );
    }
}

#[test]
fn the_same_model_as_a_bfloat16_folder_matches_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let file = GgufFile::open(common::default_model()).unwrap();
    folder::write(&file, folder.path());
    let cpu = Cpu::new(2).unwrap();
    let (checkpoint, config) = Checkpoint::open(folder.path()).unwrap();
    let weights = Weights::load(checkpoint.tensors(), &config, Activations::Int8, &cpu).unwrap();
    let model = (config, Arc::new(weights));
    for name in [SHORT, LONG] {
        let limits = common::limits(90, KvDtype::F16);
        let result = agreement(common::decoder(&model, &limits, &cpu), &cpu, &golden(name));
        println!("bfloat16 folder on {name}: {result:?}");
        // What rounding the weights costs.
        assert!(
            result.clear_misses == 0 && result.mean <= 0.02,
            "{name}: {result:?}"
        );
    }
}

#[test]
fn bf16_and_int8_caches_stay_within_their_bars() {
    // Float activations, so that the loss is the cache's alone; at last what is served.
    let runs = [
        (Activations::Float, KvDtype::Bf16, SHORT, 0.006),
        (Activations::Float, KvDtype::Bf16, LONG, 0.008),
        (Activations::Float, KvDtype::Int8, SHORT, 0.025),
        (Activations::Float, KvDtype::Int8, LONG, 0.035),
        (Activations::Int8, KvDtype::Int8, SHORT, 0.04),
        (Activations::Int8, KvDtype::Int8, LONG, 0.06),
    ];
    let results = runs.map(|(activations, kv_dtype, name, bar)| {
        let result = measure(activations, kv_dtype, name);
        (result.clear_misses == 0 && result.mean <= bar, result)
    });
    assert!(results.iter().all(|(good, _)| *good), "{results:#?}");
}

#[test]
fn greedy_answers_leave_the_reference_only_at_near_ties() {
    let cpu = Cpu::new(2).unwrap();
    let scheduler = SchedulerConfig {
        max_num_seqs: 1,
        max_num_batched_tokens: 512,
        max_model_len: 90 * 16,
        prefix_cache: false,
        target_itl: None,
        speculation: false,
    };
    let engine = common::Engine::start(
        &common::load(Activations::Int8, &cpu),
        scheduler,
        common::limits(90, KvDtype::F16),
        &cpu,
        |r| Box::new(r),
    );
    let (mut num_tokens, mut num_same) = (0, 0);
    for case in golden(SHORT).into_iter().chain(golden(LONG)) {
        let reference = &case.greedy_token_ids;
        let stop = StopCriteria {
            max_tokens: reference.len(),
            ..StopCriteria::default()
        };
        let request = GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: None,
            constraint: None,
            adapter: None,
            tenant: DEFAULT_TENANT.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt: case.prompt_token_ids.clone(),
            sampling: SamplingParams::greedy(),
            stop,
        };
        let ours = engine.answer(request).token_ids();
        assert_eq!(ours.len(), reference.len());
        let same = ours
            .iter()
            .zip(reference)
            .take_while(|(ours, reference)| ours == reference)
            .count();
        if same < reference.len() {
            let margin = case.margin(same);
            assert!(
                margin < 0.5,
                "{:?}: token {same} differs at a margin of {margin}",
                case.prompt
            );
        }
        num_tokens += reference.len();
        num_same += same;
    }
    println!("free-running: {num_same} of {num_tokens} tokens before the first difference");
    assert!(2 * num_same > num_tokens, "{num_same} of {num_tokens}");
}

#[test]
fn prompts_become_the_reference_token_ids() {
    let file = GgufFile::open(common::default_model()).unwrap();
    let tokenizer = load::tokenizer(Some(file.metadata()), None).unwrap();
    let template = load::chat_template(Some(file.metadata()), &tokenizer, None, None)
        .unwrap()
        .unwrap();
    let encode = |case: &Case| {
        let prompt = encode_chat(
            &tokenizer,
            &template,
            &Conversation::new(case.messages.clone()),
        )
        .unwrap();
        assert_eq!(prompt.text, case.prompt);
        prompt.token_ids
    };
    for case in golden(SHORT) {
        assert_eq!(encode(&case), case.prompt_token_ids);
    }
    // The reference has one `\n\n` before a digit as two tokens; this model's pre-tokenizer splits digits off first.
    let case = &golden(LONG)[0];
    let (ours, theirs) = (encode(case), &case.prompt_token_ids);
    let at = ours
        .iter()
        .zip(theirs)
        .take_while(|(ours, theirs)| ours == theirs)
        .count();
    assert_eq!(
        (&ours[at..at + 1], &theirs[at..at + 2]),
        (&[1116][..], &[198, 198][..])
    );
    assert_eq!(ours[at + 1..], theirs[at + 2..]);
}

#[test]
fn the_card_says_what_the_weights_take() {
    let card = Card::named("smollm2-135m-instruct").unwrap();
    let (config, weights) = common::load(Activations::Int8, &Cpu::new(2).unwrap());
    let says = |name: &str| usize::try_from(card.memory[name]).unwrap();
    assert_eq!(says("as_it_is"), weights.num_bytes());
    let mix = |target| Mix {
        target,
        num_layers: config.layers.len(),
        has_tied_head: true,
    };
    for (name, mix) in [
        ("bf16", None),
        ("q8_0", Some(mix(Quantisation::Q8_0))),
        ("q4_k", Some(mix(Quantisation::Q4K))),
        ("q4_0", Some(mix(Quantisation::Q4_0))),
    ] {
        assert_eq!(says(name) as u64, config.weight_bytes(true, mix), "{name}");
    }
}
