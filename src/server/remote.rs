//! Models that other servers serve.

use super::models::is_called;
use crate::remote::RemoteModel;
use crate::telemetry::RequestMetrics;

/// A model behind the endpoints that answers somewhere else.
pub struct RemoteServed {
    /// What requests call it.
    pub name: String,
    /// What they may call it as well.
    pub aliases: Vec<String>,
    /// How it is reached.
    pub model: RemoteModel,
    /// Its metrics.
    pub metrics: RequestMetrics,
}

impl RemoteServed {
    /// Whether requests may call it so.
    pub(super) fn is_called(&self, name: &str) -> bool {
        is_called(&self.name, &self.aliases, name)
    }
}
