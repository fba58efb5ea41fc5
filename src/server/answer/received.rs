//! What is known of a request from its head on, and the books of one that is refused, or whose client leaves, before anything is generated.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::request::DEFAULT_TENANT;
use crate::server::error::ApiError;
use crate::server::routing::Routed;
use crate::server::state::AppState;
use crate::telemetry::{Outcome, RequestRecord};

/// What whoever sends a request may, beside asking models.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rights {
    /// See what the caches had.
    pub sees_cache: bool,
    /// Do what is done for all.
    pub is_admin: bool,
}

/// What is known of a request from its head on; shared by everything that handles it.
#[derive(Debug)]
pub(crate) struct Received {
    /// When its head was read.
    pub at: Instant,
    /// `x-request-id`.
    pub request_id: String,
    /// `x-session-id`, cut at a sensible length.
    pub session: Option<String>,
    /// `accept-language`, where it is not too long.
    pub languages: Option<String>,
    /// Whose key, once that is known, and what it opens.
    tenant: OnceLock<(String, Rights)>,
    /// What answers it, once that is known.
    model: OnceLock<String>,
    /// How its model was picked, where it leaves that open.
    route: OnceLock<Routed>,
    is_booked: AtomicBool,
}

impl Received {
    pub fn new(request_id: String, session: Option<String>, languages: Option<String>) -> Self {
        Self {
            at: Instant::now(),
            request_id,
            session,
            languages,
            tenant: OnceLock::new(),
            model: OnceLock::new(),
            route: OnceLock::new(),
            is_booked: AtomicBool::new(false),
        }
    }

    /// Notes whose request it is, and what that one may.
    pub fn is_of(&self, tenant: String, rights: Rights) {
        // Whoever notes it first is right: a request has one key.
        let _ = self.tenant.set((tenant, rights));
    }

    /// Whose request it is, once its key is known.
    pub fn tenant(&self) -> &str {
        let known = self.tenant.get();
        known.map_or(DEFAULT_TENANT, |(tenant, _)| tenant)
    }

    /// What that one may; nothing as long as no key is known.
    pub fn rights(&self) -> Rights {
        self.tenant
            .get()
            .map_or(Rights::default(), |(_, rights)| *rights)
    }

    /// 403 for who may not do what is done for all.
    pub fn must_be_admin(&self) -> Result<(), ApiError> {
        match self.rights().is_admin {
            true => Ok(()),
            false => Err(ApiError::forbidden(
                "this is for administrators: admin = true in the tenant's [[tenants]]",
            )),
        }
    }

    /// Notes that the model or adapter `name` answers it.
    pub fn answers_as(&self, name: &str) {
        // Whoever notes it first is right: there is one handler.
        let _ = self.model.set(name.to_owned());
    }

    /// Notes how its model was picked.
    pub fn routed(&self, routed: Routed) {
        let _ = self.route.set(routed);
    }

    /// What led to the model that answers it, where it leaves that open.
    pub fn route(&self) -> Option<&str> {
        self.route.get().map(Routed::name)
    }

    /// What answers it.
    pub fn model<'a>(&'a self, state: &'a AppState) -> &'a str {
        self.model.get().unwrap_or(&state.models.first().name)
    }

    /// How its model was picked, where it leaves that open.
    pub(super) fn routing(&self) -> Option<&Routed> {
        self.route.get()
    }

    /// An account is opened for it.
    pub(super) fn is_booked_elsewhere(&self) {
        self.is_booked.store(true, Ordering::Relaxed);
    }

    /// The start of its log line.
    pub(super) fn record(&self, state: &AppState) -> RequestRecord {
        RequestRecord {
            request_id: self.request_id.clone(),
            tenant: self.tenant.get().map(|(tenant, _)| tenant.clone()),
            session: self.session.clone(),
            model: self.model(state).to_owned(),
            route: self.route().map(str::to_owned),
            route_shadow: self.route.get().and_then(Routed::shadow),
            ..RequestRecord::default()
        }
    }

    /// Books a request that was refused before an [`Account`] was opened for it.
    pub fn refused(&self, state: &AppState, status: u16) {
        if self.is_booked.swap(true, Ordering::Relaxed) {
            return;
        }
        let metrics = state.metrics(self.model(state));
        match status {
            500 => metrics.ended(Outcome::Error, self.at.elapsed(), None),
            _ => metrics.rejected(),
        }
        state.options.request_log.write(&RequestRecord {
            status,
            latency_ms: ms(self.at.elapsed()),
            ..self.record(state)
        });
    }
}

impl Received {
    /// Books a request whose client left before an [`Account`] was opened for it.
    pub fn left(&self, state: &AppState) {
        if self.is_booked.swap(true, Ordering::Relaxed) {
            return;
        }
        let (outcome, e2e) = (Outcome::Cancelled, self.at.elapsed());
        state.metrics(self.model(state)).ended(outcome, e2e, None);
        state.options.request_log.write(&RequestRecord {
            status: CLIENT_LEFT,
            finish_reason: Some(outcome.as_str()),
            latency_ms: ms(e2e),
            ..self.record(state)
        });
    }
}

/// nginx's status for "the client closed the request".
pub(super) const CLIENT_LEFT: u16 = 499;

pub(super) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
