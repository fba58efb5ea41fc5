//! One measured request: send, stream, time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, header};

use super::client::{Client, body_message, read_text};
use super::failure::{Failure, describe};
use super::reply::{Reply, ReplyReader};

/// How long the end of the body may come after `[DONE]` for the connection to be worth keeping.
const END_AFTER_DONE: Duration = Duration::from_millis(100);

/// Posts `body` to `path` and reads the streamed reply to `[DONE]`.
pub(super) async fn exchange(client: &Client, path: &str, body: Bytes) -> Result<Reply, Failure> {
    let (response, connection) = client.send(Method::POST, path, body).await?;
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    if status != 200 {
        let message = match read_text(body).await {
            Ok(text) => {
                client.keep(connection);
                body_message(&text)
            }
            Err(failure) => failure.to_string(),
        };
        return Err(Failure::Status { status, message });
    }
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|value| value.starts_with("text/event-stream")) {
        let found = content_type.unwrap_or("missing");
        return Err(Failure::Malformed(format!(
            "the content type is {found}, not text/event-stream"
        )));
    }
    let mut reader = ReplyReader::default();
    while !reader.is_done() {
        let Some(frame) = body.frame().await else {
            break;
        };
        let at = Instant::now();
        let frame = frame.map_err(|error| Failure::Connection(describe(&error)))?;
        if let Some(bytes) = frame.data_ref() {
            reader.push(bytes, at)?;
        }
    }
    let reply = reader.finish()?;
    if tokio::time::timeout(END_AFTER_DONE, ends_cleanly(&mut body)).await == Ok(true) {
        client.keep(connection);
    }
    Ok(reply)
}

async fn ends_cleanly(body: &mut Incoming) -> bool {
    loop {
        match body.frame().await {
            None => return true,
            Some(Ok(_)) => {}
            Some(Err(_)) => return false,
        }
    }
}
