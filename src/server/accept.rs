//! Connections: accepting them, bounding what an idle or hostile one may hold, closing them gracefully.

use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::telemetry::log_line;

/// A request's head must be complete this long after the connection could have begun it; so long may a connection idle.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// Serves every connection until `closing` is true; then takes no more and lets those that are busy finish.
pub(super) async fn accept(
    mut listener: TcpListener,
    router: Router,
    closing: watch::Receiver<bool>,
) {
    let mut until = closing.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = Listener::accept(&mut listener) => {
                connections.spawn(serve_connection(stream, router.clone(), closing.clone()));
            }
            // A connection that ended, or whose handler panicked: nothing else depends on it.
            Some(_) = connections.join_next() => {}
            _ = until.wait_for(|&closing| closing) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(stream: TcpStream, router: Router, mut closing: watch::Receiver<bool>) {
    // Without it the kernel holds a token back until the one before is acknowledged.
    if let Err(error) = stream.set_nodelay(true) {
        log_line(&format!("TCP_NODELAY could not be set: {error}"));
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // Errors are the peer's: a reset, a time-out, bytes that are no HTTP.
    let closed = tokio::select! {
        _ = connection.as_mut() => true,
        _ = closing.wait_for(|&closing| closing) => false,
    };
    if !closed {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
