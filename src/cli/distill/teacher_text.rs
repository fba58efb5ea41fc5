//! Text that the teacher writes itself, so that no data set is needed: answers to instructions on subjects, sampled at temperature 1.
//! What it is likely to say is what the student has to learn to say.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::bar::Bar;
use crate::backend::cpu::Cpu;
use crate::cli::load;
use crate::cli::opened::Opened;
use crate::engine::{EngineConfig, EngineHandle, Event, EventStream, Executor, ExecutorError};
use crate::model::{Decoder, Limits, Runner, Weights};
use crate::ops::KvDtype;
use crate::request::{GenerateRequest, SamplingParams, StopCriteria};
use crate::scheduler::SchedulerConfig;
use crate::telemetry::Telemetry;
use crate::text::{ChatTemplate, Conversation, Message, Role, Tokenizer, encode_chat};

const INSTRUCTIONS: [&str; 14] = [
    "Explain {} to a beginner.",
    "Write a short story about {}.",
    "Give me five tips about {}.",
    "What are common misconceptions about {}?",
    "Write an email to a colleague about {}.",
    "Summarise what is known about {} in one paragraph.",
    "Write a dialogue between two friends about {}.",
    "What is the history of {}?",
    "Compare two views on {}.",
    "Write a poem about {}.",
    "Make a quiz of three questions about {}, with answers.",
    "Write a Python function that has to do with {}.",
    "Describe a day in the life of somebody who works with {}.",
    "Why does {} matter?",
];

const SUBJECTS: [&str; 64] = [
    "the sea",
    "bread",
    "black holes",
    "chess",
    "the human heart",
    "trains",
    "prime numbers",
    "volcanoes",
    "gardening",
    "the Roman Empire",
    "vaccines",
    "jazz",
    "electric cars",
    "dreams",
    "the moon",
    "coffee",
    "bees",
    "recursion",
    "glaciers",
    "public libraries",
    "football",
    "inflation",
    "Shakespeare",
    "photosynthesis",
    "bicycles",
    "earthquakes",
    "friendship",
    "databases",
    "owls",
    "the Silk Road",
    "cheese",
    "sleep",
    "bridges",
    "probability",
    "the immune system",
    "theatre",
    "rivers",
    "programming languages",
    "dinosaurs",
    "tea",
    "elections",
    "light",
    "mountains",
    "cooking at home",
    "genetics",
    "satellites",
    "money",
    "forests",
    "languages",
    "weather forecasts",
    "the printing press",
    "dogs",
    "sorting a list",
    "museums",
    "deserts",
    "exercise",
    "maps",
    "steam engines",
    "time zones",
    "learning an instrument",
    "recycling",
    "whales",
    "the internet",
    "patience",
];

/// Sequences that are computed together.
const AT_ONCE: usize = 16;
/// Tokens of an answer at most.
const MAX_ANSWER: usize = 256;
/// Tokens of a sequence at most.
const MAX_SEQUENCE: usize = 448;
const BLOCK_SIZE: usize = 16;

/// At least `wanted` tokens of prompts and answers, one after the other: a function of the model and the seed.
pub(super) fn write(
    opened: &Opened,
    tokenizer: &Tokenizer,
    weights: &Arc<Weights>,
    wanted: usize,
    seed: u64,
    cpu: &Cpu,
) -> anyhow::Result<Vec<u32>> {
    let folder = opened.checkpoint.metadata().is_none();
    let folder = folder.then_some(opened.source.path.as_path());
    let metadata = opened.checkpoint.metadata();
    let template = load::chat_template(metadata, tokenizer, None, folder)?.ok();
    let engine = Engine::start(opened, weights, cpu)?;
    let mut bar = Bar::new("teacher writes");
    let mut tokens: Vec<u32> = Vec::with_capacity(wanted + MAX_SEQUENCE);
    let mut open: VecDeque<(Vec<u32>, EventStream)> = VecDeque::new();
    for i in 0.. {
        // Answers are read in the order of their questions, so that it is the same text however they share steps.
        if open.len() == 2 * AT_ONCE {
            let (prompt, stream) = open.pop_front().context("there is one: this is a bug")?;
            tokens.extend(prompt);
            answer(stream, &mut tokens)?;
            bar.show(tokens.len(), wanted, "");
        }
        if tokens.len() >= wanted {
            break;
        }
        let prompt = prompt(tokenizer, template.as_ref(), i, seed)?;
        if prompt.len() + MAX_ANSWER > engine.max_model_len {
            bail!("--teacher: its prompts take more than {MAX_SEQUENCE} tokens; give it --text");
        }
        let request = request(&prompt, tokenizer, seed.wrapping_add(i));
        open.push_back((prompt, engine.handle.submit(request)?));
    }
    bar.end();
    Ok(tokens)
}

