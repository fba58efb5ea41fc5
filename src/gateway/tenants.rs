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
