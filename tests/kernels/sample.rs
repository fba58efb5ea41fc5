//! Drawing against the CPU's sampler, which has its own tests.

use candle_core::DType;
use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::constraint::TokenMask;
use flambeau::ops::Tensor;
use flambeau::request::{SampledToken, SamplingParams};
use flambeau::sample::{CardSampler, RowContext, sample};

use super::shim::{Buffer, Kernel};
use super::shim_card::shim_device;
use super::values::Random;

const MAX_LOGPROBS: usize = 20;
const NONE: u32 = u32::MAX;

#[derive(Clone)]
struct Row {
    params: SamplingParams,
    position: u32,
    prompt: Vec<u32>,
    output: Vec<u32>,
    /// Of the output, the last that counts do not have.
    banned: Vec<u32>,
    mask: Option<TokenMask>,
    known: Option<u32>,
    logits: Vec<f32>,
}

fn contexts(rows: &[Row]) -> Vec<RowContext<'_>> {
    (rows.iter())
        .map(|row| RowContext {
            params: &row.params,
            position: row.position,
            prompt: &row.prompt,
            output: &row.output,
            banned: &row.banned,
            mask: row.mask.as_ref(),
            known: row.known,
        })
        .collect()
}

fn on_cpu(rows: &[Row]) -> Vec<Option<SampledToken>> {
    let logits: Vec<f32> = rows.iter().flat_map(|row| row.logits.clone()).collect();
    let logits = Tensor::from_slice(&logits, (rows.len(), rows[0].logits.len()))
        .expect("a tensor of the shape");
    let contexts = contexts(rows);
    sample(&logits, &contexts, &Cpu::new(2).expect("two threads")).expect("rows that fit")
}

/// The tokens and log-probabilities of the kernel, as the CPU's sampler gives them.
fn on_shim(rows: &[Row], seed: u32) -> Vec<Option<SampledToken>> {
    let vocab_size = rows[0].logits.len();
    let (mut pool, mut pool_values, mut fields, mut masks) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut history, mut runs) = (vec![0u32], Vec::new());
    for (i, row) in rows.iter().enumerate() {
        let params = &row.params;
        let mut range = |tokens: &[u32], values: &[f32]| {
            let start = pool.len() as u32;
            pool.extend_from_slice(tokens);
            pool_values
                .extend((0..tokens.len()).map(|i| values.get(i).copied().unwrap_or(f32::NAN)));
            [start, pool.len() as u32]
        };
        let (ids, values): (Vec<u32>, Vec<f32>) = params.logit_bias.iter().copied().unzip();
        let bias = range(&ids, &values);
        let banned = range(&row.banned, &[]);
        for (tokens, is_prompt) in [(&row.prompt[..], 1), (&row.output[..], 0)] {
            let start = history.len() as u32;
            history.extend_from_slice(tokens);
            runs.extend([i as u32, start, history.len() as u32, is_prompt]);
        }
        let mask = match &row.mask {
            None => -1,
            Some(mask) => {
                masks.extend((0..vocab_size.div_ceil(32)).map(|word| {
                    let bits = (0..32).filter(|bit| mask.allows(word as u32 * 32 + bit));
                    bits.fold(0u32, |all, bit| all | 1 << bit)
                }));
                (masks.len() / vocab_size.div_ceil(32)) as i32 - 1
            }
        };
        let floats = [
            params.temperature,
            params.top_p,
            params.min_p,
            params.repetition_penalty,
            params.frequency_penalty,
            params.presence_penalty,
        ];
        fields.extend(floats.map(f32::to_bits));
        fields.extend([
            params.top_k,
            params.logprobs.map_or(-1i32, |n| n as i32).cast_unsigned(),
        ]);
        fields.push(row.known.map_or(-1i32, |id| id as i32).cast_unsigned());
        fields.push(if params.has_penalties() {
            i as u32
        } else {
            NONE
        });
        fields.push(mask.cast_unsigned());
        fields.extend([
            params.choice,
            row.position,
            params.seed as u32,
            (params.seed >> 32) as u32,
        ]);
        fields.extend([bias, banned].concat());
    }
    let counts = Buffer::new("counts", &vec![0u32; rows.len() * vocab_size]);
    let (history, runs_buffer) = (Buffer::new("tokens", &history), Buffer::new("runs", &runs));
    let kernel = Kernel::new("count_tokens", [runs.len() / 4, 1, 1], 256)
        .buffer(&counts)
        .buffer(&history);
    kernel.buffer(&runs_buffer).int(vocab_size).run();

    let logits: Vec<f32> = rows.iter().flat_map(|row| row.logits.clone()).collect();
    let (tokens, ranks) = (
        Buffer::<u32>::output("tokens", rows.len()),
        Buffer::<u32>::output("ranks", rows.len()),
    );
    let chosen = Buffer::<f32>::output("chosen_logprobs", rows.len());
    let top_ids = Buffer::<u32>::output("top_ids", rows.len() * MAX_LOGPROBS);
    let top_logprobs = Buffer::<f32>::output("top_logprobs", rows.len() * MAX_LOGPROBS);
    let (logits, work) = (
        Buffer::new("logits", &logits),
        Buffer::<f32>::output("work", rows.len() * vocab_size),
    );
    Kernel::new("sample", [rows.len(), 1, 1], 512)
        .buffer(&tokens)
        .buffer(&chosen)
        .buffer(&ranks)
        .buffer(&top_ids)
        .buffer(&top_logprobs)
        .buffer(&logits)
        .buffer(&work)
        .buffer(&Buffer::new("rows", &fields))
        .buffer(&Buffer::new("pool", &pool))
        .buffer(&Buffer::new("pool_values", &pool_values))
        .buffer(&counts)
        .buffer(&Buffer::new("masks", &masks))
        .int(vocab_size)
        .try_run(seed)
        .unwrap_or_else(|message| panic!("{message}"));
    let (tokens, ranks, chosen) = (tokens.to_vec(), ranks.to_vec(), chosen.to_vec());
    let (top_ids, top_logprobs) = (top_ids.to_vec(), top_logprobs.to_vec());
    let token = |(i, row): (usize, &Row)| {
        let logprobs = row
            .params
            .logprobs
            .map(|count| flambeau::request::TokenLogprobs {
                chosen: chosen[i],
                rank: ranks[i],
                top: (i * MAX_LOGPROBS..i * MAX_LOGPROBS + (count as usize).min(vocab_size))
                    .map(|at| (top_ids[at], top_logprobs[at]))
                    .collect(),
            });
        (tokens[i] != NONE).then_some(SampledToken {
            token_id: tokens[i],
            logprobs,
        })
    };
    rows.iter().enumerate().map(token).collect()
}

