//! A reply: its head, and its body as it comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};

use super::connect::Connection;
use super::error::{HttpError, describe};
use super::pool::Pool;

/// What a server answered with. Dropping it closes the connection.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, of which nothing has been read.
    pub body: ReplyBody,
    pub(super) headers: HeaderMap,
}

impl Reply {
    /// The first header called so, in lower case, where it is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type of the body, with its parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.header(header::CONTENT_TYPE.as_str())
    }

    /// Whether the body is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        self.content_type()
            .is_some_and(|value| value.to_ascii_lowercase().starts_with("text/event-stream"))
    }
}

/// The body of a reply. Read to its end it gives its connection to the next request; dropped before, it closes it.
pub struct ReplyBody {
    incoming: Incoming,
    /// None once the body has ended or failed.
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl ReplyBody {
    pub(super) fn new(incoming: Incoming, connection: Connection, pool: Arc<Pool>) -> Self {
        Self {
            incoming,
            connection: Some(connection),
            pool,
        }
    }

    /// The next bytes; `None` after the last, or after an error. Cancel safe: bytes that have come are not lost if the
    /// future is dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, HttpError>> {
        while self.connection.is_some() {
            match self.incoming.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Some(Err(error)) => {
                    self.connection = None;
                    return Some(Err(HttpError::Broken(describe(&error))));
                }
                None => self.pool.keep(self.connection.take()?),
            }
        }
        None
    }

    /// The whole body, of at most `max_bytes`. If the future is dropped, the connection is closed.
    pub async fn collect(mut self, max_bytes: usize) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if chunk.len() > max_bytes - body.len() {
                return Err(HttpError::TooLarge(max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Drops what is left of a body that has said all, and keeps the connection if the end comes within `patience`.
    pub async fn drain(mut self, patience: Duration) {
        let end = async { while let Some(Ok(_)) = self.chunk().await {} };
        // Where it does not come, the connection is closed like that of any body dropped early.
        let _ = tokio::time::timeout(patience, end).await;
    }
}
