//! One measured request: send, stream, time.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::{body_message, read_text};
use super::failure::Failure;
use super::reply::{Reply, ReplyReader};
use crate::http::HttpClient;

/// How long the end of the body may come after `[DONE]` for the connection to be worth keeping.
const END_AFTER_DONE: Duration = Duration::from_millis(100);

/// Posts `body` to `path` and reads the streamed reply to `[DONE]`.
pub(super) async fn exchange(
    client: &HttpClient,
    path: &'static str,
    body: Bytes,
) -> Result<Reply, Failure> {
    let reply = client.post(path, body).await?;
    let status = reply.status;
    if status != 200 {
        let message = match read_text(reply.body).await {
            Ok(text) => body_message(&text),
            Err(failure) => failure.to_string(),
        };
        return Err(Failure::Status { status, message });
    }
    if !reply.is_event_stream() {
        let found = reply.content_type().unwrap_or("missing");
        return Err(Failure::Malformed(format!(
            "the content type is {found}, not text/event-stream"
        )));
    }
    let (mut body, mut reader) = (reply.body, ReplyReader::default());
    while !reader.is_done() {
        let Some(chunk) = body.chunk().await else {
            break;
        };
        let at = Instant::now();
        reader.push(&chunk?, at)?;
    }
    let reply = reader.finish()?;
    body.drain(END_AFTER_DONE).await;
    Ok(reply)
}
