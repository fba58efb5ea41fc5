//! Listening, and stopping without losing anything.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout, timeout_at};

use super::accept::accept;
use super::models::EngineEnd;
use super::router::router;
use super::state::AppState;
use crate::engine::EngineHandle;
use crate::telemetry::log_line;

/// Why serving ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// As asked; everything that ran was finished or told.
    Stopped,
    /// The engine could not go on.
    EngineFailed(String),
}

/// Connections get at least this long to close after the last answer.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// How often histograms are folded, which bounds their memory between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves on `listener` until `shutdown` resolves or an engine ends; `engines_ended` has one for each model.
///
/// After `shutdown` the port stays open: new work is refused with 503 while what is open goes on, for at most
/// `shutdown_timeout`; what is then still open is told so.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    engines_ended: Vec<EngineEnd>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<Ended> {
    let engines: Vec<EngineHandle> = (state.models.iter())
        .map(|model| model.engine.clone())
        .collect();
    let elsewhere = state.models.open_elsewhere.clone();
    let num_open = || {
        let here: usize = engines.iter().map(EngineHandle::num_open).sum();
        here + elsewhere.num_open()
    };
    let drained = async {
        join_all(engines.iter().map(EngineHandle::drained)).await;
        elsewhere.drained().await;
    };
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
    let mut engine_ended = pin!(async {
        match select_all(engines_ended).await.0 {
            Ok(Err(error)) => Ended::EngineFailed(error.to_string()),
            Ok(Ok(())) => Ended::Stopped,
            Err(_) => Ended::EngineFailed("its thread panicked".into()),
        }
    });
    let mut closing_time = CLOSING_TIME;
    let ended = tokio::select! {
        result = &mut serving => {
            result.map_err(std::io::Error::other)?;
            Ended::Stopped
        }
        ended = &mut engine_ended => ended,
        () = shutdown => {
            let deadline = Instant::now() + shutdown_timeout;
            engines.iter().for_each(EngineHandle::drain);
            log_line(&format!("draining: {} requests are open", num_open()));
            let ended = tokio::select! {
                drained = timeout_at(deadline, drained) => {
                    if drained.is_err() {
                        let num_open = num_open();
                        log_line(&format!("{num_open} requests were still open after {shutdown_timeout:?}"));
                    }
                    Ended::Stopped
                }
                ended = &mut engine_ended => ended,
            };
            // What was generated may still be on its way to slow readers.
            closing_time = closing_time.max(deadline - Instant::now());
            ended
        }
    };
    // What is still open is told so, also of engines beside one that failed.
    engines.iter().for_each(EngineHandle::stop);
    elsewhere.stop();
    // Nobody listens any more when every connection is closed already.
    let _ = close.send(true);
    if !serving.is_finished() && timeout(closing_time, &mut serving).await.is_err() {
        serving.abort();
    }
    upkeep.abort();
    Ok(ended)
}
