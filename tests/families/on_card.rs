//! The decoder on a card: the shim's, whose kernels run on the CPU.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::engine::Executor;
use flambeau::kv::BlockPool;
use flambeau::model::{
    Activations, Checkpoint, Decoder, Limits, LoadOptions, LoraWeights, ModelConfig, Runner,
    Weights,
};
use flambeau::ops::KvDtype;
use flambeau::request::{
    Adapter, DEFAULT_TENANT, GenerateRequest, Priority, PromptLogprobs, SamplingParams,
    StopCriteria,
};
use flambeau::scheduler::{Scheduler, SchedulerConfig, Sequence, SequenceId};

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::model::{Model, Rng, Spec};
use super::run::{self, Chunk, alone, limits, open, prompt, step};
use super::shim_card::{be_hasty, shim_device};
use super::transformers::folder;

const NUM_HOST_BLOCKS: usize = 24;

/// A Llama whose heads cards compute.
pub fn spec() -> Spec {
    Spec {
        head_dim: Some(64),
        hidden: 128,
        vocab: 128,
        ..Spec::llama()
    }
}

fn decoder(model: &Model, activations: Activations, kv_dtype: KvDtype, device: Device) -> Decoder {
    decoder_and_weights(model, activations, kv_dtype, device).0
}

fn decoder_and_weights(
    model: &Model,
    activations: Activations,
    kv_dtype: KvDtype,
    device: Device,
) -> (Decoder, ModelConfig, Arc<Weights>) {
    let options = LoadOptions {
        device,
        ..activations.into()
    };
    loaded(model, options, kv_dtype)
}

pub fn loaded(
    model: &Model,
    options: LoadOptions,
    kv_dtype: KvDtype,
) -> (Decoder, ModelConfig, Arc<Weights>) {
    let (file, cpu) = (open(model), Cpu::new(2).unwrap());
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let weights = Weights::load(&file, &config, options, &cpu).unwrap();
    let limits = Limits {
        kv_dtype,
        // A card's is pinned memory of the host.
        num_host_blocks: NUM_HOST_BLOCKS,
        ..limits()
    };
    let weights = Arc::new(weights);
    let decoder = Decoder::new(config.clone(), Arc::clone(&weights), &limits, cpu).unwrap();
    (decoder, config, weights)
}

pub fn on_card(model: &Model, kv_dtype: KvDtype) -> Decoder {
    decoder(model, Activations::Int8, kv_dtype, shim_device())
}

/// With floats, and weights as they are.
pub fn on_cpu(model: &Model, kv_dtype: KvDtype) -> Decoder {
    decoder(model, Activations::Float, kv_dtype, Device::Cpu)
}

pub fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let bits = |row: &Vec<f32>| row.iter().map(|x| x.to_bits()).collect();
    rows.iter().map(bits).collect()
}

/// The root of the mean square difference, relative to the logits'.
pub fn difference(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    let squares = |f: &dyn Fn(f32, f32) -> f32| -> f64 {
        let pairs = got.iter().flatten().zip(want.iter().flatten());
        pairs.map(|(a, b)| f64::from(f(*a, *b)).powi(2)).sum()
    };
    (squares(&|a, b| a - b) / squares(&|_, b| b)).sqrt()
}

#[test]
fn card_gives_the_logits_of_the_cpu_within_the_rounding_of_bfloat16() {
    for (spec, bound) in [
        (spec(), 0.02),
        // Quantised to Q8_0 and Q4_K.
        (Spec { ty: 8, ..spec() }, 0.02),
        (
            Spec {
                ty: 12,
                hidden: 256,
                inner: 256,
                heads: 4,
                ..spec()
            },
            0.02,
        ),
        // Biases, norms of heads, other pairs.
        (
            Spec {
                head_dim: Some(64),
                hidden: 128,
                ..Spec::qwen3()
            },
            0.02,
        ),
        (
            Spec {
                head_dim: Some(128),
                ..Spec::qwen2()
            },
            0.02,
        ),
    ] {
        let model = Model::random(&spec, 3);
        let tokens = prompt(&model, 40, 1);
        for kv_dtype in [KvDtype::Bf16, KvDtype::F16, KvDtype::Int8] {
            let want = alone(&on_cpu(&model, kv_dtype), &tokens);
            let got = alone(&on_card(&model, kv_dtype), &tokens);
            let difference = difference(&got, &want);
            // Of int8, the least difference can move a value by a step.
            let bound = if kv_dtype == KvDtype::Int8 {
                0.04
            } else {
                bound
            };
            assert!(difference < bound, "{kv_dtype}: {difference}");
        }
    }
}

