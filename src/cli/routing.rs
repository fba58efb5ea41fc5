//! From the settings of `[routing]` to what picks a model.

use anyhow::Context as _;

use super::planned::PlannedModel;
use crate::config::{self, RemoteSettings, RoutingRule};
use crate::gateway::{Conditions, Language, Router, Rule};
use crate::server::{Candidate, Routing};
use crate::telemetry::Telemetry;

/// The rules.
///
/// # Errors
/// For a language that texts are not told to be in.
pub(super) fn router(settings: &config::Routing) -> anyhow::Result<Router> {
    let rules = settings.rules.iter().map(|settings| {
        rule(settings).with_context(|| format!("routing: rule {:?}", settings.name))
    });
    Ok(Router::new(
        rules.collect::<anyhow::Result<_>>()?,
        settings.default,
    ))
}

fn rule(settings: &RoutingRule) -> anyhow::Result<Rule> {
    let languages = settings.languages.as_ref().map(|codes| {
        let languages = codes.iter().map(|code| language(code));
        languages.collect::<anyhow::Result<Vec<_>>>()
    });
    Ok(Rule {
        name: settings.name.clone(),
        model: settings.model,
        when: Conditions {
            structured: settings.structured,
            tools: settings.tools,
            min_prompt_tokens: settings.min_prompt_tokens,
            max_prompt_tokens: settings.max_prompt_tokens,
            languages: languages.transpose()?,
            min_complexity: settings.min_complexity,
            max_complexity: settings.max_complexity,
        },
    })
}

fn language(code: &str) -> anyhow::Result<Language> {
    Language::of_code(code).with_context(|| {
        let known: Vec<&str> = Language::codes().collect();
        format!(
            "languages: {code:?} is no code of a language that texts are told to be in; those are {}",
            known.join(", ")
        )
    })
}

/// Picks by `router` among the models, those of other servers after all others; `names` are what any model is called.
///
/// # Errors
/// Where one is called as what leaves the model open.
pub(super) fn routing(
    settings: &config::Routing,
    router: Router,
    models: &[PlannedModel],
    remotes: &[RemoteSettings],
    names: &[String],
    telemetry: &Telemetry,
) -> anyhow::Result<Routing> {
    let name = &settings.name;
    if names.contains(name) {
        anyhow::bail!(
            "routing: name: {name:?} is the name of a model, and requests that name one are not routed: take another name"
        );
    }
    let here = models.iter().map(|model| Candidate {
        name: model.name.clone(),
        cost: model.settings.cost,
        quality: model.settings.quality,
    });
    let elsewhere = remotes.iter().map(|model| Candidate {
        name: model.name.clone(),
        cost: model.cost,
        quality: model.quality,
    });
    let candidates: Vec<Candidate> = here.chain(elsewhere).collect();
    Ok(Routing::new(
        settings.name.clone(),
        settings.is_shadow,
        router,
        &candidates,
        telemetry,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Features;

    fn settings(languages: &[&str]) -> config::Routing {
        let rule = RoutingRule {
            name: "r".into(),
            model: 1,
            structured: Some(true),
            tools: Some(false),
            min_prompt_tokens: Some(2),
            max_prompt_tokens: Some(5),
            languages: Some(languages.iter().map(|&code| code.into()).collect()),
            min_complexity: Some(0.2),
            max_complexity: Some(0.4),
        };
        config::Routing {
            name: "auto".into(),
            is_shadow: false,
            default: 3,
            rules: vec![rule],
        }
    }

    #[test]
    fn each_condition_of_the_settings_is_one_of_the_rule() {
        let router = router(&settings(&["de", "fr"])).unwrap();
        let features = Features {
            prompt_tokens: 2,
            num_turns: 1,
            is_structured: true,
            has_tools: false,
            language: Language::of_code("fr"),
        };
        assert_eq!((router.rules()[0].model, router.default_model()), (1, 3));
        assert_eq!(router.pick(&features), Some(0));
        for other in [
            Features {
                prompt_tokens: 1,
                ..features
            },
            Features {
                prompt_tokens: 6,
                ..features
            },
            Features {
                is_structured: false,
                ..features
            },
            Features {
                has_tools: true,
                ..features
            },
            Features {
                language: Language::of_code("en"),
                ..features
            },
        ] {
            assert_eq!(router.pick(&other), None, "{other:?}");
        }
    }

    #[test]
    fn an_unknown_language_names_rule_and_field_and_those_there_are() {
        let error = router(&settings(&["de", "xx"])).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.starts_with("routing: rule \"r\": languages: \"xx\""),
            "{error}"
        );
        assert!(error.contains(" de, "), "{error}");
    }
}
