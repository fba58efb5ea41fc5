//! LoRA adapters against PEFT, mixed in a batch with the base, and through the engine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flambeau::backend::cpu::Cpu;
use flambeau::engine::Executor;
use flambeau::kv::BlockPool;
use flambeau::model::{
    Activations, Checkpoint, Decoder, LoraWeights, ModelConfig, Runner, Weights,
};
use flambeau::request::{
    Adapter, DEFAULT_TENANT, GenerateRequest, Priority, SamplingParams, StopCriteria,
};
use flambeau::scheduler::{Scheduler, SchedulerConfig, Sequence, SequenceId};
use safetensors::SafeTensors;

use super::as_gguf;
use super::broken_folders::copy;
use super::run::{self, BLOCK_SIZE, Chunk, NUM_BLOCKS};
use super::transformers::{check, expected, folder, logits_of};

const ADAPTERS: [&str; 3] = ["llama-lora", "llama-lora-qv", "llama-lora-k"];

fn base() -> (ModelConfig, Arc<Weights>) {
    let cpu = Cpu::new(2).unwrap();
    let (checkpoint, config) = Checkpoint::open(&folder("llama")).unwrap();
    let weights = Weights::load(checkpoint.tensors(), &config, Activations::Float, &cpu).unwrap();
    (config, Arc::new(weights))
}

fn decoder((config, weights): &(ModelConfig, Arc<Weights>), num_threads: usize) -> Decoder {
    let limits = flambeau::model::Limits {
        max_model_len: config.context_length,
        ..run::limits()
    };
    let cpu = Cpu::new(num_threads).unwrap();
    Decoder::new(config.clone(), Arc::clone(weights), &limits, cpu).unwrap()
}

fn load(name: &str, (config, weights): &(ModelConfig, Arc<Weights>), id: u64) -> Adapter {
    let weights = LoraWeights::load(&folder(name), config, weights).unwrap();
    Adapter {
        id,
        weights: Arc::new(weights),
    }
}

#[test]
fn every_adapter_gives_the_logits_of_peft() {
    let base = base();
    let (tokens, _) = expected("llama");
    for (i, name) in ADAPTERS.into_iter().enumerate() {
        let adapter = load(name, &base, i as u64);
        let got = run::alone_with(&decoder(&base, 2), &tokens, Some(adapter));
        check(name, &got, &logits_of(name));
    }
}

#[test]
fn adapters_fit_gguf_files_whose_rows_are_in_another_order() {
    let cpu = Cpu::new(2).unwrap();
    let file = as_gguf::open("llama", "llama", true);
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let weights = Weights::load(&file, &config, Activations::Float, &cpu).unwrap();
    let base = (config, Arc::new(weights));
    let (tokens, _) = expected("llama");
    for name in ADAPTERS {
        let adapter = load(name, &base, 1);
        let got = run::alone_with(&decoder(&base, 2), &tokens, Some(adapter));
        check(name, &got, &logits_of(name));
    }
}

fn bits(logits: &[Vec<f32>]) -> Vec<u32> {
    logits.iter().flatten().map(|x| x.to_bits()).collect()
}

#[test]
fn the_base_and_three_adapters_in_one_batch_give_the_bits_of_each_alone() {
    let base = base();
    let (tokens, _) = expected("llama");
    let adapters = ADAPTERS.map(|name| Some(load(name, &base, 1)));
    let adapters = [&[None][..], &adapters].concat();
    let alone = decoder(&base, 1);
    let want: Vec<_> = (adapters.iter())
        .map(|adapter| run::alone_with(&alone, &tokens, adapter.clone()))
        .collect();
    assert!((1..4).all(|i| bits(&want[i]) != bits(&want[0])));
    // Others' blocks lie between, and steps are cut in different places.
    let decoder = decoder(&base, 3);
    let tables: Vec<Vec<u32>> = (0..4)
        .map(|s| {
            (0..NUM_BLOCKS as u32)
                .filter(|block| block % 4 == s)
                .collect()
        })
        .collect();
    let mut got = vec![Vec::new(); 4];
    for cuts in [[5, 1, 7, 9], [6, 20, 8, 30], [40, 40, 40, 40]] {
        let chunks: Vec<Chunk<'_>> = (0..4)
            .map(|s| Chunk {
                tokens: &tokens,
                range: got[s].len()..cuts[s],
                blocks: &tables[s],
            })
            .collect();
        let mut rows = run::step_with(&decoder, &chunks, &adapters).into_iter();
        for (got, chunk) in got.iter_mut().zip(&chunks) {
            got.extend(rows.by_ref().take(chunk.range.len()));
        }
    }
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!(bits(got) == bits(want), "sequence {i}");
    }
}

