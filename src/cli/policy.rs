//! From settings of tenants and texts to the gateway's.

use crate::config::{self, Class, Tenant};
use crate::gateway::{Policy, StaticText, Tenants};
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
    }
}

pub(super) fn text(text: config::StaticText) -> StaticText {
    StaticText {
        route: text.route,
        text: text.text,
        languages: text.languages,
    }
}
