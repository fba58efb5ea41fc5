//! The requests that other servers are answering: counted, so that they are waited for when this one stops, and told when it does.

use std::sync::Arc;

use tokio::sync::watch;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenElsewhere {
    num_open: Arc<watch::Sender<usize>>,
    stopped: Arc<watch::Sender<bool>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Open {
    num_open: Arc<watch::Sender<usize>>,
    stopped: watch::Receiver<bool>,
}

impl OpenElsewhere {
    /// Counts one more.
    pub fn open(&self) -> Open {
        self.num_open.send_modify(|num| *num += 1);
        Open {
            num_open: Arc::clone(&self.num_open),
            stopped: self.stopped.subscribe(),
        }
    }

    /// How many there are.
    pub fn num_open(&self) -> usize {
        *self.num_open.borrow()
    }

    /// Resolves when there is none.
    pub async fn drained(&self) {
        // Its sender is in `self`.
        let _ = self.num_open.subscribe().wait_for(|num| *num == 0).await;
    }

    /// Tells all that there are, and will be, that this server stops.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

impl Open {
    /// Resolves when this server stops before the request has ended. Safe to cancel.
    pub async fn stopped(&mut self) {
        if self.stopped.wait_for(|stopped| *stopped).await.is_err() {
            // Nobody is left who could stop it.
            std::future::pending().await
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.num_open.send_modify(|num| *num -= 1);
    }
}
