//! Which model answers a request that leaves it open: rules on its features, the first of which to hold picks.

use super::{Features, Language};

/// What must hold of a request, all of it; a condition that is left out always does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// [`Features::is_structured`].
    pub structured: Option<bool>,
    /// [`Features::has_tools`].
    pub tools: Option<bool>,
    /// Tokens of the prompt, at least and at most.
    pub min_prompt_tokens: Option<usize>,
    /// See above.
    pub max_prompt_tokens: Option<usize>,
    /// One of these; never holds where the language is not certain.
    pub languages: Option<Vec<Language>>,
    /// [`Features::complexity`], at least and at most.
    pub min_complexity: Option<f64>,
    /// See above.
    pub max_complexity: Option<f64>,
}

/// A rule, and the model that it picks.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What metrics, logs and answers call it.
    pub name: String,
    /// The model's place among all.
    pub model: usize,
    /// When it picks.
    pub when: Conditions,
}

/// The rules, and the model where none holds.
#[derive(Clone, Debug)]
pub struct Router {
    rules: Vec<Rule>,
    default: usize,
}

impl Conditions {
    /// Whether all hold.
    pub fn hold(&self, features: &Features) -> bool {
        let is = |wanted: Option<bool>, found| wanted.is_none_or(|wanted| wanted == found);
        let tokens = features.prompt_tokens;
        let languages = self.languages.as_ref();
        is(self.structured, features.is_structured)
            && is(self.tools, features.has_tools)
            && self.min_prompt_tokens.is_none_or(|min| tokens >= min)
            && self.max_prompt_tokens.is_none_or(|max| tokens <= max)
            && languages.is_none_or(|all| features.language.is_some_and(|own| all.contains(&own)))
            && (self.min_complexity).is_none_or(|min| features.complexity() >= min)
            && (self.max_complexity).is_none_or(|max| features.complexity() <= max)
    }

    /// From how many tokens of a prompt on it makes no difference how many they are.
    fn most_tokens(&self) -> usize {
        let of_complexity = self.min_complexity.or(self.max_complexity);
        let of_complexity = of_complexity.map_or(0, |_| Features::LONGEST);
        let beyond = |max: usize| max.saturating_add(1);
        (self.min_prompt_tokens.unwrap_or(0))
            .max(self.max_prompt_tokens.map_or(0, beyond))
            .max(of_complexity)
    }
}

impl Router {
    /// `rules` in their order, and the place of the model where none holds.
    pub fn new(rules: Vec<Rule>, default: usize) -> Self {
        Self { rules, default }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The model where no rule holds.
    pub fn default_model(&self) -> usize {
        self.default
    }

    /// The place of the first rule that holds, which picks; `None` where none does.
    pub fn pick(&self, features: &Features) -> Option<usize> {
        self.rules.iter().position(|rule| rule.when.hold(features))
    }

    /// From how many tokens of a prompt on it makes no difference how many they are, so that nobody need count on; 0 where no rule asks.
    pub fn most_tokens(&self) -> usize {
        let rules = self.rules.iter();
        rules.map(|rule| rule.when.most_tokens()).max().unwrap_or(0)
    }

    /// Whether any rule asks for the language, which takes time, too.
    pub fn reads_languages(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.when.languages.is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn language() -> impl Strategy<Value = Language> {
        prop::sample::select(vec!["de", "en", "fr"])
            .prop_map(|code| Language::of_code(code).unwrap())
    }

    fn features() -> impl Strategy<Value = Features> {
        let flags = (any::<bool>(), any::<bool>());
        (0..100usize, 0..8usize, flags, prop::option::of(language())).prop_map(
            |(prompt_tokens, num_turns, (is_structured, has_tools), language)| Features {
                prompt_tokens,
                num_turns,
                is_structured,
                has_tools,
                language,
            },
        )
    }

    fn conditions() -> impl Strategy<Value = Conditions> {
        use prop::option::of as option;
        (
            (option(any::<bool>()), option(any::<bool>())),
            (option(0..100usize), option(0..100usize)),
            option(prop::collection::vec(language(), 1..3)),
            (option(0.0..1.0), option(0.0..1.0)),
        )
            .prop_map(|(flags, tokens, languages, complexity)| Conditions {
                structured: flags.0,
                tools: flags.1,
                min_prompt_tokens: tokens.0,
                max_prompt_tokens: tokens.1,
                languages,
                min_complexity: complexity.0,
                max_complexity: complexity.1,
            })
    }

    fn router() -> impl Strategy<Value = Router> {
        prop::collection::vec(conditions(), 0..6).prop_map(|all| {
            let rules = all.into_iter().enumerate().map(|(i, when)| Rule {
                name: format!("rule-{i}"),
                model: i + 1,
                when,
            });
            Router::new(rules.collect(), 0)
        })
    }

    proptest! {
        #[test]
        fn the_first_rule_that_holds_picks(router in router(), features in features()) {
            let holds = |rule: &Rule| rule.when.hold(&features);
            match router.pick(&features) {
                Some(i) => {
                    prop_assert!(holds(&router.rules()[i]));
                    prop_assert!(!router.rules()[..i].iter().any(holds));
                }
                None => prop_assert!(!router.rules().iter().any(holds)),
            }
        }

        #[test]
        fn what_no_rule_reads_changes_no_pick(router in router(), features in features()) {
            let mut blind = features;
            blind.prompt_tokens = blind.prompt_tokens.min(router.most_tokens());
            if !router.reads_languages() {
                blind.language = None;
            }
            prop_assert_eq!(router.pick(&features), router.pick(&blind));
        }

        #[test]
        fn a_rule_of_two_conditions_holds_where_both_do(a in conditions(), features in features()) {
            let tokens = Conditions {
                min_prompt_tokens: a.min_prompt_tokens,
                max_prompt_tokens: a.max_prompt_tokens,
                ..Conditions::default()
            };
            let rest = Conditions { min_prompt_tokens: None, max_prompt_tokens: None, ..a.clone() };
            prop_assert_eq!(a.hold(&features), tokens.hold(&features) && rest.hold(&features));
        }
    }

    #[test]
    fn bounds_are_included_and_an_unknown_language_is_none() {
        let features = Features {
            prompt_tokens: 10,
            ..Features::default()
        };
        let tokens = |min, max| Conditions {
            min_prompt_tokens: Some(min),
            max_prompt_tokens: Some(max),
            ..Conditions::default()
        };
        assert!(tokens(10, 10).hold(&features));
        assert!(!tokens(11, 20).hold(&features) && !tokens(0, 9).hold(&features));
        let german = Language::of_code("de");
        let languages = Conditions {
            languages: Some(german.into_iter().collect()),
            ..Conditions::default()
        };
        assert!(!languages.hold(&features));
        let said = Features {
            language: german,
            ..features
        };
        assert!(languages.hold(&said));
        let no_tools = Conditions {
            tools: Some(false),
            ..Conditions::default()
        };
        let equipped = Features {
            has_tools: true,
            ..features
        };
        assert!(no_tools.hold(&features) && !no_tools.hold(&equipped));
    }
}
