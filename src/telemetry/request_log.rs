//! One JSON line a request, on stdout; never the content of prompt or answer.
//!
//! Lines go through a bounded channel to a thread of their own, so that a stdout nobody reads holds up no request; what
//! does not fit is dropped and counted in a line on stderr.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use super::{ShadowRoute, log_line};

/// The fields of a line. What is not known, or filled by no part of the server yet, is `null`.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct RequestRecord {
    pub request_id: String,
    pub tenant: Option<String>,
    pub user: Option<String>,
    pub session: Option<String>,
    pub model: String,
    pub model_version: Option<String>,
    pub tier: Option<&'static str>,
    pub fallback_cause: Option<&'static str>,
    pub route: Option<String>,
    pub route_shadow: Option<ShadowRoute>,
    pub prompt_version: Option<String>,
    pub prompt_tokens: usize,
    pub cached_tokens: usize,
    pub completion_tokens: usize,
    pub prompt_chars: usize,
    pub completion_chars: usize,
    pub finish_reason: Option<&'static str>,
    pub queue_ms: Option<f64>,
    pub ttft_ms: Option<f64>,
    pub expected_ttft_ms: Option<f64>,
    pub latency_ms: f64,
    pub cache: Option<&'static str>,
    pub cache_hit: bool,
    pub retry: u32,
    pub cost: Option<f64>,
    pub status: u16,
}

/// Lines that may wait for a slow reader of stdout.
const MAX_WAITING_LINES: usize = 8192;

enum Message {
    Line(Vec<u8>),
    Flush(mpsc::SyncSender<()>),
}

/// Where the lines go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestLog {
    writer: Option<mpsc::SyncSender<Message>>,
    num_dropped: Arc<AtomicU64>,
}

impl RequestLog {
    /// To stdout, from a thread of its own.
    pub fn stdout() -> std::io::Result<Self> {
        Self::to(std::io::stdout())
    }

    /// Nowhere.
    pub fn off() -> Self {
        Self {
            writer: None,
            num_dropped: Arc::default(),
        }
    }

    /// To `out`, from a thread of its own.
    pub fn to(mut out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (writer, messages) = mpsc::sync_channel(MAX_WAITING_LINES);
        let num_dropped = Arc::new(AtomicU64::new(0));
        let dropped = Arc::clone(&num_dropped);
        std::thread::Builder::new()
            .name("request-log".into())
            .spawn(move || {
                for message in messages {
                    match message {
                        // A closed stdout is no reason to stop serving.
                        Message::Line(line) => {
                            drop(out.write_all(&line).and_then(|()| out.flush()))
                        }
                        Message::Flush(done) => drop(done.send(())),
                    }
                    let dropped = dropped.swap(0, Ordering::Relaxed);
                    if dropped > 0 {
                        log_line(&format!(
                            "{dropped} request log lines were dropped: stdout is read too slowly"
                        ));
                    }
                }
            })?;
        Ok(Self {
            writer: Some(writer),
            num_dropped,
        })
    }

    /// Queues one line; never waits.
    pub fn write(&self, record: &RequestRecord) {
        let Some(writer) = &self.writer else { return };
        if let Ok(mut line) = serde_json::to_vec(record) {
            line.push(b'\n');
            if writer.try_send(Message::Line(line)).is_err() {
                self.num_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until what was queued is written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = mpsc::sync_channel(1);
        let Some(writer) = &self.writer else { return };
        if writer.try_send(Message::Flush(done)).is_ok() {
            // A reader too slow even now loses the last lines.
            let _ = written.recv_timeout(patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A sink whose writes wait for the gate.
    struct Gated(Arc<Mutex<Vec<u8>>>, mpsc::Receiver<()>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.recv().map_err(std::io::Error::other)?;
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_lines_stay_whole() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (gate, opened) = mpsc::channel();
        let log = RequestLog::to(Gated(Arc::clone(&written), opened)).unwrap();
        for i in 0..2 * MAX_WAITING_LINES {
            log.write(&RequestRecord {
                prompt_tokens: i,
                ..RequestRecord::default()
            });
        }
        assert!(log.num_dropped.load(Ordering::Relaxed) >= MAX_WAITING_LINES as u64 - 1);
        for _ in 0..=MAX_WAITING_LINES {
            gate.send(()).unwrap();
        }
        drop(gate);
        drop(log);
        let text = loop {
            let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
            if text.lines().count() >= MAX_WAITING_LINES {
                break text;
            }
            std::thread::yield_now();
        };
        for (i, line) in text.lines().take(MAX_WAITING_LINES).enumerate() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["prompt_tokens"], i);
        }
    }
}
