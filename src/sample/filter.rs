//! Which tokens may be drawn: `min_p`, then `top_k`, then `top_p` over what is left.

use std::cmp::Ordering;

use super::by_rank;
use crate::request::SamplingParams;

/// The ids that pass, in no particular order; `None` when nothing filters.
///
/// Equal logits are ranked by id, lowest first, so the set is the same on every machine. At least the likeliest token
/// always passes.
pub(super) fn candidates(logits: &[f32], params: &SamplingParams) -> Option<Vec<u32>> {
    let top_k = params.top_k as usize;
    let has_top_k = (1..logits.len()).contains(&top_k);
    if !has_top_k && params.top_p >= 1.0 && params.min_p <= 0.0 {
        return None;
    }
    let inverse_temperature = 1.0 / f64::from(params.temperature);
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Relative to the likeliest token's, in nats at this temperature. In f64, which no temperature makes infinite.
    let relative =
        |id: u32| (f64::from(logits[id as usize]) - f64::from(max)) * inverse_temperature;
    let by_rank = by_rank(logits);

    let floor = if params.min_p > 0.0 {
        f64::from(params.min_p).ln()
    } else {
        f64::NEG_INFINITY
    };
    let mut ids: Vec<u32> = (0..logits.len() as u32)
        .filter(|&id| relative(id) >= floor)
        .collect();
    if has_top_k && top_k < ids.len() {
        ids.select_nth_unstable_by(top_k - 1, by_rank);
        ids.truncate(top_k);
    }
    if params.top_p < 1.0 {
        keep_top_p(&mut ids, f64::from(params.top_p), &relative, by_rank);
    }
    Some(ids)
}

/// A weight of one. Of 2^18 tokens, all sums fit 64 bits.
const ONE: f64 = (1u64 << 44) as f64;

/// Keeps the smallest set of likeliest ids whose probability among `ids` reaches `top_p`.
///
/// Weights are rounded to integers, whose sums are the same in any order. (A device whose `exp` differs in its last place may round a
/// weight differently, by one in 2^44.)
fn keep_top_p(
    ids: &mut Vec<u32>,
    top_p: f64,
    relative: &impl Fn(u32) -> f64,
    by_rank: impl Fn(&u32, &u32) -> Ordering,
) {
    let weight = |id: u32| (relative(id).exp() * ONE) as u64;
    let total: u64 = ids.iter().map(|&id| weight(id)).sum();
    let target = ((top_p * total as f64).ceil() as u64).max(1);
    // All tokens below half of this share together have less than what is not wanted: none is in the set, and none needs sorting.
    let negligible = (1.0 - top_p) * total as f64 / ids.len() as f64;
    ids.retain(|&id| weight(id) as f64 >= negligible / 2.0);
    ids.sort_unstable_by(by_rank);
    let mut sum = 0;
    let reached = ids.iter().position(|&id| {
        sum += weight(id);
        sum >= target
    });
    if let Some(last) = reached {
        ids.truncate(last + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> SamplingParams {
        SamplingParams {
            temperature: 1.0,
            ..SamplingParams::greedy()
        }
    }

    fn sorted(ids: Option<Vec<u32>>) -> Vec<u32> {
        let mut ids = ids.unwrap();
        ids.sort_unstable();
        ids
    }

    /// Probabilities 0.4, 0.3, 0.2, 0.1 at ids 2, 0, 3, 1.
    fn logits() -> [f32; 4] {
        [0.3f32.ln(), 0.1f32.ln(), 0.4f32.ln(), 0.2f32.ln()]
    }

    #[test]
    fn nothing_filters_by_default() {
        assert_eq!(candidates(&logits(), &params()), None);
    }

    #[test]
    fn top_k_keeps_the_k_likeliest_and_the_lowest_ids_of_equals() {
        assert_eq!(
            sorted(candidates(
                &logits(),
                &SamplingParams {
                    top_k: 2,
                    ..params()
                }
            )),
            [0, 2]
        );
        assert_eq!(
            sorted(candidates(
                &[1.0; 5],
                &SamplingParams {
                    top_k: 2,
                    ..params()
                }
            )),
            [0, 1]
        );
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_it() {
        for (top_p, expected) in [
            (0.39, vec![2]),
            (0.41, vec![0, 2]),
            (0.69, vec![0, 2]),
            (0.71, vec![0, 2, 3]),
            (0.95, vec![0, 1, 2, 3]),
        ] {
            assert_eq!(
                sorted(candidates(&logits(), &SamplingParams { top_p, ..params() })),
                expected,
                "{top_p}"
            );
        }
        assert_eq!(
            sorted(candidates(
                &logits(),
                &SamplingParams {
                    top_p: 1e-9,
                    ..params()
                }
            )),
            [2]
        );
    }

    #[test]
    fn min_p_is_relative_to_the_likeliest() {
        assert_eq!(
            sorted(candidates(
                &logits(),
                &SamplingParams {
                    min_p: 0.6,
                    ..params()
                }
            )),
            [0, 2]
        );
        assert_eq!(
            sorted(candidates(
                &logits(),
                &SamplingParams {
                    min_p: 1.0,
                    ..params()
                }
            )),
            [2]
        );
    }

    #[test]
    fn top_p_counts_within_what_top_k_left() {
        // Of 0.4 and 0.3, the first alone is 0.57.
        assert_eq!(
            sorted(candidates(
                &logits(),
                &SamplingParams {
                    top_k: 2,
                    top_p: 0.55,
                    ..params()
                }
            )),
            [2]
        );
    }

    #[test]
    fn the_coldest_temperature_keeps_the_likeliest_only() {
        let coldest = SamplingParams {
            temperature: f32::from_bits(1),
            top_p: 0.9,
            ..params()
        };
        assert_eq!(sorted(candidates(&logits(), &coldest)), [2]);
    }

    #[test]
    fn rank_is_by_raw_logit_and_minus_zero_equals_zero() {
        let top = |logits: &[f32], temperature: f32| {
            let params = SamplingParams {
                temperature,
                top_k: 1,
                ..params()
            };
            candidates(logits, &params)
        };
        assert_eq!(top(&[-0.0, 0.0], 1.0), Some(vec![0]));
        assert_eq!(top(&[1.0, 1.0 + f32::EPSILON], f32::MAX), Some(vec![1]));
    }
}
