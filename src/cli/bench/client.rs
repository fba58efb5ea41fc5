//! The server under test: how it is reached, and what it serves.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

use super::failure::Failure;
use super::reply::error_message;
use crate::http::{HttpClient, HttpOptions, ReplyBody, SetupError, excerpt};

/// The most bytes read of a body that is no stream.
const MAX_BODY_BYTES: usize = 4 << 20;
/// After how long a connection is closed that no request took.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of the server at `url`, whose name is resolved once, before anything is measured; without connecting yet.
/// It keeps a connection for each of `places` requests in flight.
pub(super) async fn client(
    url: &str,
    api_key: Option<&str>,
    timeout: Duration,
    places: u32,
) -> anyhow::Result<HttpClient> {
    let options = HttpOptions {
        url,
        api_key,
        user_agent: concat!("flambeau-bench/", env!("CARGO_PKG_VERSION")),
        connect_timeout: timeout,
        max_idle: places as usize,
        idle_timeout: IDLE_TIMEOUT,
    };
    let mut client = HttpClient::new(&options).map_err(naming_the_flag)?;
    client.resolve().await.map_err(naming_the_flag)?;
    Ok(client)
}

fn naming_the_flag(error: SetupError) -> anyhow::Error {
    match error {
        SetupError::Credentials => anyhow!("--url: give the key with --api-key, not in the URL"),
        SetupError::Key => anyhow::Error::new(error).context("--api-key"),
        error => anyhow::Error::new(error).context("--url"),
    }
}

/// The id of the first model that `/v1/models` lists.
pub(super) async fn first_model(client: &HttpClient, timeout: Duration) -> anyhow::Result<String> {
    let listing = async {
        let reply = client.get("/v1/models").await?;
        let status = reply.status;
        let text = read_text(reply.body).await?;
        match status {
            200 => Ok(text),
            _ => Err(Failure::Status {
                status,
                message: body_message(&text),
            }),
        }
    };
    let text = tokio::time::timeout(timeout, listing)
        .await
        .unwrap_or(Err(Failure::Timeout))
        .context("GET /v1/models failed (name the model with --model to do without it)")?;
    let listing: Value =
        serde_json::from_str(&text).context("/v1/models did not answer with JSON")?;
    let id = listing.pointer("/data/0/id").and_then(Value::as_str);
    Ok(id
        .context("/v1/models lists no model; name one with --model")?
        .to_owned())
}

/// The whole of a small body as text.
pub(super) async fn read_text(body: ReplyBody) -> Result<String, Failure> {
    let bytes = body.collect(MAX_BODY_BYTES).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What an error's body says: OpenAI's message, or else the text itself.
pub(super) fn body_message(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(body) => error_message(body.get("error").unwrap_or(&body)),
        Err(_) => excerpt(text.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_url_or_key_is_an_error_naming_the_flag() {
        for (url, key, says) in [
            ("127.0.0.1:8080", None, "scheme"),
            ("/v1", None, "names no host"),
            ("ftp://127.0.0.1", None, "not http or https"),
            ("http://me:pw@127.0.0.1", None, "--api-key"),
            ("http://127.0.0.1/?a=b", None, "query"),
            ("http://a b", None, "no URL"),
            ("http://127.0.0.1", Some("a\nb"), "--api-key"),
        ] {
            let error = client(url, key, IDLE_TIMEOUT, 1).await.err().unwrap();
            assert!(format!("{error:#}").contains(says), "{url}: {error:#}");
            assert!(format!("{error:#}").contains("--"), "{url}: {error:#}");
        }
    }

    #[test]
    fn an_error_body_gives_its_message_in_every_common_shape() {
        assert_eq!(
            body_message(r#"{"error":{"message":"slow down"}}"#),
            "slow down"
        );
        assert_eq!(body_message(r#"{"error":"slow down"}"#), "slow down");
        assert_eq!(
            body_message(r#"{"object":"error","message":"slow down"}"#),
            "slow down"
        );
        assert_eq!(body_message(" slow down\n"), "slow down");
        assert_eq!(body_message(&"é".repeat(1000)).chars().count(), 301);
    }
}
