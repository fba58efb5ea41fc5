//! One JSON line a request, on stdout; never the content of prompt or answer.

use std::io::Write;

use serde::Serialize;

/// The fields of a line. Those that no part of the server fills yet are `null`.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct RequestRecord {
    pub request_id: String,
    pub tenant: String,
    pub user: Option<String>,
    pub session: Option<String>,
    pub model: String,
    pub model_version: Option<String>,
    pub tier: &'static str,
    pub prompt_version: Option<String>,
    pub prompt_tokens: usize,
    pub cached_tokens: usize,
    pub completion_tokens: usize,
    pub prompt_chars: usize,
    pub completion_chars: usize,
    pub finish_reason: Option<&'static str>,
    pub queue_ms: Option<f64>,
    pub ttft_ms: Option<f64>,
    pub latency_ms: f64,
    pub cache: &'static str,
    pub cache_hit: bool,
    pub retry: u32,
    pub cost: Option<f64>,
    pub status: u16,
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestLog {
    /// To stdout.
    Stdout,
    /// Nowhere.
    Off,
}

impl RequestLog {
    /// Writes one line; a closed stdout is no reason to stop serving.
    pub fn write(self, record: &RequestRecord) {
        if self == Self::Off {
            return;
        }
        if let Ok(mut line) = serde_json::to_vec(record) {
            line.push(b'\n');
            let _ = std::io::stdout().lock().write_all(&line);
        }
    }
}
