//! What requests may have, by whose they are.

use std::collections::HashMap;
use std::time::Duration;

use crate::request::Priority;

/// What the requests of a tenant may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How urgent those are that do not say.
    pub priority: Priority,
    /// In which time the first token is to come, where a request does not say.
    pub slo_ttft: Option<Duration>,
    /// Whether a cheaper model may answer.
    pub fallback: bool,
    /// Whether a static text may.
    pub may_be_static: bool,
    /// What becomes of answers to questions like theirs, where it is not what becomes of others'.
    pub semantic: Option<SemanticMode>,
    /// Whether answers say what the caches had.
    pub sees_cache: bool,
    /// Whether they may do what is done for all.
    pub is_admin: bool,
}

/// What becomes of the answer to a question like the one that is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SemanticMode {
    /// Nothing: it is not even remembered.
    Off,
    /// The model says it faster where it says it again.
    #[default]
    Draft,
    /// It is given again where all gates let it pass.
    Serve,
}

/// All tenants.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    by_name: HashMap<String, Policy>,
    others: Policy,
}

impl Tenants {
    /// Those of `by_name`, and what any other may have.
    pub fn new(by_name: HashMap<String, Policy>, others: Policy) -> Self {
        Self { by_name, others }
    }

    /// What the tenant of this name may have.
    pub fn policy(&self, name: &str) -> Policy {
        self.by_name.get(name).copied().unwrap_or(self.others)
    }
}
