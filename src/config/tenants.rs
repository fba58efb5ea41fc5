//! Who may have what: `[[tenants]]`.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;

use super::range::milliseconds;
use super::secret::one_or_many;
use super::{ConfigError, NamedKey, Secret, SemanticMode};

/// A tenant as it is typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTenant {
    name: String,
    #[serde(deserialize_with = "one_or_many")]
    keys: Vec<Secret>,
    class: Option<String>,
    slo_ttft_ms: Option<usize>,
    fallback: bool,
    #[serde(rename = "static")]
    may_be_static: bool,
    semantic_cache: Option<String>,
    cache_details: bool,
    admin: bool,
}

/// What the requests of one tenant may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// As its keys are called; `default` stands for requests without a key.
    pub name: String,
    /// How urgent requests are that do not say.
    pub class: Class,
    /// In which time the first token is to come.
    pub slo_ttft: Option<Duration>,
    /// Whether a cheaper model may answer.
    pub fallback: bool,
    /// Whether a static text may.
    pub may_be_static: bool,
    /// What becomes of answers to questions like theirs, where it is not what becomes of others'.
    pub semantic_cache: Option<SemanticMode>,
    /// Whether answers say what the caches had.
    pub cache_details: bool,
    /// Whether it may do what is done for all.
    pub is_admin: bool,
}

/// How urgent requests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Somebody waits.
    Interactive,
    /// What a request is that says nothing.
    #[default]
    Standard,
    /// Nobody waits.
    Batch,
}

/// The tenants and their keys.
pub(super) fn resolve(raw: Vec<RawTenant>) -> Result<(Vec<Tenant>, Vec<NamedKey>), ConfigError> {
    let (mut tenants, mut keys, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (i, tenant) in raw.into_iter().enumerate() {
        let of = match tenant.name.is_empty() {
            true => format!("tenants[{i}]"),
            false => format!("tenant {:?}", tenant.name),
        };
        if !names.insert(tenant.name.clone()) {
            return Err(ConfigError::value("name", "is another tenant's, too").of(of));
        }
        let resolved = tenant.resolve(&mut keys);
        tenants.push(resolved.map_err(|error| error.of(of))?);
    }
    Ok((tenants, keys))
}

impl RawTenant {
    fn resolve(self, keys: &mut Vec<NamedKey>) -> Result<Tenant, ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::value("name", "is missing"));
        }
        for key in &self.keys {
            keys.push(NamedKey::of(&self.name, &key.0)?);
        }
        Ok(Tenant {
            class: match self.class.as_deref() {
                Some("interactive") => Class::Interactive,
                None | Some("standard") => Class::Standard,
                Some("batch") => Class::Batch,
                Some(other) => {
                    let message =
                        format!("{other:?} is not known; use interactive, standard or batch");
                    return Err(ConfigError::value("class", message));
                }
            },
            slo_ttft: milliseconds("slo_ttft_ms", self.slo_ttft_ms, 86_400_000)?,
            name: self.name,
            fallback: self.fallback,
            may_be_static: self.may_be_static,
            semantic_cache: (self.semantic_cache)
                .map(|typed| SemanticMode::parse("semantic_cache", &typed))
                .transpose()?,
            cache_details: self.cache_details,
            is_admin: self.admin,
        })
    }
}
