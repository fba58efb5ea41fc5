//! One token from one row of logits.

use super::{RowContext, filter, noise::Noise};

/// The largest logit's id, the lowest among equals; `None` when none is finite or above.
pub(super) fn greedy(logits: &[f32]) -> Option<u32> {
    let mut best = (f32::NEG_INFINITY, None);
    for (id, &logit) in logits.iter().enumerate() {
        if logit > best.0 {
            best = (logit, Some(id as u32));
        }
    }
    best.1
}

/// A draw from the filtered softmax at the request's temperature, by the noise of its seed and position.
pub(super) fn seeded(logits: &[f32], context: &RowContext<'_>) -> Option<u32> {
    let params = context.params;
    let noise = Noise::new(params.seed, params.choice, context.position);
    let inverse_temperature = 1.0 / f64::from(params.temperature);
    let scaled = |logit: f32| f64::from(logit) * inverse_temperature;
    match filter::candidates(logits, params) {
        Some(ids) => largest(
            ids.into_iter().map(|id| (id, scaled(logits[id as usize]))),
            noise,
        ),
        None => largest(
            logits
                .iter()
                .enumerate()
                .map(|(id, &logit)| (id as u32, scaled(logit))),
            noise,
        ),
    }
}

/// The candidate with the largest `scaled logit + noise`. Most are ruled out by the noise's cheap bound.
fn largest(candidates: impl Iterator<Item = (u32, f64)>, noise: Noise) -> Option<u32> {
    let mut best = (f64::NEG_INFINITY, None);
    for (id, scaled) in candidates {
        let bits = noise.bits(id);
        if scaled + Noise::gumbel_bound(bits) < best.0 {
            continue;
        }
        let score = scaled + Noise::gumbel(bits);
        if score > best.0 || (score == best.0 && best.1.is_some_and(|other| id < other)) {
            best = (score, Some(id));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::SamplingParams;

    fn context(params: &SamplingParams, position: u32) -> RowContext<'_> {
        RowContext {
            params,
            position,
            prompt: &[],
            output: &[],
            banned: &[],
            mask: None,
            known: None,
        }
    }

    #[test]
    fn greedy_ties_go_to_the_lowest_id_and_nan_never_wins() {
        assert_eq!(greedy(&[1.0, 3.0, 3.0, f32::NAN]), Some(1));
        assert_eq!(greedy(&[f32::NAN, f32::NEG_INFINITY]), None);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0f32, 1.0, 2.0, -1.0];
        let params = SamplingParams {
            temperature: 0.7,
            seed: 11,
            ..SamplingParams::greedy()
        };
        let mut counts = [0u32; 4];
        let draws = 40_000;
        for position in 0..draws {
            counts[seeded(&logits, &context(&params, position)).unwrap() as usize] += 1;
        }
        let weights = logits.map(|logit| (f64::from(logit) / 0.7).exp());
        let sum: f64 = weights.iter().sum();
        for (count, weight) in counts.into_iter().zip(weights) {
            let (expected, p) = (f64::from(draws) * weight / sum, weight / sum);
            let deviation = (f64::from(draws) * p * (1.0 - p)).sqrt();
            assert!(
                (f64::from(count) - expected).abs() < 4.5 * deviation,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn the_cheap_bound_changes_no_draw() {
        let params = SamplingParams {
            temperature: 1.3,
            seed: 5,
            ..SamplingParams::greedy()
        };
        let logits: Vec<f32> = (0..5000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32 / 400.0)
            .collect();
        for position in 0..200 {
            let noise = Noise::new(5, 0, position);
            let score = |id: usize| {
                f64::from(logits[id]) / f64::from(1.3f32) + Noise::gumbel(noise.bits(id as u32))
            };
            let naive = (0..logits.len())
                .max_by(|&a, &b| score(a).total_cmp(&score(b)))
                .unwrap();
            assert_eq!(
                seeded(&logits, &context(&params, position)),
                Some(naive as u32)
            );
        }
    }
}