/// The i-th question: every subject comes before any comes again, each time with another instruction.
fn prompt(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    i: u64,
    seed: u64,
) -> anyhow::Result<Vec<u32>> {
    let num = SUBJECTS.len() as u64;
    let i = i.wrapping_add(seed.wrapping_mul(31));
    let subject = SUBJECTS[(i % num) as usize];
    let instruction = INSTRUCTIONS[((i + i / num) % INSTRUCTIONS.len() as u64) as usize];
    let question = instruction.replace("{}", subject);
    let Some(template) = template else {
        return Ok(tokenizer.encode_prompt(&question)?);
    };
    let conversation = Conversation::new(vec![Message::new(Role::User, question)]);
    Ok(encode_chat(tokenizer, template, &conversation)?.token_ids)
}

fn request(prompt: &[u32], tokenizer: &Tokenizer, seed: u64) -> GenerateRequest {
    GenerateRequest {
        sampling: SamplingParams {
            temperature: 1.0,
            seed,
            ..SamplingParams::greedy()
        },
        stop: StopCriteria {
            stop_token_ids: tokenizer.eos_ids().to_vec(),
            max_tokens: MAX_ANSWER,
            ..StopCriteria::default()
        },
        ..GenerateRequest::greedy(prompt.to_vec(), MAX_ANSWER)
    }
}

fn answer(mut stream: EventStream, tokens: &mut Vec<u32>) -> anyhow::Result<()> {
    while let Some(event) = stream.blocking_recv() {
        match event {
            Event::Token { token, .. } => tokens.push(token.token_id),
            Event::Prompt(_) => {}
            Event::Failed(error) => return Err(error).context("the teacher's answer"),
        }
    }
    Ok(())
}

/// An engine of the teacher, which ends with this.
struct Engine {
    handle: EngineHandle,
    max_model_len: usize,
}

impl Engine {
    fn start(opened: &Opened, weights: &Arc<Weights>, cpu: &Cpu) -> anyhow::Result<Self> {
        let max_model_len = MAX_SEQUENCE.min(opened.config.context_length);
        let num_blocks = AT_ONCE * max_model_len.div_ceil(BLOCK_SIZE);
        let scheduler = SchedulerConfig {
            max_num_seqs: AT_ONCE,
            max_num_batched_tokens: 256,
            max_model_len,
            prefix_cache: true,
            target_itl: None,
            speculation: false,
        };
        let limits = Limits {
            max_num_batched_tokens: scheduler.max_num_batched_tokens,
            max_samples: scheduler.max_samples(),
            max_model_len,
            num_blocks,
            num_host_blocks: 0,
            block_size: BLOCK_SIZE,
            kv_dtype: KvDtype::F16,
        };
        let config = EngineConfig {
            scheduler,
            num_blocks,
            num_host_blocks: 0,
            block_size: BLOCK_SIZE,
            max_waiting: 2 * AT_ONCE,
            has_tenants: false,
        };
        let (model, weights, cpu) = (opened.config.clone(), Arc::clone(weights), cpu.clone());
        let factory = move || {
            let decoder = Decoder::new(model.clone(), Arc::clone(&weights), &limits, cpu.clone());
            let runner = decoder.and_then(|decoder| Runner::new(decoder, cpu.clone()));
            let runner = runner.map_err(|error| ExecutorError(error.to_string()))?;
            Ok::<Box<dyn Executor>, ExecutorError>(Box::new(runner))
        };
        let metrics = Telemetry::new()?.engine(&opened.source.name);
        let (handle, _) = EngineHandle::spawn(config, Box::new(factory), metrics)?;
        Ok(Self {
            handle,
            max_model_len,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn subjects_and_instructions_meet_in_every_pair_before_any_comes_again() {
        let (subjects, instructions) = (SUBJECTS.len() as u64, INSTRUCTIONS.len() as u64);
        let pair = |i: u64| (i % subjects, (i + i / subjects) % instructions);
        let num = 7 * subjects;
        let pairs: BTreeSet<_> = (0..num).map(pair).collect();
        assert_eq!(pairs.len() as u64, num);
    }
}
