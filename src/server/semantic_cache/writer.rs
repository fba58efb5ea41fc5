//! What writes down what is remembered, on a thread of its own, for disks are slow.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::store::{Record, Records, StoreError};
use crate::telemetry::log_line;

/// What may wait to be written. Beyond that questions are remembered in memory alone.
const MAX_WAITING: usize = 4096;
/// Records that are written at once.
const MAX_BATCH: usize = 256;

/// Writes until it is dropped, which waits for what was to be written before.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    says_that_it_is_behind: Once,
}

enum Job {
    Put(Record),
    Remove(Vec<[u8; 16]>),
    Clear(oneshot::Sender<Result<(), StoreError>>),
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has none left.
    pub fn spawn(records: Box<dyn Records>) -> std::io::Result<Self> {
        let (jobs, inbox) = sync_channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("answer-store".into())
            .spawn(move || write(records, &inbox))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Mutex::new(Some(thread)),
            says_that_it_is_behind: Once::new(),
        })
    }

    /// Writes a record down, some time.
    pub fn put(&self, record: Record) {
        self.send(Job::Put(record));
    }

    /// Removes records, some time.
    pub fn remove(&self, ids: Vec<[u8; 16]>) {
        if !ids.is_empty() {
            self.send(Job::Remove(ids));
        }
    }

    fn send(&self, job: Job) {
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        if let Some(Err(TrySendError::Full(_))) = sent {
            let says = "cache.semantic: the store is slower than answers come: some will not survive a restart";
            self.says_that_it_is_behind.call_once(|| log_line(says));
        }
    }

    /// Removes all that was put before, and waits until no file has it any more.
    pub async fn clear(&self) -> Result<(), String> {
        let gone = || "the store's thread is gone".to_owned();
        let jobs = self.jobs.clone().ok_or_else(gone)?;
        let (done, cleared) = oneshot::channel();
        // It waits where there is much to write.
        let sent = tokio::task::spawn_blocking(move || jobs.send(Job::Clear(done)).is_ok());
        match sent.await {
            Ok(true) => {}
            _ => return Err(gone()),
        }
        let cleared = cleared.await.map_err(|_| gone())?;
        cleared.map_err(|error| error.to_string())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic has been logged.
            let _ = thread.join();
        }
    }
}

/// Does the jobs in their order, puts that follow each other together.
fn write(mut records: Box<dyn Records>, inbox: &Receiver<Job>) {
    let says_that_it_failed = Once::new();
    let failed = |error: StoreError| {
        says_that_it_failed.call_once(|| {
            log_line(&format!(
                "cache.semantic: what is remembered cannot be written: {error}"
            ));
        });
    };
    let mut next = inbox.recv().ok();
    while let Some(job) = next.take() {
        let written = match job {
            Job::Put(first) => {
                let mut batch = vec![first];
                while batch.len() < MAX_BATCH
                    && let Ok(job) = inbox.try_recv()
                {
                    match job {
                        Job::Put(record) => batch.push(record),
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                records.put(&batch)
            }
            Job::Remove(ids) => records.remove(&ids),
            Job::Clear(done) => {
                // Who asked may be gone.
                let _ = done.send(records.clear());
                Ok(())
            }
        };
        if let Err(error) = written {
            failed(error);
        }
        if next.is_none() {
            next = inbox.recv().ok();
        }
    }
}