#[test]
fn card_gives_a_row_the_same_bits_alone_in_chunks_and_in_company() {
    let model = Model::random(&spec(), 4);
    let decoder = on_card(&model, KvDtype::Bf16);
    let (a, b) = (prompt(&model, 300, 1), prompt(&model, 37, 2));
    let blocks: Vec<u32> = (0..run::NUM_BLOCKS as u32).rev().collect();
    let (of_a, of_b) = blocks.split_at(24);
    let whole = alone(&decoder, &a);
    let chunk = |tokens, range, blocks| Chunk {
        tokens,
        range,
        blocks,
    };
    let mut parts = step(&decoder, &[chunk(&a, 0..1, of_a)]);
    parts.extend(step(&decoder, &[chunk(&a, 1..33, of_a)]));
    let mixed = step(
        &decoder,
        &[chunk(&a, 33..290, of_a), chunk(&b, 0..37, of_b)],
    );
    parts.extend_from_slice(&mixed[..257]);
    for at in 290..300 {
        parts.extend(step(&decoder, &[chunk(&a, at..at + 1, of_a)]));
    }
    assert!(bits(&parts) == bits(&whole));
    assert!(bits(&mixed[257..]) == bits(&alone(&decoder, &b)));
}

#[test]
fn card_gives_a_recorded_step_the_bits_of_one_that_is_launched() {
    let model = Model::random(&spec(), 6);
    let (recorded, launched) = (
        on_card(&model, KvDtype::Bf16),
        on_card(&model, KvDtype::Bf16),
    );
    let tokens: Vec<Vec<u32>> = (0..3).map(|i| prompt(&model, 320, i)).collect();
    let blocks: Vec<u32> = (0..run::NUM_BLOCKS as u32).rev().collect();
    let tables = [&blocks[..24], &blocks[24..36], &blocks[36..]];
    let mut lens = [0; 3];
    let mut step = |rows: &[(usize, usize)]| {
        let chunks: Vec<Chunk<'_>> = (rows.iter())
            .map(|&(s, len)| Chunk {
                tokens: &tokens[s],
                range: lens[s]..lens[s] + len,
                blocks: tables[s],
            })
            .collect();
        let mut plan = run::plan_of(&chunks, &vec![None; rows.len()]);
        let replayed = run::logits(&recorded, &plan);
        // Where logits are read twice nothing is recorded.
        plan.samples.push(plan.samples[0].clone());
        let mut direct = run::logits(&launched, &plan);
        direct.pop();
        assert!(bits(&replayed) == bits(&direct), "{rows:?}");
        rows.iter().for_each(|&(s, len)| lens[s] += len);
    };
    // The same kinds of steps with other sequences, some with drafted rows.
    let few = [
        &[(1, 3)][..],
        &[(2, 17)],
        &[(1, 1)],
        &[(1, 1), (2, 1)],
        &[(2, 1)],
        &[(1, 2), (2, 3)],
    ];
    // Then a prompt whose numbers need more room, which changes where they lie; and steps of two spans.
    let many = [
        &[(0, 260)][..],
        &[(0, 1)],
        &[(1, 1)],
        &[(0, 1)],
        &[(2, 1)],
        &[(0, 1), (1, 1)],
        &[(2, 1), (0, 3)],
        &[(0, 1), (2, 1)],
        &[(2, 1), (1, 1), (0, 1)],
        &[(1, 1)],
    ];
    few.into_iter().chain(many).for_each(&mut step);
    // What came twice since then: 1 row of one span and of two, 2 and 4 of two.
    assert_eq!((recorded.num_recorded(), launched.num_recorded()), (4, 0));
}

