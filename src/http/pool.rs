//! The connections that no request is using.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connect::Connection;

/// Open connections, the most recently used one taken first. There are at most `max_idle`, and none is idle for more
/// than twice `idle_timeout`.
pub(super) struct Pool {
    max_idle: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The longest idle one first.
    idle: Vec<(Instant, Connection)>,
    /// Whether a task looks for those that have been idle for long.
    is_watched: bool,
}

impl Pool {
    pub fn new(max_idle: usize, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            max_idle,
            idle_timeout,
            state: Mutex::default(),
        })
    }

    /// A connection that is open as far as is known, for the caller alone. If the future is dropped, the connection that
    /// it was looking at is closed.
    pub async fn take(&self) -> Option<Connection> {
        loop {
            let (_, mut connection) = self.state().idle.pop()?;
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Makes `connection` available to the next request; where there are enough, the longest idle one is closed.
    pub fn keep(self: &Arc<Self>, connection: Connection) {
        let mut state = self.state();
        state.idle.push((Instant::now(), connection));
        if state.idle.len() > self.max_idle {
            state.idle.remove(0);
        }
        if !state.idle.is_empty() && !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self), self.idle_timeout));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has been idle for long, until nothing is left to look after.
async fn watch(pool: Weak<Pool>, idle_timeout: Duration) {
    loop {
        tokio::time::sleep(idle_timeout).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state();
        (state.idle).retain(|(since, _)| since.elapsed() < idle_timeout);
        state.is_watched = !state.idle.is_empty();
        if !state.is_watched {
            return;
        }
    }
}
