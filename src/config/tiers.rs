//! Who answers when the first model would be too late, or cannot: `[tiers]`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;

use super::range::milliseconds;
use super::{ConfigError, ModelSettings, RemoteSettings, Tenant};

/// `[tiers]` as it is typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTiers {
    chain: Vec<String>,
    slo_ttft_ms: Option<usize>,
    #[serde(rename = "static", default)]
    texts: Vec<StaticText>,
}

/// Who answers a request that the first model would answer too late, or not at all.
#[derive(Clone, Debug)]
pub struct Tiers {
    /// Models by their places in [`Config::models`](super::Config::models) or, after all of them, in
    /// [`Config::remotes`](super::Config::remotes); the first is the one that requests ask.
    pub chain: Vec<usize>,
    /// In which time the first token is to come.
    pub slo_ttft: Duration,
    /// Whether what the first one has answered before is given again when no model answers.
    pub recalls: bool,
    /// What is said when no model answers; empty where that is an error.
    pub texts: Vec<StaticText>,
}

/// A text for when no model answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct StaticText {
    /// An endpoint's path, or `*` for all.
    pub route: String,
    /// What is said.
    pub text: String,
    /// What is said to those who accept another language, by its tag.
    #[serde(default)]
    pub languages: BTreeMap<String, String>,
}

/// The name in a chain that stands for [`Tiers::texts`].
pub(super) const STATIC: &str = "static";
/// The name that stands for answers that were given before.
pub(super) const CACHE: &str = "cache";
/// Where nothing else is said.
const DEFAULT_SLO: Duration = Duration::from_secs(2);
/// The endpoints that generate.
pub(super) const ROUTES: [&str; 4] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
];

impl Tiers {
    /// The first model and, when it would be too late, the second.
    pub(super) fn of_two(first: &ModelSettings) -> Self {
        Self {
            chain: vec![0, 1],
            slo_ttft: first.default_deadline.unwrap_or(DEFAULT_SLO),
            recalls: false,
            texts: Vec::new(),
        }
    }
}

/// The place of the model that settings call `name`: among those that are served here or, after all of them, those of other servers.
pub(super) fn place(
    name: &str,
    models: &[ModelSettings],
    remotes: &[RemoteSettings],
) -> Option<usize> {
    let here = models.iter().position(|model| model.is_called(name));
    let elsewhere = remotes.iter().position(|model| model.name == name);
    here.or(elsewhere.map(|i| models.len() + i))
}

impl RawTiers {
    pub(super) fn resolve(
        self,
        models: &[ModelSettings],
        remotes: &[RemoteSettings],
        tenants: &[Tenant],
        keeps_answers: bool,
    ) -> Result<Tiers, ConfigError> {
        let chain_error = |message: String| Err(ConfigError::value("tiers.chain", message));
        let mut names = self.chain.as_slice();
        let has_texts = names.last().is_some_and(|name| name == STATIC);
        if has_texts {
            names = &names[..names.len() - 1];
        }
        let recalls = names.last().is_some_and(|name| name == CACHE);
        if recalls {
            names = &names[..names.len() - 1];
        }
        if recalls && !keeps_answers {
            return chain_error("\"cache\": nothing is kept without [cache.exact]".into());
        }
        let mut chain = Vec::new();
        for name in names {
            match place(name, models, remotes) {
                Some(model) => chain.push(model),
                None if name == CACHE => {
                    return chain_error(
                        "\"cache\" comes after the models, and before \"static\"".into(),
                    );
                }
                None if name == STATIC => {
                    return chain_error("\"static\" is the end: nothing comes after it".into());
                }
                None => {
                    return chain_error(format!("{name:?} is no name of [[models]]"));
                }
            }
        }
        let num_others = usize::from(has_texts) + usize::from(recalls);
        if chain.len() + num_others < 2 || chain.is_empty() {
            return chain_error(
                "takes a model, and then at least another model, \"cache\" or \"static\"".into(),
            );
        }
        if chain.iter().collect::<HashSet<_>>().len() < chain.len() {
            return chain_error("has a model twice".into());
        }
        let may = |what: fn(&Tenant) -> bool| tenants.iter().any(what);
        if chain.len() == 1 && may(|tenant| tenant.fallback) {
            return chain_error("a tenant may fall back, but there is no other model".into());
        }
        if !has_texts && may(|tenant| tenant.may_be_static) {
            return chain_error(
                "a tenant may have a static text, but there is no \"static\"".into(),
            );
        }
        if chain.len() > 1 && !may(|tenant| tenant.fallback) {
            return chain_error(
                "no tenant may be answered by a cheaper model: say fallback = true in its [[tenants]]; \"default\" is who has no key".into(),
            );
        }
        if has_texts && !may(|tenant| tenant.may_be_static) {
            return chain_error(
                "no tenant may be answered by a static text: say static = true in its [[tenants]]; \"default\" is who has no key".into(),
            );
        }
        check_texts(&self.texts, has_texts)?;
        let slo = milliseconds("tiers.slo_ttft_ms", self.slo_ttft_ms, 86_400_000)?;
        let deadline = models
            .get(chain[0])
            .and_then(|first| first.default_deadline);
        if slo.is_some() && deadline.is_some() {
            let message =
                "and default_deadline_ms of the chain's first model say the same: leave one out";
            return Err(ConfigError::value("tiers.slo_ttft_ms", message));
        }
        Ok(Tiers {
            chain,
            slo_ttft: slo.or(deadline).unwrap_or(DEFAULT_SLO),
            recalls,
            texts: self.texts,
        })
    }
}