/// An adapter of random values for all of the model's layers but some, as PEFT writes it.
fn adapter_folder(model: &Model, rank: usize, seed: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"peft_type": "LORA", "lora_alpha": 2 * rank, "r": rank});
    fs::write(
        folder.path().join("adapter_config.json"),
        config.to_string(),
    )
    .unwrap();
    let Spec {
        hidden,
        inner,
        heads,
        kv_heads,
        ..
    } = model.spec;
    let (q, kv) = (heads * 64, kv_heads * 64);
    let mut rng = Rng(seed);
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for layer in 0..model.spec.layers {
        for (name, outputs, inputs) in [
            ("self_attn.q_proj", q, hidden),
            ("self_attn.v_proj", kv, hidden),
            ("self_attn.o_proj", hidden, q),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ] {
            // Not every layer has every part.
            if (layer + name.len()).is_multiple_of(3) {
                continue;
            }
            for (part, dims) in [("A", [rank, inputs]), ("B", [outputs, rank])] {
                let mut value = || (rng.below(2001) as f32 - 1000.0) / 1e4;
                let values = (0..dims[0] * dims[1]).flat_map(|_| value().to_le_bytes());
                let key =
                    format!("base_model.model.model.layers.{layer}.{name}.lora_{part}.weight");
                tensors.push((key, dims.to_vec(), values.collect()));
            }
        }
    }
    let views = tensors.iter().map(|(key, dims, bytes)| {
        let view = TensorView::new(safetensors::Dtype::F32, dims.clone(), bytes).unwrap();
        (key.clone(), view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(folder.path().join("adapter_model.safetensors"), bytes).unwrap();
    folder
}

#[test]
fn card_computes_adapters_as_the_cpu_does_and_the_same_alone_and_beside_others() {
    let model = Model::random(&spec(), 7);
    let folders = [adapter_folder(&model, 8, 1), adapter_folder(&model, 20, 2)];
    let loaded = |activations, device| {
        let (decoder, config, weights) =
            decoder_and_weights(&model, activations, KvDtype::Bf16, device);
        let adapters: Vec<Adapter> = (folders.iter().zip(1..))
            .map(|(folder, id)| Adapter {
                id,
                weights: Arc::new(LoraWeights::load(folder.path(), &config, &weights).unwrap()),
            })
            .collect();
        (decoder, adapters)
    };
    let (cpu, cpu_adapters) = loaded(Activations::Float, Device::Cpu);
    let (card, adapters) = loaded(Activations::Int8, shim_device());
    let tokens = prompt(&model, 30, 1);
    let base = alone(&card, &tokens);
    let with: Vec<Vec<Vec<f32>>> = (adapters.iter().zip(&cpu_adapters))
        .map(|(adapter, cpu_adapter)| {
            let got = run::alone_with(&card, &tokens, Some(adapter.clone()));
            let want = run::alone_with(&cpu, &tokens, Some(cpu_adapter.clone()));
            let (wrong, changed) = (difference(&got, &want), difference(&got, &base));
            assert!(wrong < 0.02 && changed > 0.1, "{wrong} {changed}");
            got
        })
        .collect();
    // All in one step, each with blocks of its own.
    let blocks: Vec<u32> = (0..run::NUM_BLOCKS as u32).rev().collect();
    let order = [Some(0), None, Some(1), Some(0), Some(1), Some(0)];
    let chunks: Vec<Chunk<'_>> = (0..order.len())
        .map(|i| Chunk {
            tokens: &tokens,
            range: 0..30,
            blocks: &blocks[i * 4..],
        })
        .collect();
    let of = |i: Option<usize>| i.map(|i| adapters[i].clone());
    let together = run::step_with(&card, &chunks, &order.map(of));
    for (i, adapter) in order.into_iter().enumerate() {
        let alone = adapter.map_or(&base, |adapter| &with[adapter]);
        assert!(
            bits(&together[i * 30..][..30]) == bits(alone),
            "{adapter:?}"
        );
    }
}

/// A folder of the fixtures with heads of 64 and other values.
pub fn with_wider_heads(name: &str) -> tempfile::TempDir {
    const HEAD_DIM: usize = 64;
    let wider = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(folder(name).join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |key: &str| config[key].as_u64().map(|number| number as usize);
    let heads = number("num_attention_heads").unwrap();
    let head_dim = number("head_dim");
    let head_dim = head_dim.unwrap_or_else(|| number("hidden_size").unwrap() / heads);
    config["head_dim"] = HEAD_DIM.into();
    fs::write(wider.path().join("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(folder(name).join("model.safetensors")).unwrap();
    let source = SafeTensors::deserialize(&bytes).unwrap();
    let mut rng = Rng(8);
    let mut named = source.tensors();
    // They come in another order each time.
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let tensors = named.into_iter().map(|(key, view)| {
        let mut dims = view.shape().to_vec();
        // Which of its sizes is one of heads, if one is.
        let of_heads = ["q_proj", "k_proj", "v_proj", "q_norm", "k_norm"];
        let i = match key.contains("o_proj.weight") {
            true => Some(1),
            false => of_heads.iter().any(|part| key.contains(part)).then_some(0),
        };
        if let Some(i) = i {
            dims[i] = dims[i] / head_dim * HEAD_DIM;
        }
        let around = if key.contains("norm") { 1.0 } else { 0.0 };
        let mut value = || around + (rng.below(2001) as f32 - 1000.0) / 5e3;
        let values = (0..dims.iter().product()).flat_map(|_| value().to_le_bytes());
        (key, dims, values.collect::<Vec<u8>>())
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(key, dims, bytes)| {
        let view = TensorView::new(safetensors::Dtype::F32, dims.clone(), bytes).unwrap();
        (key.clone(), view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(wider.path().join("model.safetensors"), bytes).unwrap();
    wider
}

#[test]
fn card_routes_rows_to_experts_as_the_cpu_does_and_the_same_alone_and_in_company() {
    for name in ["qwen3-moe", "mixtral", "gpt-oss"] {
        let folder = with_wider_heads(name);
        let (checkpoint, config) = Checkpoint::open(folder.path()).unwrap();
        let decoder = |activations: Activations, device| {
            let cpu = Cpu::new(2).unwrap();
            let options = LoadOptions {
                device,
                ..activations.into()
            };
            let weights = Weights::load(checkpoint.tensors(), &config, options, &cpu).unwrap();
            let limits = Limits {
                max_model_len: config.context_length,
                kv_dtype: KvDtype::Bf16,
                ..limits()
            };
            Decoder::new(config.clone(), Arc::new(weights), &limits, cpu).unwrap()
        };
        let card = decoder(Activations::Int8, shim_device());
        let tokens: Vec<u32> = (0..230).map(|i| i * 31 % 64).collect();
        let whole = alone(&card, &tokens);
        let want = alone(&decoder(Activations::Float, Device::Cpu), &tokens);
        let wrong = difference(&whole, &want);
        assert!(wrong < 0.03, "{name}: {wrong}");
        // Rows that are few and many, so that tiles of each size are met.
        let blocks: Vec<u32> = (0..run::NUM_BLOCKS as u32).rev().collect();
        let mut parts = Vec::new();
        for range in [0..1, 1..4, 4..40, 40..41, 41..230] {
            let chunk = Chunk {
                tokens: &tokens,
                range,
                blocks: &blocks,
            };
            parts.extend(step(&card, &[chunk]));
        }
        assert!(bits(&parts) == bits(&whole), "{name}");
        // Where logits are read twice nothing is recorded, and no row is there for the number's sake.
        let chunk = Chunk {
            tokens: &tokens,
            range: 0..230,
            blocks: &blocks,
        };
        let mut plan = run::plan_of(&[chunk], &[None]);
        plan.samples.push(plan.samples[0].clone());
        let mut direct = run::logits(&card, &plan);
        direct.pop();
        assert!(bits(&direct) == bits(&whole), "{name}");
    }
}

/// What happened beside answers.
#[derive(Default)]
pub struct Events {
    pub num_preemptions: u64,
    /// Blocks that came back from the host.
    pub num_loads: u64,
    /// Rows that were launched before their tokens were known.
    pub num_ahead: usize,
}

/// What each request is answered, all of them begun at once, a step after the other or a step ahead.
pub fn answers(
    decoder: Decoder,
    requests: Vec<GenerateRequest>,
    config: SchedulerConfig,
    num_blocks: usize,
    looks_ahead: bool,
) -> (Vec<Vec<u32>>, Events) {
    let mut runner = Runner::new(decoder, Cpu::new(1).unwrap()).unwrap();
    let pool = BlockPool::new(num_blocks, run::BLOCK_SIZE).with_host_arena(NUM_HOST_BLOCKS);
    let mut scheduler = Scheduler::new(config, pool);
    let mut now = Duration::ZERO;
    let mut num_open = requests.len();
    let (mut answers, mut committed) = (vec![Vec::new(); num_open], Vec::new());
    for (i, request) in requests.into_iter().enumerate() {
        let sequence = Sequence::new(SequenceId(i as u64), request, now, run::BLOCK_SIZE);
        scheduler.add(sequence, now).unwrap();
    }
    let mut events = Events::default();
    let mut drawn = None;
    while num_open > 0 {
        now += Duration::from_millis(1);
        let mut launched = None;
        if drawn.is_none() || looks_ahead {
            let plan = scheduler.schedule(now);
            events.num_ahead += plan.pending.len();
            if !plan.is_empty() {
                launched = Some(runner.launch(plan).unwrap());
            }
        }
        if let Some(ticket) = drawn.take() {
            let output = runner.collect(ticket).unwrap();
            scheduler.commit(output.sampled, now, &mut committed);
        }
        if let Some(ticket) = launched {
            runner.draw(&ticket, scheduler.plan()).unwrap();
            drawn = Some(ticket);
        }
        for event in committed.drain(..) {
            let token = event.token.expect("every logit is finite");
            answers[event.id.0 as usize].push(token.token_id);
            num_open -= usize::from(event.finish.is_some());
        }
    }
    events.num_preemptions = scheduler.num_preemptions();
    events.num_loads = scheduler.pool().num_loads();
    (answers, events)
}

/// Prompts with a common beginning, drawn in every way.
pub fn requests(model: &Model) -> Vec<GenerateRequest> {
    let beginning = prompt(model, 40, 9);
    let request = |i: usize| {
        let mut prompt_tokens = beginning[..20 + i % 3 * 10].to_vec();
        prompt_tokens.extend(prompt(model, 5 + 7 * (i % 4), i as u64));
        let mut sampling = SamplingParams {
            temperature: [0.0, 1.0, 0.7][i % 3],
            seed: i as u64,
            ..SamplingParams::greedy()
        };
        match i % 4 {
            1 => sampling.top_p = 0.8,
            2 => (sampling.presence_penalty, sampling.repetition_penalty) = (0.5, 1.2),
            3 => (sampling.top_k, sampling.logit_bias) = (20, vec![(3, 2.0), (5, -50.0)]),
            _ => {}
        }
        sampling.logprobs = i.is_multiple_of(5).then_some(3);
        GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: (i == 6).then(|| PromptLogprobs::of_all(1)),
            constraint: None,
            adapter: None,
            tenant: DEFAULT_TENANT.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt: prompt_tokens,
            sampling,
            stop: StopCriteria {
                max_tokens: 24,
                ..StopCriteria::default()
            },
        }
    };
    (0..8).map(request).collect()
}

#[test]
fn card_answers_the_same_alone_in_company_after_hits_of_cache_and_host_preemption_drafts_and_a_step_ahead()
 {
    let model = Model::random(&spec(), 5);
    let config = SchedulerConfig {
        max_num_seqs: 1,
        max_num_batched_tokens: 512,
        max_model_len: 256,
        prefix_cache: false,
        target_itl: None,
        speculation: false,
    };
    let decoder = || on_card(&model, KvDtype::F16);
    let (alone, _) = answers(decoder(), requests(&model), config, run::NUM_BLOCKS, false);
    for (speculation, looks_ahead, is_hasty) in [
        (true, false, false),
        (true, true, true),
        (false, true, false),
        (false, true, true),
    ] {
        // Blocks come from the host beside the steps before: as late as they may, or as early.
        be_hasty(is_hasty);
        let company = SchedulerConfig {
            max_num_seqs: 8,
            max_num_batched_tokens: 32,
            prefix_cache: true,
            speculation,
            ..config
        };
        let requests = requests(&model);
        let (together, events) = answers(decoder(), requests, company, 20, looks_ahead);
        assert_eq!(together, alone);
        assert!(
            events.num_preemptions > 0,
            "the cache was too large for the test"
        );
        assert!(events.num_loads > 0, "nothing came back from the host");
        assert_eq!(events.num_ahead > 20, looks_ahead, "{}", events.num_ahead);
    }
}
