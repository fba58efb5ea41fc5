//! Drawing tokens, against the CPU's definition: the same ones.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::uniform;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{DType, Tensor};
use crate::request::SamplingParams;
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
    let rows: Vec<RowContext<'_>> = params
        .iter()
        .enumerate()
        .map(|(i, params)| RowContext {
            params,
            position: i as u32,
            prompt: &history[..i],
            output: &history[i..],
            banned: &history[..i % 3],
            mask: None,
            known: (i % 16 == 15).then_some(i as u32),
        })
        .collect();
    let logits = Tensor::from_slice(&values, (NUM_ROWS, VOCAB))?;
    let on_card = logits.to_device(DType::F32, &Device::Cuda(cuda.clone()))?;
    let want = sample(&logits, &rows, cpu)?;
    let mut sampler = CardSampler::new(cuda, NUM_ROWS, VOCAB)?;
    sampler.launch(&on_card, &rows)?;
    let got = sampler.take()?;
    let id =
        |token: &Option<crate::request::SampledToken>| token.as_ref().map(|token| token.token_id);
    let different = got
        .iter()
        .zip(&want)
        .filter(|(a, b)| id(a) != id(b))
        .count();
    report.check(
        format!("draws of {NUM_ROWS} that differ"),
        different as f64,
        0.0,
    );
    let chosen = |token: &Option<crate::request::SampledToken>| {
        let logprobs = token.as_ref().and_then(|token| token.logprobs.as_ref());
        logprobs.map_or(0.0, |logprobs| f64::from(logprobs.chosen))
    };
    let wrong = got
        .iter()
        .zip(&want)
        .map(|(a, b)| (chosen(a) - chosen(b)).abs());
    let worst = wrong.fold(0.0, |worst, x| if x <= worst { worst } else { x });
    report.check("log-probabilities of what was drawn", worst, 1e-4);
    Ok(())
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
        logit_bias: vec![(i as u32, 2.0)],
        logprobs: Some(3),
        seed: i as u64,
        ..SamplingParams::greedy()
    }
}