fn check_texts(texts: &[StaticText], are_used: bool) -> Result<(), ConfigError> {
    let error = |message: String| Err(ConfigError::value("tiers.static", message));
    if texts.is_empty() == are_used {
        return error("\"static\" in tiers.chain and [[tiers.static]] go together".into());
    }
    let mut routes = HashSet::new();
    for text in texts {
        let route = &text.route;
        if route != "*" && !ROUTES.contains(&&**route) {
            return error(format!(
                "route {route:?} is none of *, {}",
                ROUTES.join(", ")
            ));
        }
        if !routes.insert(route) {
            return error(format!("route {route:?} is there twice"));
        }
        if text.text.is_empty() || text.languages.values().any(String::is_empty) {
            return error(format!("the text of route {route:?} is empty"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Config, RawConfig};
    use super::*;

    const MODELS: &str = "[[models]]\nname = 'a'\n[[models]]\nname = 'b'\nsource = 'x'\n";
    const OPEN: &str = "[[tenants]]\nname = 'default'\nfallback = true\nstatic = true\n";

    fn resolve(file: &str) -> Result<Config, ConfigError> {
        RawConfig::default().with_toml(file)?.resolve()
    }

    #[test]
    fn a_chain_names_models_and_ends_in_texts_where_there_are_some() {
        let file = format!(
            "{MODELS}{OPEN}[tiers]\nchain = ['b', 'a', 'static']\nslo_ttft_ms = 1500\n[[tiers.static]]\nroute = '*'\ntext = 'busy'\nlanguages = {{ de = 'belegt' }}\n"
        );
        let tiers = resolve(&file).unwrap().tiers.unwrap();
        assert_eq!(tiers.chain, [1, 0]);
        assert_eq!(tiers.slo_ttft, Duration::from_millis(1500));
        assert_eq!(tiers.texts[0].languages["de"], "belegt");
    }

    #[test]
    fn a_chain_that_could_do_nothing_is_an_error_that_says_why() {
        let texts = "[[tiers.static]]\nroute = '*'\ntext = 'busy'\n";
        const FALLBACK: &str = "[[tenants]]\nname = 'default'\nfallback = true\n";
        const TEXT: &str = "[[tenants]]\nname = 'default'\nstatic = true\n";
        for (tenants, chain, more, says) in [
            (OPEN, "['a']", "", "at least another"),
            (OPEN, "['static']", texts, "takes a model"),
            (OPEN, "['a', 'c']", "", "no name of [[models]]"),
            (OPEN, "['a', 'b', 'a']", "", "twice"),
            (OPEN, "['a', 'static', 'b']", texts, "nothing comes after"),
            (OPEN, "['a', 'cache', 'b']", "", "after the models"),
            (OPEN, "['a', 'b', 'cache']", "", "without [cache.exact]"),
            (TEXT, "['a', 'static']", "", "go together"),
            (FALLBACK, "['a', 'b']", texts, "go together"),
            (OPEN, "['a', 'static']", texts, "no other model"),
            (OPEN, "['a', 'b']", "", "no \"static\""),
            ("", "['a', 'b']", "", "fallback = true"),
            ("", "['a', 'static']", texts, "static = true"),
        ] {
            let file = format!("{MODELS}{tenants}[tiers]\nchain = {chain}\n{more}");
            let error = resolve(&file).unwrap_err().to_string();
            assert!(error.contains(says), "{chain}: {error}");
        }
    }

    #[test]
    fn a_fallback_model_by_its_flag_makes_a_chain_of_two() {
        let raw = RawConfig {
            fallback_model: Some("x".into()),
            max_num_seqs: Some(9),
            quantize: Some("q8_0".into()),
            ..RawConfig::default()
        };
        let config = raw.clone().resolve().unwrap();
        let second = &config.models[1];
        assert_eq!(second.served_model_name.as_deref(), Some("fallback"));
        assert_eq!((&*second.source, second.on_cpu.max_num_seqs), ("x", 9));
        assert!(second.quantize.is_none());
        assert_eq!(config.tiers.unwrap().chain, [0, 1]);
        assert!(config.default_tenant.fallback);
        let file = format!("{MODELS}{OPEN}[tiers]\nchain = ['a', 'b']\n");
        let both = raw.with_toml(&file).unwrap().resolve();
        assert!(both.unwrap_err().to_string().starts_with("fallback_model"));
    }
}
