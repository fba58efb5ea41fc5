//! What can go wrong with another server, by who must act.

use std::time::Duration;

use serde_json::Value;

use crate::http::{HttpError, SetupError, excerpt};

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A connection.
    Connect,
    /// The first piece of the answer.
    FirstToken,
    /// The next chunk of the answer.
    NextChunk,
}

/// Why a remote model gave no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The URL or the key can't be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The server lists no model, and none was named.
    #[error("the remote server lists no model; name the one to ask for")]
    NoModel,
    /// Nobody is there.
    #[error("the remote server can't be reached: {0}")]
    Unreachable(String),
    /// The answer broke off.
    #[error("the remote server's answer broke off: {0}")]
    Broken(String),
    /// Something did not come in the time allowed.
    #[error("the remote server gave no {} within {after:?}", awaited(*.what))]
    Timeout {
        /// What.
        what: Wait,
        /// The time allowed.
        after: Duration,
    },
    /// 429: it has enough to do, or the key has no more to spend.
    #[error("the remote server is busy: {message}")]
    Busy {
        /// What it said.
        message: String,
        /// When to come again, if it said so.
        retry_after: Option<Duration>,
    },
    /// 502, 503 or 504: it can't answer for now.
    #[error("the remote server is unavailable (HTTP {status}): {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// When to come again, if it said so.
        retry_after: Option<Duration>,
    },
    /// Another 4xx: it does not take this request.
    #[error("the remote server refused the request (HTTP {status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// The field it blames.
        param: Option<String>,
    },
    /// It failed at this request: another status, or an error in place of the rest of an answer.
    #[error("the remote server failed: {message}")]
    Failed {
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// What it said.
        message: String,
    },
    /// What came is no answer of OpenAI's protocol.
    #[error("the remote server's answer is malformed: {0}")]
    Malformed(String),
}

/// `text` without `key`, also where it was escaped or an excerpt ends in the middle of it.
fn without(key: &str, text: &str) -> String {
    let escaped = serde_json::Value::from(key).to_string();
    let mut text = text
        .replace(key, "[key]")
        .replace(escaped.trim_matches('"'), "[key]");
    if let Some(cut) = text.strip_suffix('…') {
        let begins = |&(end, _): &(usize, char)| cut.ends_with(&key[..end]);
        let ends = key.char_indices().rev().filter(|&(end, _)| end >= 4);
        if let Some((end, _)) = ends.into_iter().find(begins) {
            text = format!("{}[key]…", &cut[..cut.len() - end]);
        }
    }
    text
}

fn awaited(what: Wait) -> &'static str {
    match what {
        Wait::Connect => "connection",
        Wait::FirstToken => "first token",
        Wait::NextChunk => "further part of its answer",
    }
}

