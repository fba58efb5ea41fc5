//! What a request hears back: tokens, then exactly one terminal event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};

use super::places::Place;

use crate::constraint::ConstraintError;
use crate::request::{FinishReason, SampledToken, Timing, TokenLogprobs};
use crate::scheduler::Refusal;

/// Why an accepted request ended without a finish reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The rule that its tokens follow could not be told any further.
    #[error("the grammar of this request {0}")]
    Constraint(#[from] ConstraintError),
    /// The step it was part of failed.
    #[error("the engine failed while computing this request: {0}")]
    Step(String),
    /// The model gave no finite logit for this request.
    #[error(
        "the model gave no token for this request: its logits are not finite, or every token is banned"
    )]
    NoToken,
    /// The executor panicked and was rebuilt; the log has the message.
    #[error("the engine crashed while computing this request; it is being restarted")]
    Panic,
    /// What the model computes with could not be loaded.
    #[error("the model could not be loaded: {0}")]
    NotLoaded(String),
    /// It would not have its first token in time.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server stopped before it was done.
    #[error("the server shut down before this request was finished")]
    ShutDown,
}

/// One message of a request's stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Comes first where it was asked for: the log-probabilities of the prompt's tokens, from the first that is scored on.
    Prompt(Vec<TokenLogprobs>),
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
/// The channel has room for the prompt's scores, every token the request may have and the terminal event, so sending never blocks. Dropping
/// the sink without a terminal event sends [`EngineError::ShutDown`]: however a request ends, its reader hears of it once.
#[derive(Debug)]
pub struct EventSink {
    sender: Option<mpsc::Sender<Event>>,
    /// The reader had all it wants, which is not the same as having left.
    is_satisfied: Arc<AtomicBool>,
    /// The request's place in the bounded queue, given back with the sink.
    _place: Place,
}

/// The reader's end. Dropping it cancels the request.
#[derive(Debug)]
pub struct EventStream {
    receiver: mpsc::Receiver<Event>,
    is_satisfied: Arc<AtomicBool>,
    stopped: watch::Receiver<bool>,
    is_over: bool,
}

impl EventStream {
    /// The next event; `None` after the terminal one, which always comes, also when the engine's thread is gone or is
    /// stopped in the middle of a step. Cancel safe.
    pub async fn recv(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = tokio::select! {
            // What was sent before the stop is delivered first.
            biased;
            event = self.receiver.recv() => event,
            _ = self.stopped.wait_for(|&stopped| stopped) => None,
        };
        self.note(event)
    }

    /// As [`EventStream::recv`], for a thread outside of any async runtime.
    pub fn blocking_recv(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = self.receiver.blocking_recv();
        self.note(event)
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        self.is_over |= event.as_ref().is_some_and(Event::is_terminal);
        event
    }

    fn note(&mut self, event: Option<Event>) -> Option<Event> {
        let event = event.unwrap_or(Event::Failed(EngineError::ShutDown));
        self.is_over = event.is_terminal();
        Some(event)
    }

    /// Ends the request early because the reader has all it wants (a stop string). What the engine computes for it
    /// meanwhile is not counted as wasted on somebody who left.
    pub fn finish(&mut self) {
        self.is_satisfied.store(true, Ordering::Relaxed);
        self.receiver.close();
    }
}

impl EventSink {
    /// A stream for at most `max_tokens` tokens, which also ends when `stopped` becomes true.
    pub fn new(
        max_tokens: usize,
        place: Place,
        stopped: watch::Receiver<bool>,
    ) -> (Self, EventStream) {
        let (sender, receiver) = mpsc::channel(max_tokens + 2);
        let is_satisfied = Arc::new(AtomicBool::new(false));
        let sink = Self {
            sender: Some(sender),
            is_satisfied: Arc::clone(&is_satisfied),
            _place: place,
        };
        let stream = EventStream {
            receiver,
            is_satisfied,
            stopped,
            is_over: false,
        };
        (sink, stream)
    }

    /// Whether nobody reads any more.
    pub fn is_cancelled(&self) -> bool {
        self.sender.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Whether the reader left before it had all it wants.
    pub fn is_abandoned(&self) -> bool {
        self.is_cancelled() && !self.is_satisfied.load(Ordering::Relaxed)
    }

    /// Sends the scores of the prompt.
    pub fn prompt(&mut self, logprobs: Vec<TokenLogprobs>) {
        self.send(Event::Prompt(logprobs));
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
    use super::super::places::Places;
    use super::*;

    fn sink(max_tokens: usize) -> (EventSink, EventStream, Places) {
        let places = Places::new(1, false);
        let place = places.take(&"test".into()).unwrap();
        let (sink, stream) = EventSink::new(max_tokens, place, watch::channel(false).1);
        (sink, stream, places)
    }

    fn token(token_id: u32) -> SampledToken {
        SampledToken {
            token_id,
            logprobs: None,
        }
    }

    fn drain(mut stream: EventStream) -> Vec<Event> {
        std::iter::from_fn(|| stream.receiver.try_recv().ok()).collect()
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
        assert_eq!(places.num_taken(), 0);
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
    fn a_reader_that_left_is_seen_and_one_that_has_enough_has_not_left() {
        let (left, stream, _places) = sink(2);
        assert!(!left.is_cancelled());
        drop(stream);
        assert!(left.is_cancelled() && left.is_abandoned());

        let (satisfied, mut stream, _places) = sink(2);
        stream.finish();
        assert!(satisfied.is_cancelled() && !satisfied.is_abandoned());
    }

    #[tokio::test]
    async fn a_stopped_engine_ends_a_stream_after_what_was_sent() {
        let place = Places::new(1, false).take(&"test".into()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let (mut sink, mut stream) = EventSink::new(2, place, stopped);
        sink.token(token(1), None);
        stop.send_replace(true);
        assert!(!stream.recv().await.unwrap().is_terminal());
        let shut_down = Event::Failed(EngineError::ShutDown);
        assert_eq!(stream.recv().await, Some(shut_down));
        assert_eq!(stream.recv().await, None);
    }
}
