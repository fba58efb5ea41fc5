//! The client: one server, keep-alive connections.
//!
//! A connection is opened when a request finds no idle one, as part of that request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};

use super::body::{Reply, ReplyBody};
use super::connect::{Connection, Connector};
use super::endpoint::Endpoint;
use super::error::{HttpError, SetupError, describe};
use super::pool::Pool;

/// How a server is reached.
pub struct HttpOptions<'a> {
    /// Its root, `http` or `https`, with or without the trailing `/v1`.
    pub url: &'a str,
    /// Sent with each request as a bearer token.
    pub api_key: Option<&'a str>,
    /// Who the client says it is.
    pub user_agent: &'static str,
    /// What opening a connection may take: name, TCP and TLS.
    pub connect_timeout: Duration,
    /// How many connections are kept that no request is using.
    pub max_idle: usize,
    /// After how long without a request a connection is closed; it may take twice as long.
    pub idle_timeout: Duration,
}

/// A client of one server.
pub struct HttpClient {
    connector: Connector,
    path_prefix: String,
    headers: HeaderMap,
    pool: Arc<Pool>,
}

impl HttpClient {
    /// Checks URL and key, without connecting yet.
    pub fn new(options: &HttpOptions<'_>) -> Result<Self, SetupError> {
        let endpoint = Endpoint::parse(options.url)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, endpoint.authority.clone());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(options.user_agent),
        );
        if let Some(key) = options.api_key {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| SetupError::Key)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self {
            connector: Connector::new(&endpoint, options.connect_timeout)?,
            path_prefix: endpoint.path_prefix,
            headers,
            pool: Pool::new(options.max_idle, options.idle_timeout),
        })
    }

    /// Resolves the host's name now and for good; without it each connection looks it up anew.
    pub async fn resolve(&mut self) -> Result<(), SetupError> {
        self.connector.resolve().await
    }

    /// Sends a GET of `path`, which begins with a slash, and waits for the reply's head. If the future is dropped, the
    /// connection is closed.
    pub async fn get(&self, path: &'static str) -> Result<Reply, HttpError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Sends a POST of JSON to `path`, which begins with a slash, and waits for the reply's head. If the future is
    /// dropped, the connection is closed.
    pub async fn post(&self, path: &'static str, body: Bytes) -> Result<Reply, HttpError> {
        self.send(Method::POST, path, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &'static str,
        body: Bytes,
    ) -> Result<Reply, HttpError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.path_prefix)
            .parse()
            .expect("a parsed URL's path and a constant make a path: this is a bug");
        *request.headers_mut() = self.headers.clone();
        if let Some(mut connection) = self.pool.take().await {
            match connection.sender.try_send_request(request.clone()).await {
                Ok(response) => return Ok(self.reply(response, connection)),
                // The server closed the idle connection before it was asked, or as it was: like every client that keeps
                // connections, this one asks again on another.
                Err(mut error) => {
                    let unheard =
                        error.take_message().is_some() || error.error().is_incomplete_message();
                    if !unheard {
                        return Err(HttpError::Broken(describe(&error.into_error())));
                    }
                }
            }
        }
        let mut connection = self.connector.connect().await?;
        match connection.sender.send_request(request).await {
            Ok(response) => Ok(self.reply(response, connection)),
            Err(error) => Err(HttpError::Broken(describe(&error))),
        }
    }

    fn reply(&self, response: Response<Incoming>, connection: Connection) -> Reply {
        let (head, incoming) = response.into_parts();
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: ReplyBody::new(incoming, connection, Arc::clone(&self.pool)),
        }
    }
}
