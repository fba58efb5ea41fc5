//! Which model answers requests that leave it open: `[routing]`.

use std::collections::HashSet;

use serde::Deserialize;
use toml::Value;

use super::model_settings::RESERVED;
use super::range::up_to;
use super::tiers::place;
use super::{ConfigError, ModelSettings, RemoteSettings};

/// `[routing]` as it is typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRouting {
    #[serde(default)]
    name: String,
    mode: Option<String>,
    default: Option<String>,
    #[serde(default)]
    rules: Vec<RawRule>,
}

/// `[[routing.rules]]` as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRule {
    name: String,
    model: String,
    structured: Option<bool>,
    tools: Option<bool>,
    min_prompt_tokens: Option<usize>,
    max_prompt_tokens: Option<usize>,
    languages: Option<Vec<String>>,
    min_complexity: Option<f64>,
    max_complexity: Option<f64>,
}

/// Which model answers requests that leave it open. Models stand by their places in [`Config::models`](super::Config::models) or, after
/// all of them, in [`Config::remotes`](super::Config::remotes).
#[derive(Clone, Debug)]
pub struct Routing {
    /// What such requests name.
    pub name: String,
    /// Whether the default model answers whatever the rules say, which is only recorded.
    pub is_shadow: bool,
    /// Where no rule holds.
    pub default: usize,
    /// The first that holds picks.
    pub rules: Vec<RoutingRule>,
}

/// A rule: the model that it picks, and the conditions, all of which must hold where they are said.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RoutingRule {
    pub name: String,
    pub model: usize,
    pub structured: Option<bool>,
    pub tools: Option<bool>,
    pub min_prompt_tokens: Option<usize>,
    pub max_prompt_tokens: Option<usize>,
    pub languages: Option<Vec<String>>,
    pub min_complexity: Option<f64>,
    pub max_complexity: Option<f64>,
}

/// What answers and metrics say where no rule holds.
const DEFAULT: &str = "default";

impl RawRouting {
    pub(super) fn typed(value: Value) -> Result<Self, ConfigError> {
        let read = value.try_into();
        read.map_err(|error: toml::de::Error| {
            ConfigError::Toml(error.to_string()).of(TABLE.to_owned())
        })
    }

    pub(super) fn resolve(
        self,
        models: &[ModelSettings],
        remotes: &[RemoteSettings],
    ) -> Result<Routing, ConfigError> {
        self.resolved(models, remotes)
            .map_err(|error| error.of(TABLE))
    }

    fn resolved(
        self,
        models: &[ModelSettings],
        remotes: &[RemoteSettings],
    ) -> Result<Routing, ConfigError> {
        check_name(&self.name, models, remotes)?;
        let is_shadow = match self.mode.as_deref() {
            None | Some("on") => false,
            Some("shadow") => true,
            Some(other) => {
                let message = format!("{other:?} is not known; use on or shadow");
                return Err(ConfigError::value("mode", message));
            }
        };
        let default = match &self.default {
            None => 0,
            Some(name) => model("default", name, models, remotes)?,
        };
        if self.rules.is_empty() {
            let message = "are missing, and without any all requests go to the default model: add [[routing.rules]]";
            return Err(ConfigError::value("rules", message));
        }
        let (mut rules, mut names) = (Vec::new(), HashSet::new());
        for (i, rule) in self.rules.into_iter().enumerate() {
            let of = match rule.name.is_empty() {
                true => format!("rules[{i}]"),
                false => format!("rule {:?}", rule.name),
            };
            if !names.insert(rule.name.clone()) {
                return Err(ConfigError::value("name", "is another rule's, too").of(of));
            }
            let rule = rule.resolve(models, remotes);
            rules.push(rule.map_err(|error| error.of(of))?);
        }
        Ok(Routing {
            name: self.name,
            is_shadow,
            default,
            rules,
        })
    }
}

const TABLE: &str = "routing";

