//! Sends the load: a closed loop keeps `concurrency` requests in flight, an open loop follows an arrival process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::arrival::Poisson;
use super::exchange::exchange;
use super::failure::Failure;
use super::reply::Reply;
use crate::cli::system;
use crate::http::HttpClient;

/// How a request is sent.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) client: Arc<HttpClient>,
    pub(super) path: &'static str,
    /// From sending the request to the end of its reply.
    pub(super) timeout: Duration,
}

/// What became of one request.
pub(super) struct Outcome {
    /// When it should have been sent: its arrival, or in a closed loop the moment a place was free.
    pub(super) intended: Instant,
    /// When it was sent, before connecting if there was no open connection.
    pub(super) sent: Instant,
    /// When its reply ended or failed.
    pub(super) ended: Instant,
    pub(super) result: Result<Reply, Failure>,
}

/// A finished run.
pub(super) struct Run {
    pub(super) outcomes: Vec<Outcome>,
    /// From the start to the last reply's end.
    pub(super) duration: Duration,
    /// The most requests that were in flight at once.
    pub(super) max_in_flight: usize,
    /// What this process computed meanwhile, where the system says so.
    pub(super) cpu_time: Option<Duration>,
}

/// Sends one request for each of `bodies`, never more than `concurrency` at once: as `arrivals` say, or without them
/// each as soon as a place is free. A request that is due and finds no place waits in order of arrival.
pub(super) async fn drive(
    target: &Target,
    bodies: impl Iterator<Item = Bytes>,
    mut arrivals: Option<Poisson>,
    concurrency: u32,
) -> anyhow::Result<Run> {
    let concurrency = concurrency as usize;
    let places = Arc::new(Semaphore::new(concurrency));
    let mut tasks: JoinSet<Outcome> = JoinSet::new();
    let mut outcomes = Vec::new();
    let mut max_in_flight = 0;
    let (start, cpu_time) = (Instant::now(), system::cpu_time());
    for body in bodies {
        let due = arrivals
            .as_mut()
            .and_then(Iterator::next)
            .map(|offset| start + offset);
        if let Some(due) = due {
            sleep_until(due).await?;
        }
        let place = Arc::clone(&places).acquire_owned().await?;
        max_in_flight = max_in_flight.max(concurrency - places.available_permits());
        let intended = due.unwrap_or_else(Instant::now);
        let target = target.clone();
        tasks.spawn(async move {
            let sent = Instant::now();
            let exchange = exchange(&target.client, target.path, body);
            let result = tokio::time::timeout(target.timeout, exchange)
                .await
                .unwrap_or(Err(Failure::Timeout));
            let ended = result
                .as_ref()
                .map_or_else(|_| Instant::now(), |reply| reply.done);
            drop(place);
            Outcome {
                intended,
                sent,
                ended,
                result,
            }
        });
        while let Some(outcome) = tasks.try_join_next() {
            outcomes.push(outcome.context("a request's task died")?);
        }
    }
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.context("a request's task died")?);
    }
    let duration = outcomes
        .iter()
        .map(|outcome| outcome.ended - start)
        .max()
        .unwrap_or_default();
    Ok(Run {
        outcomes,
        duration,
        max_in_flight,
        cpu_time: (system::cpu_time().zip(cpu_time)).map(|(after, before)| after - before),
    })
}

/// Sleeps to within some 0.1 ms of `due`; the runtime's timer alone would wake up to 1 ms late.
async fn sleep_until(due: Instant) -> anyhow::Result<()> {
    const TIMER_GRAIN: Duration = Duration::from_millis(2);
    let left = due.saturating_duration_since(Instant::now());
    if left > TIMER_GRAIN {
        tokio::time::sleep(left - TIMER_GRAIN).await;
    }
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        tokio::task::spawn_blocking(move || std::thread::sleep(left)).await?;
    }
    Ok(())
}
