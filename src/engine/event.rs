//! What a request hears back: tokens, then exactly one terminal event.

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::request::{FinishReason, SampledToken, Timing};

/// Why an accepted request ended without a finish reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The step it was part of failed.
    #[error("the engine failed while computing this request: {0}")]
    Step(String),
    /// The executor panicked and was rebuilt.
    #[error("the engine panicked while this request was open: {0}")]
    Panic(String),
    /// The server stopped before it was done.
    #[error("the server shut down before this request was finished")]
    ShutDown,
}

/// One message of a request's stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A token; `timing` comes with the first. `finish` makes it the last event.
    Token {
        /// The token.
        token: SampledToken,
        /// Where the time went, with the first token.
        timing: Option<Timing>,
        /// Why generation ended, with the last.
        finish: Option<FinishReason>,
    },
    /// The last event of a request that failed.
    Failed(EngineError),
}

impl Event {
    /// Whether nothing follows.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Failed(_)
                | Self::Token {
                    finish: Some(_),
                    ..
                }
        )
    }
}

/// The engine's end of a request's stream.
///
/// The channel has room for every token the request may have and the terminal event, so sending never blocks. Dropping
/// the sink without a terminal event sends [`EngineError::ShutDown`]: however a request ends, its reader hears of it once.
#[derive(Debug)]
pub struct EventSink {
    sender: Option<mpsc::Sender<Event>>,
    /// The request's place in the bounded queue, given back with the sink.
    _place: OwnedSemaphorePermit,
}

/// The reader's end. Dropping it cancels the request.
pub type EventStream = mpsc::Receiver<Event>;

impl EventSink {
    /// A stream for at most `max_tokens` tokens.
    pub fn new(max_tokens: usize, place: OwnedSemaphorePermit) -> (Self, EventStream) {
        let (sender, stream) = mpsc::channel(max_tokens + 1);
        (
            Self {
                sender: Some(sender),
                _place: place,
            },
            stream,
        )
    }

    /// Whether the reader has left.
    pub fn is_cancelled(&self) -> bool {
        self.sender.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Sends a token that is not the last.
    pub fn token(&mut self, token: SampledToken, timing: Option<Timing>) {
        self.send(Event::Token {
            token,
            timing,
            finish: None,
        });
    }

    /// Sends the last token.
    pub fn finish(mut self, token: SampledToken, timing: Option<Timing>, reason: FinishReason) {
        self.send(Event::Token {
            token,
            timing,
            finish: Some(reason),
        });
        self.sender = None;
    }

    /// Ends the stream with an error.
    pub fn fail(mut self, error: EngineError) {
        self.send(Event::Failed(error));
        self.sender = None;
    }

    fn send(&self, event: Event) {
        if let Some(sender) = &self.sender {
            // Full cannot happen (see the type); closed means that nobody listens, which `is_cancelled` reports.
            let full = matches!(
                sender.try_send(event),
                Err(mpsc::error::TrySendError::Full(_))
            );
            debug_assert!(!full, "a stream has room for every event: this is a bug");
        }
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.send(Event::Failed(EngineError::ShutDown));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn sink(max_tokens: usize) -> (EventSink, EventStream, Arc<Semaphore>) {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let (sink, stream) = EventSink::new(max_tokens, place);
        (sink, stream, places)
    }

    fn token(token_id: u32) -> SampledToken {
        SampledToken {
            token_id,
            logprobs: None,
        }
    }

    fn drain(mut stream: EventStream) -> Vec<Event> {
        std::iter::from_fn(|| stream.try_recv().ok()).collect()
    }

    #[test]
    fn a_dropped_sink_ends_its_stream_once_and_frees_its_place() {
        let (mut sink, stream, places) = sink(2);
        sink.token(token(1), None);
        sink.token(token(2), None);
        drop(sink);
        let events = drain(stream);
        assert_eq!(events.iter().filter(|e| e.is_terminal()).count(), 1);
        assert_eq!(events.last(), Some(&Event::Failed(EngineError::ShutDown)));
        assert_eq!(places.available_permits(), 1);
    }

    #[test]
    fn a_finished_stream_has_one_terminal_event() {
        let (mut sink, stream, _places) = sink(2);
        sink.token(token(1), None);
        sink.finish(token(2), None, FinishReason::Stop);
        let events = drain(stream);
        assert_eq!(events.len(), 2);
        assert!(!events[0].is_terminal() && events[1].is_terminal());
    }

    #[test]
    fn a_failed_stream_has_one_terminal_event() {
        let (sink, stream, _places) = sink(2);
        sink.fail(EngineError::Step("x".into()));
        assert_eq!(
            drain(stream),
            [Event::Failed(EngineError::Step("x".into()))]
        );
    }

    #[test]
    fn a_reader_that_left_is_seen() {
        let (sink, stream, _places) = sink(2);
        assert!(!sink.is_cancelled());
        drop(stream);
        assert!(sink.is_cancelled());
    }
}