/// The names of files, which models may have for theirs, and that of the embedding model are not known here: who knows them checks them.
fn check_name(
    name: &str,
    models: &[ModelSettings],
    remotes: &[RemoteSettings],
) -> Result<(), ConfigError> {
    let error = |message: String| Err(ConfigError::value("name", message));
    if name.is_empty() {
        return error("is missing: say what requests are to name that leave the model open".into());
    }
    if RESERVED.contains(&name) {
        return error(format!(
            "{name:?} means something else in [tiers]: take another name"
        ));
    }
    let is_model = |model: &ModelSettings| {
        let mut adapters = model.lora_modules.iter();
        model.is_called(name)
            || model.aliases.iter().any(|alias| alias == name)
            || adapters.any(|(own, _)| own == name)
    };
    let mut elsewhere = remotes.iter().flat_map(RemoteSettings::names);
    match models.iter().any(is_model) || elsewhere.any(|own| own == name) {
        true => error(format!(
            "{name:?} is the name of a model, an alias or an adapter, and requests that name one are not routed: take another name"
        )),
        false => Ok(()),
    }
}

fn model(
    key: &'static str,
    name: &str,
    models: &[ModelSettings],
    remotes: &[RemoteSettings],
) -> Result<usize, ConfigError> {
    let message = match name.is_empty() {
        true => "is missing: give a name of [[models]]".to_owned(),
        false => format!("{name:?} is no name of [[models]]"),
    };
    place(name, models, remotes).ok_or_else(|| ConfigError::value(key, message))
}