/// Rows of every kind, also with logits that tie or are no numbers.
fn rows(num: usize, vocab_size: usize, seed: u64) -> Vec<Row> {
    let mut random = Random::new(seed);
    let tokens = |random: &mut Random, most: usize| -> Vec<u32> {
        (0..random.below(most + 1))
            .map(|_| random.below(vocab_size) as u32)
            .collect()
    };
    let row = |i: usize| {
        let random = &mut random;
        let mut logits = random.floats(vocab_size, 8.0);
        match i % 8 {
            0 => logits.iter_mut().for_each(|x| *x = x.round()),
            1 => logits.fill(-0.0),
            2 => {
                logits[random.below(vocab_size)] = f32::NAN;
                logits[random.below(vocab_size)] = f32::NEG_INFINITY;
            }
            _ => {}
        }
        let mut params = SamplingParams {
            temperature: [0.0, 0.3, 1.0, 1.7][random.below(4)],
            ..SamplingParams::greedy()
        };
        let pick = |random: &mut Random| random.below(2) == 0;
        if pick(random) {
            params.top_k = [1, 2, 17, 300, u32::MAX >> 1][random.below(5)];
        }
        if pick(random) {
            params.top_p = [0.05, 0.5, 0.9, 0.999][random.below(4)];
        }
        if pick(random) {
            params.min_p = [0.01, 0.2, 1.0][random.below(3)];
        }
        if pick(random) {
            params.presence_penalty = 0.7;
            params.frequency_penalty = [0.0, 0.4][random.below(2)];
            params.repetition_penalty = [1.0, 1.3][random.below(2)];
        }
        params.seed = random.bits();
        params.choice = random.below(3) as u32;
        if pick(random) {
            params.logprobs = Some(random.below(MAX_LOGPROBS + 1) as u32);
        }
        let biased: std::collections::BTreeSet<u32> = tokens(random, 5).into_iter().collect();
        params.logit_bias = biased
            .into_iter()
            .map(|id| (id, random.float(6.0)))
            .collect();
        let mut banned = tokens(random, 6);
        banned.sort_unstable();
        banned.dedup();
        if pick(random) {
            banned.clear();
        }
        let mask = pick(random).then(|| {
            let mut mask = TokenMask::none(vocab_size);
            // One in four allows nothing but a banned token.
            match (random.below(4), banned.first()) {
                (0, Some(id)) => mask.allow(*id),
                _ => tokens(random, vocab_size / 2)
                    .into_iter()
                    .for_each(|id| mask.allow(id)),
            }
            mask
        });
        let output = tokens(random, 40);
        let is_known = random.below(8) == 0;
        if is_known {
            params.logprobs = Some(params.logprobs.unwrap_or(0));
        }
        Row {
            known: is_known.then(|| random.below(vocab_size) as u32),
            position: random.below(5000) as u32,
            prompt: tokens(random, 40),
            output,
            banned,
            mask,
            params,
            logits,
        }
    };
    (0..num).map(row).collect()
}

