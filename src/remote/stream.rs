//! The answer of a remote model, as it comes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::AnswerReader;
use super::delta::RemoteDelta;
use super::error::{RemoteError, Wait};
use super::model::RemoteConfig;
use crate::http::{Reply, ReplyBody};

/// The most bytes read of an answer that comes in one piece.
const MAX_WHOLE_BYTES: usize = 16 << 20;
/// How long accounts and the end may come after the last choice has ended.
const END_AFTER_ANSWER: Duration = Duration::from_secs(1);

/// An answer that has begun. Dropping it closes the connection, which cancels the request at the other server, unless
/// the answer was read to its end.
pub struct RemoteStream {
    config: Arc<RemoteConfig>,
    reader: AnswerReader,
    /// None once nothing more comes.
    body: Option<ReplyBody>,
    deltas: VecDeque<RemoteDelta>,
    /// What comes after the deltas.
    failure: Option<RemoteError>,
    /// Since when the next chunk is waited for, by whichever call of `next`.
    waiting_since: Option<Instant>,
}

impl RemoteStream {
    /// Reads `reply` up to the first piece of the answer, or its end; an error is one that came before. If the future is
    /// dropped, the connection is closed.
    pub(super) async fn begin(
        reply: Reply,
        num_choices: usize,
        config: Arc<RemoteConfig>,
    ) -> Result<Self, RemoteError> {
        let mut stream = Self {
            config,
            reader: AnswerReader::new(num_choices),
            body: None,
            deltas: VecDeque::new(),
            failure: None,
            waiting_since: None,
        };
        if !reply.is_event_stream() {
            let body = reply.body.collect(MAX_WHOLE_BYTES).await?;
            stream.reader.whole(&body, &mut stream.deltas)?;
            return Ok(stream);
        }
        stream.body = Some(reply.body);
        while !stream.deltas.iter().any(RemoteDelta::is_answer) {
            // Until then it is accounts, of which the last count.
            (stream.deltas).drain(..stream.deltas.len().saturating_sub(1));
            if let Some(failure) = stream.failure.take() {
                return Err(failure);
            }
            if stream.body.is_none() {
                break;
            }
            stream.read().await;
        }
        Ok(stream)
    }

    /// The next part, as soon as it has come; `None` after the last one, or after an error. Cancel safe: nothing is lost
    /// if the future is dropped, and the time that it waited counts for the next call.
    pub async fn next(&mut self) -> Option<Result<RemoteDelta, RemoteError>> {
        loop {
            if let Some(delta) = self.deltas.pop_front() {
                return Some(Ok(delta));
            }
            if let Some(failure) = self.failure.take() {
                return Some(Err(failure));
            }
            self.body.as_ref()?;
            let idle_timeout = self.config.idle_timeout;
            let limit = match self.reader.is_answered() {
                true => idle_timeout.min(END_AFTER_ANSWER),
                false => idle_timeout,
            };
            // A reader who is slow to ask is no server that is slow to answer, so time counts from the first call.
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let left = limit.saturating_sub(since.elapsed());
            let read = tokio::time::timeout(left, self.read()).await;
            self.waiting_since = None;
            if read.is_err() {
                self.fail(RemoteError::Timeout {
                    what: Wait::NextChunk,
                    after: limit,
                });
            }
        }
    }

    /// Takes the next bytes in. Cancel safe.
    async fn read(&mut self) {
        let Some(body) = &mut self.body else { return };
        let read = match body.chunk().await {
            Some(Ok(bytes)) => self.reader.push(&bytes, &mut self.deltas),
            Some(Err(error)) => Err(error.into()),
            None => {
                self.body = None;
                self.reader.end()
            }
        };
        if let Err(error) = read {
            self.fail(error);
        } else if self.reader.is_over()
            && let Some(body) = self.body.take()
        {
            // Nobody waits for the end of the body, which makes the connection one that can be used again.
            tokio::spawn(body.drain(END_AFTER_ANSWER));
        }
    }

    /// Ends it, with the error unless the answer is complete.
    fn fail(&mut self, error: RemoteError) {
        self.body = None;
        if !self.reader.is_answered() {
            self.failure = Some(error.without_key(self.config.api_key.as_deref()));
        }
    }
}

impl fmt::Debug for RemoteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RemoteStream");
        shown.field("url", &self.config.url).finish_non_exhaustive()
    }
}
