//! Listening, and stopping without losing anything.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::{interval, timeout};

use super::accept::accept;
use super::router::router;
use super::state::AppState;
use crate::engine::ExecutorError;
use crate::telemetry::log_line;

/// Why serving ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// As asked; everything that ran was finished or told.
    Stopped,
    /// The engine could not go on.
    EngineFailed(String),
}

/// Connections get this long to close after the last answer.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// How often histograms are folded, which bounds their memory between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves on `listener` until `shutdown` resolves or the engine ends.
///
/// After `shutdown` the port stays open: new work is refused with 503 while what is open goes on, for at most
/// `shutdown_timeout`; what is then still open is told so.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    engine_ended: oneshot::Receiver<Result<(), ExecutorError>>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<Ended> {
    let engine = state.model.engine.clone();
    let shutdown_timeout = state.options.shutdown_timeout;
    let prometheus = state.prometheus.clone();
    let upkeep = tokio::spawn(async move {
        let mut ticks = interval(UPKEEP);
        loop {
            ticks.tick().await;
            prometheus.run_upkeep();
        }
    });
    let (close, closing) = watch::channel(false);
    let mut serving = tokio::spawn(accept(listener, router(state), closing));
    let ended = tokio::select! {
        result = &mut serving => {
            result.map_err(std::io::Error::other)?;
            Ended::Stopped
        }
        ended = engine_ended => match ended {
            Ok(Err(error)) => Ended::EngineFailed(error.to_string()),
            Ok(Ok(())) => Ended::Stopped,
            Err(_) => Ended::EngineFailed("its thread panicked".into()),
        },
        () = shutdown => {
            engine.drain();
            log_line(&format!("draining: {} requests are open", engine.num_open()));
            if timeout(shutdown_timeout, engine.drained()).await.is_err() {
                log_line(&format!("{} requests were still open after {shutdown_timeout:?}", engine.num_open()));
            }
            engine.stop();
            Ended::Stopped
        }
    };
    // Nobody listens any more when every connection is closed already.
    let _ = close.send(true);
    if !serving.is_finished() && timeout(CLOSING_TIME, &mut serving).await.is_err() {
        serving.abort();
    }
    upkeep.abort();
    Ok(ended)
}