impl RemoteError {
    /// Of a status that is no success, and the body with it.
    pub(super) fn of_status(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(body) => Self::of_object(&body, Some(status), retry_after),
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                Self::new(Some(status), excerpt(text.trim()), None, retry_after)
            }
        }
    }

    /// Of an error in place of an answer, in a body of status 200. It may bring its status as its `code`.
    pub(super) fn of_event(body: &Value) -> Self {
        let error = body.get("error").unwrap_or(body);
        let code = error.get("code").and_then(Value::as_u64);
        let status = code.and_then(|code| u16::try_from(code).ok());
        let status = status.filter(|status| (400..600).contains(status));
        Self::of_object(body, status, None)
    }

    fn of_object(body: &Value, status: Option<u16>, retry_after: Option<Duration>) -> Self {
        let error = body.get("error").unwrap_or(body);
        let message = error.get("message").unwrap_or(error);
        let message = match message.as_str() {
            Some(message) => excerpt(message),
            None => excerpt(&message.to_string()),
        };
        let param = error.get("param").and_then(Value::as_str);
        Self::new(status, message, param.map(excerpt), retry_after)
    }

    fn new(
        status: Option<u16>,
        message: String,
        param: Option<String>,
        retry_after: Option<Duration>,
    ) -> Self {
        match status {
            Some(429) => Self::Busy {
                message,
                retry_after,
            },
            Some(status @ 502..=504) => Self::Unavailable {
                status,
                message,
                retry_after,
            },
            Some(status @ 400..=499) => Self::Refused {
                status,
                message,
                param,
            },
            Some(300..=399) => Self::Failed {
                status,
                message: "it redirects, which is not followed; name the address behind it".into(),
            },
            status => Self::Failed { status, message },
        }
    }

    /// Without the key, should the server have repeated it.
    #[must_use]
    pub(super) fn without_key(mut self, key: Option<&str>) -> Self {
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return self;
        };
        if let Self::Refused {
            param: Some(param), ..
        } = &mut self
        {
            *param = without(key, param);
        }
        if let Some(message) = self.message_mut() {
            *message = without(key, message);
        }
        self
    }

    /// What of it the server may have written.
    fn message_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Busy { message, .. }
            | Self::Unavailable { message, .. }
            | Self::Refused { message, .. }
            | Self::Failed { message, .. }
            | Self::Malformed(message)
            | Self::Broken(message)
            | Self::Unreachable(message) => Some(message),
            Self::Setup(_) | Self::NoModel | Self::Timeout { .. } => None,
        }
    }
}

impl From<HttpError> for RemoteError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Connect(what) => Self::Unreachable(what),
            HttpError::ConnectTimeout(after) => Self::Timeout {
                what: Wait::Connect,
                after,
            },
            HttpError::Broken(what) => Self::Broken(what),
            HttpError::TooLarge(_) => Self::Malformed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_no_error_whole_cut_or_escaped() {
        let key = "sk-\"4815162342";
        let escaped = serde_json::Value::from(key).to_string();
        let long = format!("{}{key}", "x".repeat(290));
        for message in [key.to_owned(), escaped, long] {
            let body = serde_json::json!({"error": {"message": message, "param": key}});
            let error = RemoteError::of_status(400, body.to_string().as_bytes(), None);
            let error = format!("{:?}", error.without_key(Some(key)));
            assert!(!error.contains("481") && !error.contains("sk-"), "{error}");
        }
    }

    #[test]
    fn an_error_body_gives_its_message_in_every_common_shape() {
        for body in [
            r#"{"error":{"message":"slow down","param":"n"}}"#,
            r#"{"error":"slow down"}"#,
            r#"{"object":"error","message":"slow down"}"#,
            " slow down\n",
        ] {
            match RemoteError::of_status(400, body.as_bytes(), None) {
                RemoteError::Refused { message, param, .. } => {
                    assert_eq!(message, "slow down", "{body}");
                    assert_eq!(param.is_some(), body.contains("param"));
                }
                other => panic!("{other:?}"),
            }
        }
        let long = RemoteError::of_status(500, "é".repeat(1000).as_bytes(), None);
        assert!(long.to_string().chars().count() < 400);
    }

    #[test]
    fn an_error_in_an_answer_is_what_its_code_says() {
        for (body, says) in [
            (r#"{"error":{"message":"m","code":429}}"#, "busy"),
            (r#"{"error":{"message":"m","code":503}}"#, "unavailable"),
            (r#"{"error":{"message":"m","code":400}}"#, "refused"),
            (r#"{"error":{"message":"m","code":500}}"#, "failed"),
            (r#"{"error":{"message":"m","code":"overloaded"}}"#, "failed"),
            (r#"{"error":{"message":"m","code":-1}}"#, "failed"),
            (r#"{"object":"error","message":"m","code":404}"#, "refused"),
        ] {
            let error = RemoteError::of_event(&serde_json::from_str(body).unwrap()).to_string();
            assert!(
                error.contains(says) && error.ends_with(": m"),
                "{body}: {error}"
            );
        }
    }
}
