//! What writes down what is remembered, on a thread of its own, for disks are slow.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::unix_seconds;
use crate::store::{Record, Records, StoreError};
use crate::telemetry::log_line;

/// What may wait to be written. Beyond that questions are remembered in memory alone.
const MAX_WAITING: usize = 4096;
/// Jobs that are done at once.
const MAX_BATCH: usize = 256;
/// Between two looks for what has expired.
const TIDY_EVERY: Duration = Duration::from_secs(600);

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

/// Does the jobs in their order, as many at once as wait, and now and then removes what has expired.
fn write(mut records: Box<dyn Records>, inbox: &Receiver<Job>) {
    let says_that_it_failed = Once::new();
    let mut tidied = Instant::now();
    loop {
        let mut written = match inbox.recv_timeout(TIDY_EVERY) {
            Ok(first) => do_jobs(records.as_mut(), first, inbox),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if written.is_ok() && tidied.elapsed() >= TIDY_EVERY {
            tidied = Instant::now();
            written = records.remove_expired(unix_seconds()).map(|_| ());
        }
        if let Err(error) = written {
            says_that_it_failed.call_once(|| {
                log_line(&format!(
                    "cache.semantic: what is remembered cannot be written: {error}"
                ));
            });
        }
    }
}

/// Does `first` and what waits behind it: what is put and removed together with one write each, of an id the last that was said.
fn do_jobs(records: &mut dyn Records, first: Job, inbox: &Receiver<Job>) -> Result<(), StoreError> {
    let (mut puts, mut gone): (Vec<Record>, HashSet<[u8; 16]>) = Default::default();
    let mut clear = None;
    for job in std::iter::once(first).chain(inbox.try_iter().take(MAX_BATCH)) {
        match job {
            Job::Put(record) => {
                gone.remove(&record.id);
                puts.push(record);
            }
            Job::Remove(ids) => {
                puts.retain(|record| !ids.contains(&record.id));
                gone.extend(ids);
            }
            Job::Clear(done) => {
                clear = Some(done);
                break;
            }
        }
    }
    if let Some(done) = clear {
        // Of what was put before nothing is left. Who asked may be gone.
        let _ = done.send(records.clear());
        return Ok(());
    }
    if !puts.is_empty() {
        records.put(&puts)?;
    }
    match gone.is_empty() {
        true => Ok(()),
        false => records.remove(&gone.into_iter().collect::<Vec<_>>()),
    }
}