fn assert_same(got: &[Option<SampledToken>], want: &[Option<SampledToken>], rows: &[Row]) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let context = (&rows[i].params, rows[i].known);
        let tokens = |token: &Option<SampledToken>| token.as_ref().map(|token| token.token_id);
        assert_eq!(tokens(got), tokens(want), "row {i}: {context:?}");
        let logprobs =
            |token: &Option<SampledToken>| token.clone().and_then(|token| token.logprobs);
        let (Some(got), Some(want)) = (logprobs(got), logprobs(want)) else {
            continue;
        };
        let is_close = |a: f32, b: f32| {
            (a - b).abs() <= 1e-5 * b.abs().max(1.0) || a.is_nan() && b.is_nan() || a == b
        };
        assert_eq!(got.rank, want.rank, "row {i}: {context:?}");
        assert!(
            is_close(got.chosen, want.chosen),
            "row {i}: {} {}",
            got.chosen,
            want.chosen
        );
        assert_eq!(got.top.len(), want.top.len());
        for (got, want) in got.top.iter().zip(&want.top) {
            assert!(
                got.0 == want.0 && is_close(got.1, want.1),
                "row {i}: {got:?} {want:?}"
            );
        }
    }
}

#[test]
fn shim_sample_draws_the_tokens_of_the_cpu_one_by_one() {
    for (num, vocab_size, seed) in [(96, 1000, 1), (48, 4099, 2), (40, 33, 3)] {
        let rows = rows(num, vocab_size, seed);
        assert_same(&on_shim(&rows, seed as u32), &on_cpu(&rows), &rows);
    }
}

/// As the program draws on a card.
fn by_card(rows: &[Row]) -> Vec<Option<SampledToken>> {
    let (device, dims) = (shim_device(), (rows.len(), rows[0].logits.len()));
    let logits: Vec<f32> = rows.iter().flat_map(|row| row.logits.clone()).collect();
    let logits = Tensor::from_slice(&logits, dims).expect("a tensor of the shape");
    let logits = logits.to_device(DType::F32, &device).expect("room");
    let Device::Cuda(cuda) = &device else {
        panic!("a card");
    };
    let mut sampler = CardSampler::new(cuda, rows.len() + 3, dims.1).expect("room");
    let (few, all) = (contexts(&rows[..1]), contexts(rows));
    // Memory that was large enough for one row grows.
    let first = logits.narrow(0, 1).expect("a row");
    sampler.launch(&first, &few).expect("a row that fits");
    assert_eq!(sampler.take().expect("the card works").len(), 1);
    sampler.launch(&logits, &all).expect("rows that fit");
    sampler.take().expect("the card works")
}

#[test]
fn shim_sample_by_the_program_draws_the_tokens_of_the_cpu_one_by_one() {
    for (num, vocab_size, seed) in [(64, 1000, 4), (40, 33, 5)] {
        let mut rows = rows(num, vocab_size, seed);
        // Some ban a token twice.
        rows.iter_mut().step_by(3).for_each(|row| {
            row.banned.extend_from_within(..);
        });
        assert_same(&by_card(&rows), &on_cpu(&rows), &rows);
    }
}

#[test]
fn shim_sample_draws_nothing_where_no_logit_is_finite() {
    let plain = Row {
        params: SamplingParams {
            temperature: 1.0,
            top_p: 0.5,
            ..SamplingParams::greedy()
        },
        position: 1,
        prompt: Vec::new(),
        output: Vec::new(),
        banned: Vec::new(),
        mask: None,
        known: None,
        logits: vec![f32::NEG_INFINITY; 70],
    };
    let greedy = Row {
        params: SamplingParams::greedy(),
        ..plain.clone()
    };
    let nans = Row {
        logits: vec![f32::NAN; 70],
        ..plain.clone()
    };
    let banned = Row {
        logits: vec![0.0; 70],
        banned: (0..70).collect(),
        ..plain.clone()
    };
    let rows = [plain, greedy, nans, banned];
    assert_eq!(on_cpu(&rows), vec![None; 4]);
    assert_eq!(on_shim(&rows, 1), vec![None; 4]);
}

#[test]
fn shim_sample_does_not_depend_on_the_order_of_threads() {
    let rows = rows(24, 700, 9);
    let first = on_shim(&rows, 1);
    for seed in 2..5 {
        // As text, in which what is no number equals itself.
        assert_eq!(format!("{:?}", on_shim(&rows, seed)), format!("{first:?}"));
    }
}
