//! Opening connections, and what an open one is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto::ring};

use super::endpoint::Endpoint;
use super::error::{HttpError, SetupError, describe};

/// An open connection. Dropping it closes the socket, whatever is under way on it.
pub(super) struct Connection {
    pub sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens connections to one server.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Where the name was resolved once for all.
    addresses: Option<Vec<SocketAddr>>,
    timeout: Duration,
}

impl Connector {
    pub fn new(endpoint: &Endpoint, timeout: Duration) -> Result<Self, SetupError> {
        let host = endpoint.host.clone();
        let tls = match endpoint.is_tls {
            false => None,
            true => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| SetupError::HostName(host.clone()))?;
                Some((tls_connector()?, name))
            }
        };
        Ok(Self {
            host,
            port: endpoint.port,
            tls,
            addresses: None,
            timeout,
        })
    }

    /// Resolves the host's name for all connections to come.
    pub async fn resolve(&mut self) -> Result<(), SetupError> {
        let host = self.host.clone();
        let found = tokio::net::lookup_host((&*self.host, self.port)).await;
        let addresses: Vec<_> = match found {
            Ok(found) => found.collect(),
            Err(error) => {
                let source = Some(error);
                return Err(SetupError::NoAddress { host, source });
            }
        };
        if addresses.is_empty() {
            return Err(SetupError::NoAddress { host, source: None });
        }
        self.addresses = Some(addresses);
        Ok(())
    }

    /// Opens a connection, which takes in name, TCP and TLS.
    pub async fn connect(&self) -> Result<Connection, HttpError> {
        let failed = |error: io::Error| HttpError::Connect(describe(&error));
        let opening = async {
            let tcp = match &self.addresses {
                Some(addresses) => TcpStream::connect(&addresses[..]).await,
                None => TcpStream::connect((&*self.host, self.port)).await,
            };
            let tcp = tcp.map_err(failed)?;
            // Without it the kernel may hold a small request back until the last one is acknowledged.
            tcp.set_nodelay(true).map_err(failed)?;
            match &self.tls {
                None => open(tcp).await,
                Some((tls, name)) => {
                    open(tls.connect(name.clone(), tcp).await.map_err(failed)?).await
                }
            }
        };
        tokio::time::timeout(self.timeout, opening)
            .await
            .unwrap_or(Err(HttpError::ConnectTimeout(self.timeout)))
    }
}

async fn open<S>(stream: S) -> Result<Connection, HttpError>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let (sender, driver) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| HttpError::Connect(describe(&error)))?;
    let driver = tokio::spawn(async {
        // Its error reaches the request that is in flight, too.
        let _ = driver.await;
    });
    Ok(Connection { sender, driver })
}

fn tls_connector() -> Result<TlsConnector, SetupError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
