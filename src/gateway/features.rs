//! What can be measured of a request before any model sees it.

use super::Language;

/// What rules of routing look at. What cannot be read of a request is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features {
    /// Tokens of its texts, without what a template adds.
    pub prompt_tokens: usize,
    /// Messages of the user; 1 for a bare prompt.
    pub num_turns: usize,
    /// Whether the answer is to follow a schema, an expression, choices or a grammar, or is to be JSON.
    pub is_structured: bool,
    /// Whether it brings tools that may be called.
    pub has_tools: bool,
    /// That the user's last message is written in, where that is certain.
    pub language: Option<Language>,
}

impl Features {
    /// Tokens of a prompt from which on it is as complex as a longer one.
    pub const LONGEST: usize = 64 * 63;

    /// How much there is to take into account, in 0..=1:
    ///
    /// `0.5 · min(1, log2(1 + prompt_tokens / 64) / 6) + 0.2 · structured + 0.2 · tools + 0.1 · min(1, (turns − 1) / 4)`
    ///
    /// Length counts by its logarithm, for a prompt of twice the tokens is a step harder and not twice as hard: a question of 64 tokens has
    /// 0.08 of it, a page of 960 has 0.33, and from 4,032 tokens on it is the whole 0.5. A form and tools each bind the answer, which small
    /// models lose first. A conversation asks to be remembered; after five turns its length says the rest. It is a score by what can be
    /// counted, not a judgement of the question.
    pub fn complexity(&self) -> f64 {
        let length = (1.0 + self.prompt_tokens as f64 / 64.0).log2() / 6.0;
        let turns = self.num_turns.saturating_sub(1) as f64 / 4.0;
        let one = |holds: bool| f64::from(u8::from(holds));
        // In tenths, whose sum is exact where the parts are.
        let tenths = 5.0 * length.min(1.0)
            + 2.0 * one(self.is_structured)
            + 2.0 * one(self.has_tools)
            + turns.min(1.0);
        tenths / 10.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn features() -> impl Strategy<Value = Features> {
        let tokens = prop_oneof![0..8192usize, any::<usize>()];
        let turns = prop_oneof![0..8usize, any::<usize>()];
        (tokens, turns, any::<bool>(), any::<bool>()).prop_map(
            |(prompt_tokens, num_turns, is_structured, has_tools)| Features {
                prompt_tokens,
                num_turns,
                is_structured,
                has_tools,
                language: None,
            },
        )
    }

    proptest! {
        #[test]
        fn complexity_is_a_part_of_one_and_grows_with_each_feature(own in features(), more in any::<usize>()) {
            let complexity = own.complexity();
            prop_assert!((0.0..=1.0).contains(&complexity), "{complexity}");
            let longer = Features { prompt_tokens: own.prompt_tokens.saturating_add(more), ..own };
            let later = Features { num_turns: own.num_turns.saturating_add(more), ..own };
            let bound = Features { is_structured: true, ..own };
            let equipped = Features { has_tools: true, ..own };
            for more in [longer, later, bound, equipped] {
                prop_assert!(more.complexity() >= complexity, "{more:?}");
            }
        }
    }

    #[test]
    fn complexity_is_what_its_documentation_says() {
        let of = |prompt_tokens, num_turns, is_structured, has_tools| {
            let features = Features {
                prompt_tokens,
                num_turns,
                is_structured,
                has_tools,
                language: None,
            };
            (features.complexity() * 100.0).round()
        };
        assert_eq!(of(0, 0, false, false), 0.0);
        assert_eq!(of(64, 1, false, false), 8.0);
        assert_eq!(of(960, 1, false, false), 33.0);
        assert_eq!(of(4032, 1, false, false), 50.0);
        assert_eq!(of(64, 3, true, true), 53.0);
        assert_eq!(of(usize::MAX, 5, true, true), 100.0);
    }
}
