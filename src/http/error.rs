//! What can be wrong with a server's address, and with an exchange with it.

use std::time::Duration;

use hyper::http::uri::InvalidUri;

/// Why there can be no client of this server; whoever wrote the URL or the key must act.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The text is no URL.
    #[error("`{url}` is no URL")]
    NoUrl {
        /// The text.
        url: String,
        /// What is wrong with it.
        source: InvalidUri,
    },
    /// The URL has no host.
    #[error("`{0}` names no host; it should look like http://127.0.0.1:8080")]
    NoHost(String),
    /// There is a user or a password in the URL, which is not repeated here.
    #[error("the URL has a user or a password in it; give the key apart")]
    Credentials,
    /// There is a query behind this part of the URL.
    #[error("`{0}` has a query; give the server's root alone")]
    Query(String),
    /// What stands behind the host is no port.
    #[error("`{0}` has a port that is not in 0..=65535")]
    Port(String),
    /// The URL is of another protocol.
    #[error("the scheme of `{url}` is {scheme}, not http or https")]
    Scheme {
        /// The URL.
        url: String,
        /// Its scheme, or `missing`.
        scheme: String,
    },
    /// No certificate can be for this host.
    #[error("`{0}` is no name that TLS knows")]
    HostName(String),
    /// The host has no address.
    #[error("no address for the host `{host}`")]
    NoAddress {
        /// The host.
        host: String,
        /// What the system said.
        source: Option<std::io::Error>,
    },
    /// The key can't be sent.
    #[error("the key has characters that no HTTP header may have")]
    Key,
    /// The system's certificates can't be used.
    #[error("TLS can't be set up")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection, or no TLS session.
    #[error("could not connect: {0}")]
    Connect(String),
    /// No connection in the time allowed.
    #[error("could not connect within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection broke before the reply was complete.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The body is larger than what was to be read of it, in bytes.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
}

/// `error` with its causes, as one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// At most the first 300 characters of `text`, for a message.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
