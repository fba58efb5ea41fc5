//! What operators see: metrics, the request log, and lines for people on stderr. Depends on no other layer.

mod answer_cache;
mod gpu;
mod log;
mod metrics;
mod request_log;
mod routing;
mod served_answers;
mod tier;

pub use answer_cache::{AnswerCacheGauges, AnswerCacheLevel, AnswerCacheMetrics};
pub use gpu::{GpuGauges, GpuMetrics};
pub use log::log_line;
pub use metrics::{EngineGauges, EngineMetrics, Outcome, RequestMetrics, Telemetry};
pub use request_log::{RequestLog, RequestRecord};
pub use routing::{RouteMetrics, RoutingSum, ShadowRoute};
pub use served_answers::ServedAnswerMetrics;
pub use tier::{Cause, CircuitMetrics, FallbackMetrics, Tier};