/// Greedy answers to one prompt, one for each adapter, all at once or one by one, and the blocks that they found in the cache.
fn answers(
    base: &(ModelConfig, Arc<Weights>),
    adapters: Vec<Option<Adapter>>,
    at_once: usize,
) -> Vec<Vec<u32>> {
    let config = SchedulerConfig {
        max_num_seqs: at_once,
        max_num_batched_tokens: 24,
        max_model_len: 256,
        prefix_cache: true,
        target_itl: None,
        speculation: true,
    };
    let mut scheduler = Scheduler::new(config, BlockPool::new(NUM_BLOCKS, BLOCK_SIZE));
    let mut runner = Runner::new(decoder(base, 2), Cpu::new(2).unwrap()).unwrap();
    let (tokens, _) = expected("llama");
    let mut answers: HashMap<SequenceId, Vec<u32>> = HashMap::new();
    let num = adapters.len();
    let mut now = Duration::ZERO;
    for (i, adapter) in adapters.into_iter().enumerate() {
        let request = GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: None,
            constraint: None,
            adapter,
            tenant: DEFAULT_TENANT.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt: tokens.clone(),
            sampling: SamplingParams::greedy(),
            stop: StopCriteria {
                max_tokens: 30,
                ..StopCriteria::default()
            },
        };
        let sequence = Sequence::new(SequenceId(i as u64), request, now, BLOCK_SIZE);
        scheduler.add(sequence, now).unwrap();
        // From here on only the sequence holds its adapter: it is unloaded.
    }
    let (mut committed, mut num_finished) = (Vec::new(), 0);
    while num_finished < num {
        let plan = scheduler.schedule(now);
        let output = runner.step(plan).unwrap();
        now += Duration::from_millis(1);
        scheduler.commit(output.sampled, now, &mut committed);
        for event in committed.drain(..) {
            num_finished += usize::from(event.finish.is_some());
            let tokens = event.token.map(|token| token.token_id);
            answers.entry(event.id).or_default().extend(tokens);
        }
    }
    (0..num as u64)
        .map(|i| answers.remove(&SequenceId(i)).unwrap())
        .collect()
}

#[test]
fn answers_are_the_same_whoever_shares_steps_and_cache_also_when_their_adapter_is_let_go() {
    let base = base();
    let adapters = || {
        let loaded = ADAPTERS.iter().enumerate();
        let loaded = loaded.map(|(i, name)| Some(load(name, &base, 1 + i as u64)));
        // Each twice, so that the second finds the first's blocks, and the others' beside them.
        let once: Vec<Option<Adapter>> = [None].into_iter().chain(loaded).collect();
        [&once[..], &once].concat()
    };
    let alone: Vec<Vec<u32>> = (adapters().into_iter())
        .map(|adapter| answers(&base, vec![adapter], 1).remove(0))
        .collect();
    assert!((1..4).all(|i| alone[i] != alone[0]));
    for at_once in [1, 3, 8] {
        assert_eq!(
            answers(&base, adapters(), at_once),
            alone,
            "{at_once} at once"
        );
    }
}

fn error(folder: &Path) -> String {
    let (config, weights) = base();
    let loaded = LoraWeights::load(folder, &config, &weights);
    loaded.err().expect("the folder is broken").to_string()
}

#[test]
fn a_key_that_asks_for_more_than_low_rank_is_named() {
    for (from, to, key) in [
        (r#""use_dora": false"#, r#""use_dora": true"#, "use_dora"),
        (r#""bias": "none""#, r#""bias": "all""#, "bias"),
        (r#""LORA""#, r#""IA3""#, "peft_type"),
        (
            r#""init_lora_weights": true"#,
            r#""init_lora_weights": "pissa""#,
            "init_lora_weights",
        ),
        (
            r#""modules_to_save": null"#,
            r#""modules_to_save": ["lm_head"]"#,
            "modules_to_save",
        ),
        (
            r#""alpha_pattern": {}"#,
            r#""alpha_pattern": {"q": 3}"#,
            "alpha_pattern",
        ),
        (
            r#""target_parameters": null"#,
            r#""target_parameters": ["experts"]"#,
            "target_parameters",
        ),
    ] {
        let error = error(configured_adapter(from, to).path());
        assert!(
            error.contains(&format!("adapter_config.json: {key}")),
            "{error}"
        );
    }
    let missing = error(configured_adapter(r#""lora_alpha""#, r#""alpha""#).path());
    assert!(missing.contains("lora_alpha"), "{missing}");
}

fn configured_adapter(from: &str, to: &str) -> tempfile::TempDir {
    let copy = copy("llama-lora");
    let path = copy.path().join("adapter_config.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
    copy
}

#[test]
fn what_does_not_fit_the_model_is_named() {
    // Another model's.
    let (checkpoint, config) = Checkpoint::open(&folder("mistral")).unwrap();
    let cpu = Cpu::new(1).unwrap();
    let weights = Weights::load(checkpoint.tensors(), &config, Activations::Int8, &cpu).unwrap();
    let result = LoraWeights::load(&folder("llama-lora"), &config, &weights);
    let message = result.err().unwrap().to_string();
    assert!(
        message.contains("lora_A") && message.contains("projection is"),
        "{message}"
    );
    // A file that is cut off, or is not there.
    let copy = copy("llama-lora");
    let path = copy.path().join("adapter_model.safetensors");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(9000).unwrap();
    assert!(error(copy.path()).contains("truncated"));
    fs::remove_file(&path).unwrap();
    assert!(error(copy.path()).contains("adapter_model.safetensors"));
    assert!(error(Path::new("/nowhere")).contains("/nowhere/adapter_config.json"));
}

#[test]
fn a_tensor_without_its_partner_or_of_no_known_part_is_named() {
    let changed = |from: &str, to: &str| {
        let copy = copy("llama-lora-qv");
        let path = copy.path().join("adapter_model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.tensors().into_iter();
        let tensors = tensors.map(|(name, view)| (name.replace(from, to), view));
        fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        error(copy.path())
    };
    let q = "layers.1.self_attn.q_proj";
    for (from, to) in [
        (format!("{q}.lora_A"), format!("{q}.lora_C")),
        (format!("{q}.lora_B"), format!("{q}.lora_C")),
        (q.to_owned(), "layers.7.self_attn.q_proj".to_owned()),
        (q.to_owned(), "layers.1.self_attn.other".to_owned()),
    ] {
        let message = changed(&from, &to);
        assert!(message.contains("layers."), "{to}: {message}");
    }
}
