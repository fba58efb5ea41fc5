//! The HTTP/1.1 client: one server, keep-alive connections, no redirects and no proxies.
//!
//! A connection is opened when a request finds no idle one, inside that request's measured time, as a real client
//! would; the most recently used idle connection is taken first. Names are resolved once, before anything is measured.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto::ring};

use super::failure::{Failure, describe, excerpt};
use super::reply::error_message;

/// The most bytes read of a body that is no stream.
const MAX_BODY_BYTES: usize = 4 << 20;

/// An open connection that no request is using.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// A client of one server.
pub(super) struct Client {
    addresses: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    path_prefix: String,
    headers: HeaderMap,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// Resolves `url` (`http` or `https`, with or without the trailing `/v1`), without connecting yet.
    pub(super) async fn new(url: &str, api_key: Option<&str>) -> anyhow::Result<Self> {
        let uri: Uri = url
            .parse()
            .with_context(|| format!("--url: `{url}` is no URL"))?;
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            bail!("--url: `{url}` names no host; it should look like http://127.0.0.1:8080");
        };
        ensure!(
            !authority.as_str().contains('@'),
            "--url: give the key with --api-key, not in the URL"
        );
        ensure!(
            uri.query().is_none(),
            "--url: `{url}` has a query; give the server's root alone"
        );
        // An IPv6 address stands in brackets in a URL, and without them everywhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (
                Some((tls_connector()?, ServerName::try_from(host.to_owned())?)),
                443,
            ),
            other => bail!(
                "--url: the scheme of `{url}` is {}, not http or https",
                other.unwrap_or("missing")
            ),
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let addresses: Vec<_> = tokio::net::lookup_host((host, port))
            .await
            .with_context(|| format!("--url: no address for the host `{host}`"))?
            .collect();
        ensure!(
            !addresses.is_empty(),
            "--url: no address for the host `{host}`"
        );
        let path = uri.path().trim_end_matches('/');
        let path_prefix = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        let idle = Mutex::default();
        Ok(Self {
            addresses,
            tls,
            path_prefix,
            headers: headers(authority.as_str(), api_key)?,
            idle,
        })
    }

    /// Sends one request and waits for the reply's head. When the body is read to its end, give the connection back
    /// with [`keep`](Self::keep).
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.path_prefix)
            .parse()
            .expect("a parsed URL's path and a constant make a path: this is a bug");
        *request.headers_mut() = self.headers.clone();
        loop {
            let idle = self.take_idle().await;
            let was_idle = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            match connection.try_send_request(request.clone()).await {
                Ok(response) => return Ok((response, connection)),
                // The server closed the idle connection before it was asked, or as it was: like every client that keeps
                // connections, this one asks again on another.
                Err(mut error) => {
                    let unheard =
                        error.take_message().is_some() || error.error().is_incomplete_message();
                    if !(was_idle && unheard) {
                        return Err(Failure::Connection(describe(&error.into_error())));
                    }
                }
            }
        }
    }

    /// Makes `connection` available to the next request.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }

    /// The id of the first model that `/v1/models` lists.
    pub(super) async fn first_model(&self, timeout: Duration) -> anyhow::Result<String> {
        let listing = async {
            let (response, connection) = self.send(Method::GET, "/v1/models", Bytes::new()).await?;
            let status = response.status().as_u16();
            let text = read_text(response.into_body()).await?;
            if status != 200 {
                return Err(Failure::Status {
                    status,
                    message: body_message(&text),
                });
            }
            self.keep(connection);
            Ok(text)
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

    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let failed = |error: std::io::Error| Failure::Connect(describe(&error));
        let tcp = TcpStream::connect(&self.addresses[..])
            .await
            .map_err(failed)?;
        // Without it the kernel may hold a small request back until the last one is acknowledged.
        tcp.set_nodelay(true).map_err(failed)?;
        match &self.tls {
            None => open(tcp).await,
            Some((tls, name)) => open(tls.connect(name.clone(), tcp).await.map_err(failed)?).await,
        }
    }
}

async fn open<S>(stream: S) -> Result<Connection, Failure>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let (sender, driver) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::Connect(describe(&error)))?;
    // The driver's error reaches the request that is in flight, too.
    tokio::spawn(driver);
    Ok(sender)
}

fn tls_connector() -> anyhow::Result<TlsConnector> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn headers(authority: &str, api_key: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(authority)?);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let agent = concat!("flambeau-bench/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if let Some(key) = api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
            .context("--api-key: the key has characters that no HTTP header may have")?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

/// The whole of a small body as text.
pub(super) async fn read_text(body: Incoming) -> Result<String, Failure> {
    let bytes = Limited::new(body, MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| Failure::Connection(describe(error.as_ref())))?
        .to_bytes();
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
    use std::io::{Read as _, Write as _};

    use super::*;

    #[tokio::test]
    async fn a_url_may_end_in_v1_and_have_a_path() {
        for (url, prefix, port) in [
            ("http://127.0.0.1:8080", "", 8080),
            ("http://127.0.0.1", "", 80),
            ("http://127.0.0.1:8080/v1/", "", 8080),
            ("http://[::1]:9/team/v1", "/team", 9),
            ("https://127.0.0.1/team/", "/team", 443),
        ] {
            let client = Client::new(url, None).await.unwrap();
            assert_eq!(
                (&*client.path_prefix, client.addresses[0].port()),
                (prefix, port),
                "{url}"
            );
        }
    }

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
            let error = Client::new(url, key).await.err().unwrap();
            assert!(format!("{error:#}").contains(says), "{url}: {error:#}");
            assert!(format!("{error:#}").contains("--"), "{url}: {error:#}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_replaced() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let reply = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        let client = Client::new(&url, None).await.unwrap();
        for _ in 0..2 {
            let (response, connection) = client.send(Method::GET, "/", Bytes::new()).await.unwrap();
            assert_eq!(read_text(response.into_body()).await.unwrap(), "ok");
            client.keep(connection);
        }
        server.join().unwrap();
    }

    #[tokio::test]
    async fn a_kept_connection_that_closes_without_a_word_is_replaced_and_a_fresh_one_is_a_failure()
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let read_head = |stream: &mut std::net::TcpStream| {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
            };
            // How many requests each connection answers before it closes on the next one.
            for answered in [1, 1, 0] {
                let (mut stream, _) = listener.accept().unwrap();
                for _ in 0..answered {
                    read_head(&mut stream);
                    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    stream.write_all(reply.as_bytes()).unwrap();
                }
                read_head(&mut stream);
            }
        });
        let client = Client::new(&url, None).await.unwrap();
        for _ in 0..2 {
            let (response, connection) = client.send(Method::GET, "/", Bytes::new()).await.unwrap();
            assert_eq!(read_text(response.into_body()).await.unwrap(), "ok");
            client.keep(connection);
        }
        let failure = client
            .send(Method::GET, "/", Bytes::new())
            .await
            .err()
            .unwrap();
        assert_eq!(failure.kind(), "connection");
        server.join().unwrap();
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
