//! Drawing tokens, against the CPU's definition: the same ones.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::uniform;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::constraint::TokenMask;
use crate::ops::{DType, Tensor};
use crate::request::{SampledToken, SamplingParams, TokenLogprobs};
use crate::sample::{CardSampler, RowContext, sample};

const VOCAB: usize = 2003;
const NUM_ROWS: usize = 64;

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let mut random = Rng::keyed(3, 0);
    let values: Vec<f32> = uniform(&mut random, NUM_ROWS * VOCAB)
        .iter()
        .map(|x| 6.0 * x)
        .collect();
    let history: Vec<u32> = (0..200).map(|_| random.below(VOCAB) as u32).collect();
    let params: Vec<SamplingParams> = (0..NUM_ROWS).map(params).collect();
    let banned = |i: usize| &history[..i % 3];
    let masks: Vec<Option<TokenMask>> = (0..NUM_ROWS).map(|i| mask(i, banned(i))).collect();
    let rows: Vec<RowContext<'_>> = params
        .iter()
        .enumerate()
        .map(|(i, params)| RowContext {
            params,
            position: i as u32,
            prompt: &history[..i],
            output: &history[i..],
            banned: banned(i),
            mask: None,
            known: (i % 16 == 15).then_some(i as u32),
        })
        .collect();
    compare(report, "draws", &values, &rows, (cuda, cpu))?;
    let masked = rows.iter().zip(&masks).map(|(row, mask)| RowContext {
        mask: mask.as_ref(),
        ..*row
    });
    let masked: Vec<RowContext<'_>> = masked.collect();
    // Many are equal, so that the order of ids counts.
    let levels: Vec<f32> = values.iter().map(|x| x.round()).collect();
    compare(report, "draws under masks", &levels, &masked, (cuda, cpu))
}

fn compare(
    report: &mut Report,
    what: &str,
    values: &[f32],
    rows: &[RowContext<'_>],
    (cuda, cpu): (&Cuda, &Cpu),
) -> Result<()> {
    let logits = Tensor::from_slice(values, (NUM_ROWS, VOCAB))?;
    let on_card = logits.to_device(DType::F32, &Device::Cuda(cuda.clone()))?;
    let want = sample(&logits, rows, cpu)?;
    let mut sampler = CardSampler::new(cuda, NUM_ROWS, VOCAB)?;
    sampler.launch(&on_card, rows)?;
    let got = sampler.take()?;
    let id = |token: &Option<SampledToken>| token.as_ref().map(|token| token.token_id);
    let pairs = || got.iter().zip(&want);
    let different = pairs().filter(|(a, b)| id(a) != id(b)).count();
    report.check(
        format!("{what} of {NUM_ROWS} that differ"),
        different as f64,
        0.0,
    );
    let ids = |logprobs: &TokenLogprobs| {
        let top = logprobs.top.iter().map(|(id, _)| *id);
        (logprobs.rank, top.collect::<Vec<u32>>())
    };
    let logprobs = |token: &Option<SampledToken>| token.as_ref()?.logprobs.clone();
    let different = pairs()
        .filter(|(a, b)| logprobs(a).as_ref().map(ids) != logprobs(b).as_ref().map(ids))
        .count();
    report.check(
        format!("{what}, ranks and likeliest tokens that differ"),
        different as f64,
        0.0,
    );
    let all = |token: &Option<SampledToken>| {
        let logprobs = logprobs(token).into_iter();
        let all = logprobs.flat_map(|own| {
            let top = own.top.into_iter().map(|(_, logprob)| logprob);
            top.chain([own.chosen]).collect::<Vec<f32>>()
        });
        all.collect::<Vec<f32>>()
    };
    let wrong = pairs().flat_map(|(a, b)| {
        let both = all(a).into_iter().zip(all(b));
        both.map(|(a, b)| f64::from(a - b).abs())
            .collect::<Vec<f64>>()
    });
    let worst = wrong.fold(0.0, |worst, x| if x <= worst { worst } else { x });
    report.check(format!("{what}, log-probabilities"), worst, 1e-4);
    Ok(())
}

/// A third of all tokens, a few, or those alone that are banned: then they are not, and where none is, nothing can be drawn.
fn mask(i: usize, banned: &[u32]) -> Option<TokenMask> {
    let mut mask = TokenMask::none(VOCAB);
    match i % 4 {
        0 => (0..VOCAB as u32).step_by(3).for_each(|id| mask.allow(id)),
        1 => (i..VOCAB).step_by(500).for_each(|id| mask.allow(id as u32)),
        2 => banned.iter().for_each(|id| mask.allow(*id)),
        _ => return None,
    }
    Some(mask)
}

/// In several ways, alone and at once.
fn params(i: usize) -> SamplingParams {
    SamplingParams {
        temperature: [0.0, 1.0, 0.6][i % 3],
        top_p: [1.0, 0.9][i / 3 % 2],
        top_k: [0, 40][i / 6 % 2],
        min_p: [0.0, 0.05][i / 12 % 2],
        repetition_penalty: [1.0, 1.2][i / 2 % 2],
        presence_penalty: [0.0, 0.5][i / 4 % 2],
        frequency_penalty: [0.0, 0.3][i / 5 % 2],
        logit_bias: vec![(i as u32, 2.0)],
        logprobs: [Some(3), None, Some(20)][i / 7 % 3],
        seed: i as u64,
        choice: i as u32 % 2,
    }
}