impl RawRule {
    fn resolve(
        self,
        models: &[ModelSettings],
        remotes: &[RemoteSettings],
    ) -> Result<RoutingRule, ConfigError> {
        let error = |key: &'static str, message: &str| Err(ConfigError::value(key, message));
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            let message =
                "must be of a-z, 0-9, _ and -, and one at least: it stands in headers and metrics";
            return error("name", message);
        }
        if self.name == DEFAULT {
            return error(
                "name",
                "\"default\" is what requests have that no rule holds for",
            );
        }
        if self.languages.as_ref().is_some_and(Vec::is_empty) {
            return error(
                "languages",
                "is empty, so the rule never holds: name one, or leave it out",
            );
        }
        let min_complexity = up_to("min_complexity", self.min_complexity, 1.0)?;
        let max_complexity = up_to("max_complexity", self.max_complexity, 1.0)?;
        let (min, max) = (self.min_prompt_tokens, self.max_prompt_tokens);
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return error(
                "min_prompt_tokens",
                "is above max_prompt_tokens, so the rule never holds",
            );
        }
        if min_complexity
            .zip(max_complexity)
            .is_some_and(|(min, max)| min > max)
        {
            return error(
                "min_complexity",
                "is above max_complexity, so the rule never holds",
            );
        }
        let has_conditions = self.structured.or(self.tools).is_some()
            || min.or(max).is_some()
            || self.languages.is_some()
            || min_complexity.or(max_complexity).is_some();
        if !has_conditions {
            let message = "is all that is said, and no condition: say when the rule holds, or name the model as default of [routing]";
            return error("model", message);
        }
        Ok(RoutingRule {
            model: model("model", &self.model, models, remotes)?,
            name: self.name,
            structured: self.structured,
            tools: self.tools,
            min_prompt_tokens: min,
            max_prompt_tokens: max,
            languages: self.languages,
            min_complexity,
            max_complexity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, RawConfig};
    use super::*;

    const MODELS: &str = "[[models]]\nname = 'small'\naliases = ['s']\nlora_modules = ['sql=x']\ncost = 1\nquality = 0.5\n[[models]]\nname = 'large'\nsource = 'x'\n[[models]]\nname = 'far'\nsource = 'https://host/v1'\naliases = ['f']\ncost = 2.5\n";
    const RULE: &str = "[[routing.rules]]\nname = 'r'\nmodel = 'small'\n";

    fn resolve(file: &str) -> Result<Config, ConfigError> {
        RawConfig::default().with_toml(file)?.resolve()
    }

    #[test]
    fn rules_name_models_here_and_elsewhere_and_what_must_hold() {
        let file = format!(
            "{MODELS}[routing]\nname = 'auto'\nmode = 'shadow'\ndefault = 'large'\n{RULE}max_complexity = 0.5\nlanguages = ['de']\n[[routing.rules]]\nname = 'json'\nmodel = 'far'\nstructured = true\ntools = false\nmin_prompt_tokens = 5\n"
        );
        let config = resolve(&file).unwrap();
        let routing = config.routing.unwrap();
        assert_eq!(
            (&*routing.name, routing.is_shadow, routing.default),
            ("auto", true, 1)
        );
        let [small, far] = &routing.rules[..] else {
            panic!("{:?}", routing.rules)
        };
        assert_eq!((small.model, far.model), (0, 2));
        assert_eq!(small.max_complexity, Some(0.5));
        assert_eq!(
            (far.structured, far.tools, far.min_prompt_tokens),
            (Some(true), Some(false), Some(5))
        );
        let worth = |i: usize| (config.models[i].cost, config.models[i].quality);
        assert_eq!((worth(0), worth(1)), ((Some(1.0), Some(0.5)), (None, None)));
        assert_eq!(config.remotes[0].cost, Some(2.5));
    }

    #[test]
    fn without_a_default_it_is_the_first_model_and_without_a_mode_it_is_on() {
        let file = format!("{MODELS}[routing]\nname = 'auto'\n{RULE}tools = true\n");
        let routing = resolve(&file).unwrap().routing.unwrap();
        assert_eq!((routing.default, routing.is_shadow), (0, false));
    }

    #[test]
    fn what_could_not_route_is_an_error_that_names_table_field_and_way_out() {
        const AUTO: &str = "name = 'auto'\n";
        let rule = |more: &str| format!("{AUTO}{RULE}{more}\n");
        let of = |name: &str, model: &str| {
            format!("{AUTO}[[routing.rules]]\nname = '{name}'\nmodel = '{model}'\ntools = true\n")
        };
        for (routing, says) in [
            (format!("{RULE}tools = true\n"), "routing: name: is missing"),
            (
                format!("name = 's'\n{RULE}tools = true\n"),
                "take another name",
            ),
            (
                format!("name = 'sql'\n{RULE}tools = true\n"),
                "take another name",
            ),
            (
                format!("name = 'far'\n{RULE}tools = true\n"),
                "take another name",
            ),
            (
                format!("name = 'f'\n{RULE}tools = true\n"),
                "take another name",
            ),
            (
                format!("name = 'static'\n{RULE}tools = true\n"),
                "take another name",
            ),
            (
                format!("{AUTO}mode = 'off'\n{RULE}tools = true\n"),
                "mode: \"off\" is not known; use on or shadow",
            ),
            (
                format!("{AUTO}default = 'x'\n{RULE}tools = true\n"),
                "default: \"x\" is no name of [[models]]",
            ),
            (AUTO.into(), "rules: are missing"),
            (rule(""), "rule \"r\": model: is all that is said"),
            (
                of("a", "x"),
                "routing: rule \"a\": model: \"x\" is no name of [[models]]",
            ),
            (of("a", ""), "model: is missing"),
            (of("", "small"), "rules[0]: name: must be"),
            (of("a b", "small"), "name: must be"),
            (of("default", "small"), "no rule holds for"),
            (
                rule("tools = true") + &RULE.replace("small", "large") + "tools = true",
                "name: is another rule's",
            ),
            (
                rule("min_prompt_tokens = 9\nmax_prompt_tokens = 8"),
                "min_prompt_tokens: is above max_prompt_tokens",
            ),
            (
                rule("min_complexity = 0.9\nmax_complexity = 0.8"),
                "min_complexity: is above max_complexity",
            ),
            (
                rule("max_complexity = 1.5"),
                "max_complexity: 1.5 is not in 0..=1",
            ),
            (rule("min_complexity = nan"), "min_complexity"),
            (rule("languages = []"), "languages: is empty"),
            (rule("min_prompt_tokens = -1"), "routing: "),
            (rule("langages = ['de']"), "unknown field `langages`"),
        ] {
            let error = resolve(&format!("{MODELS}[routing]\n{routing}")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(says), "{routing}: {error}");
        }
    }

    #[test]
    fn what_models_cost_and_are_worth_is_said_of_models_alone_and_within_bounds() {
        for (file, says) in [
            ("[[models]]\ncost = -1", "cost: -1 is no number from 0 on"),
            ("[[models]]\ncost = inf", "cost"),
            ("[[models]]\nquality = 1.1", "quality: 1.1 is not in 0..=1"),
            (
                "[[models]]\n[[models]]\nname = 'b'\nsource = 'https://h'\nquality = 2",
                "model \"b\": quality",
            ),
            ("[server]\ncost = 1", "[server]: unknown key \"cost\""),
        ] {
            let error = resolve(file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }
}
