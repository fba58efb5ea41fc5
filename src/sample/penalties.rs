//! Logit bias, penalties and bans, with the formulas of OpenAI (presence, frequency) and CTRL (repetition;
//! Keskar et al., 2019) in the order vLLM applies them.

use std::collections::HashMap;

use super::RowContext;

/// Changes `logits` in place.
pub(super) fn apply(logits: &mut [f32], context: &RowContext<'_>) {
    let params = context.params;
    for &(id, bias) in &params.logit_bias {
        logits[id as usize] += bias;
    }
    let is_only_way = context.mask.is_some_and(|mask| {
        let banned = context.banned.iter().filter(|&&id| mask.allows(id));
        banned.count() == mask.count()
    });
    if !is_only_way {
        for &id in context.banned {
            logits[id as usize] = f32::NEG_INFINITY;
        }
    }
    if let Some(mask) = context.mask {
        mask.apply(logits);
    }
    if !params.has_penalties() {
        return;
    }
    let mut output_counts: HashMap<u32, u32> = HashMap::new();
    for &id in context.output {
        *output_counts.entry(id).or_default() += 1;
    }
    if params.repetition_penalty != 1.0 {
        let mut seen = output_counts.clone();
        seen.extend(context.prompt.iter().map(|&id| (id, 1)));
        for id in seen.into_keys() {
            let logit = &mut logits[id as usize];
            *logit = if *logit > 0.0 {
                *logit / params.repetition_penalty
            } else {
                *logit * params.repetition_penalty
            };
        }
    }
    for (id, count) in output_counts {
        logits[id as usize] -= params.frequency_penalty * count as f32 + params.presence_penalty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constraint::TokenMask;
    use crate::request::SamplingParams;

    fn applied(params: SamplingParams, banned: &[u32]) -> Vec<f32> {
        masked(params, banned, None)
    }

    fn masked(params: SamplingParams, banned: &[u32], mask: Option<&TokenMask>) -> Vec<f32> {
        let mut logits = vec![2.0, -2.0, 2.0, 2.0];
        apply(
            &mut logits,
            &RowContext {
                params: &params,
                position: 0,
                prompt: &[0, 1],
                output: &[2, 2],
                banned,
                mask,
                known: None,
            },
        );
        logits
    }

    #[test]
    fn presence_counts_once_and_frequency_each_time_in_the_output_only() {
        let params = SamplingParams {
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            ..SamplingParams::greedy()
        };
        assert_eq!(applied(params, &[]), [2.0, -2.0, 1.0, 2.0]);
    }

    #[test]
    fn repetition_pushes_down_whatever_the_sign_in_prompt_and_output() {
        let params = SamplingParams {
            repetition_penalty: 2.0,
            ..SamplingParams::greedy()
        };
        assert_eq!(applied(params, &[]), [1.0, -4.0, 1.0, 2.0]);
    }

    #[test]
    fn a_mask_forbids_the_rest_and_a_ban_gives_way_where_nothing_else_is_allowed() {
        let mut mask = TokenMask::none(4);
        mask.allow(0);
        let only_first = [2.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        assert_eq!(
            masked(SamplingParams::greedy(), &[0], Some(&mask)),
            only_first
        );
        mask.allow(3);
        let only_last = [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY, 2.0];
        assert_eq!(
            masked(SamplingParams::greedy(), &[0], Some(&mask)),
            only_last
        );
    }

    #[test]
    fn bias_adds_and_bans_forbid() {
        let params = SamplingParams {
            logit_bias: vec![(3, -100.0), (1, 5.0)],
            ..SamplingParams::greedy()
        };
        assert_eq!(applied(params, &[0]), [f32::NEG_INFINITY, 3.0, 2.0, -98.0]);
    }
}
