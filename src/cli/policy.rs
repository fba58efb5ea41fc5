//! From settings of tenants and texts to the gateway's.

use crate::config::{self, Class, Tenant};
use crate::gateway::{Policy, SemanticMode, StaticText, Tenants};
use crate::request::Priority;

/// What each tenant may have, and any other.
pub(super) fn tenants(tenants: &[Tenant], others: &Tenant) -> Tenants {
    let by_name = tenants
        .iter()
        .map(|tenant| (tenant.name.clone(), policy(tenant)));
    Tenants::new(by_name.collect(), policy(others))
}

fn policy(tenant: &Tenant) -> Policy {
    Policy {
        priority: match tenant.class {
            Class::Interactive => Priority::Interactive,
            Class::Standard => Priority::Standard,
            Class::Batch => Priority::Batch,
        },
        slo_ttft: tenant.slo_ttft,
        fallback: tenant.fallback,
        may_be_static: tenant.may_be_static,
        semantic: tenant.semantic_cache.map(semantic),
        sees_cache: tenant.cache_details,
        is_admin: tenant.is_admin,
    }
}

pub(super) fn semantic(mode: config::SemanticMode) -> SemanticMode {
    match mode {
        config::SemanticMode::Off => SemanticMode::Off,
        config::SemanticMode::Draft => SemanticMode::Draft,
        config::SemanticMode::Serve => SemanticMode::Serve,
    }
}

pub(super) fn text(text: config::StaticText) -> StaticText {
    StaticText {
        route: text.route,
        text: text.text,
        languages: text.languages,
    }
}
