//! What writes down what is remembered, on a thread of its own, for disks are slow.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::unix_seconds;
use crate::store::{Record, Records, StoreError};
use crate::telemetry::log_line;

/// Bytes that may wait to be written. Beyond that answers are remembered in memory alone.
const MAX_WAITING: usize = 16 << 20;
/// Jobs that are done at once.
const MAX_BATCH: usize = 256;
/// Between two looks for what has expired.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// Writes until it is dropped, which waits for what was to be written before.
pub(super) struct Writer {
    jobs: Option<Sender<Job>>,
    /// Bytes of records that wait.
    num_waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
    says_that_it_is_behind: Once,
}

enum Job {
    Put(Record),
    Remove(Vec<[u8; 16]>),
    Clear(oneshot::Sender<Result<(), StoreError>>),
    Purge(Vec<[u8; 16]>, oneshot::Sender<Result<(), StoreError>>),
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has none left.
    pub fn spawn(records: Box<dyn Records>) -> std::io::Result<Self> {
        let (jobs, inbox) = channel();
        let num_waiting = Arc::new(AtomicUsize::new(0));
        let waits = Arc::clone(&num_waiting);
        let thread = std::thread::Builder::new()
            .name("answer-store".into())
            .spawn(move || write(records, &inbox, &waits))?;
        Ok(Self {
            jobs: Some(jobs),
            num_waiting,
            thread: Mutex::new(Some(thread)),
            says_that_it_is_behind: Once::new(),
        })
    }

    /// Writes a record down, some time, unless too much waits: then none that it was to take the place of is left either.
    pub fn put(&self, record: Record) {
        let len = record.value.len();
        if self.num_waiting.load(Ordering::Relaxed) + len > MAX_WAITING {
            let says = "cache.semantic: the store is slower than answers come: some will not survive a restart";
            self.says_that_it_is_behind.call_once(|| log_line(says));
            return self.remove(vec![record.id]);
        }
        self.num_waiting.fetch_add(len, Ordering::Relaxed);
        self.send(Job::Put(record));
    }

    /// Removes records, some time.
    pub fn remove(&self, ids: Vec<[u8; 16]>) {
        if !ids.is_empty() {
            self.send(Job::Remove(ids));
        }
    }

    fn send(&self, job: Job) {
        // Its thread is there as long as this is, unless it panicked, which was logged.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }

    /// Removes all that was put before. Resolves once no file has it any more.
    pub fn clear(&self) -> impl Future<Output = Result<(), String>> + use<> {
        let (done, cleared) = oneshot::channel();
        self.send(Job::Clear(done));
        told(cleared)
    }

    /// Removes records, and those that could not be removed before. Resolves once no file has them any more.
    pub fn purge(&self, ids: Vec<[u8; 16]>) -> impl Future<Output = Result<(), String>> + use<> {
        let (done, purged) = oneshot::channel();
        self.send(Job::Purge(ids, done));
        told(purged)
    }
}

async fn told(done: oneshot::Receiver<Result<(), StoreError>>) -> Result<(), String> {
    let done = done.await;
    let done = done.map_err(|_| "the store's thread is gone".to_owned())?;
    done.map_err(|error| error.to_string())
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
fn write(mut records: Box<dyn Records>, inbox: &Receiver<Job>, num_waiting: &AtomicUsize) {
    let says_that_it_failed = Once::new();
    let (mut tidied, mut gone) = (Instant::now(), HashSet::new());
    loop {
        let mut written = match inbox.recv_timeout(TIDY_EVERY) {
            Ok(first) => do_jobs(records.as_mut(), first, inbox, num_waiting, &mut gone),
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

/// Does `first` and what waits behind it: what is put and removed together with one write each, of an id the last that was said. `gone` are
/// the ids of what is to be removed, and could not be so far.
fn do_jobs(
    records: &mut dyn Records,
    first: Job,
    inbox: &Receiver<Job>,
    num_waiting: &AtomicUsize,
    gone: &mut HashSet<[u8; 16]>,
) -> Result<(), StoreError> {
    let mut puts: Vec<Record> = Vec::new();
    let mut asked = None;
    for job in std::iter::once(first).chain(inbox.try_iter().take(MAX_BATCH)) {
        match job {
            Job::Put(record) => {
                num_waiting.fetch_sub(record.value.len(), Ordering::Relaxed);
                gone.remove(&record.id);
                puts.push(record);
            }
            Job::Remove(ids) => {
                puts.retain(|record| !ids.contains(&record.id));
                gone.extend(ids);
            }
            Job::Purge(ids, done) => {
                puts.retain(|record| !ids.contains(&record.id));
                gone.extend(ids);
                asked = Some(done);
                break;
            }
            Job::Clear(done) => {
                // Of what was put before nothing is left. Who asked may be gone.
                let cleared = records.clear();
                if cleared.is_ok() {
                    gone.clear();
                }
                let _ = done.send(cleared);
                return Ok(());
            }
        }
    }
    let put = match puts.is_empty() {
        true => Ok(()),
        false => records.put(&puts),
    };
    if put.is_err() {
        // Of what could not be written nothing older is to be left.
        gone.extend(puts.iter().map(|record| record.id));
    }
    let expired = match asked {
        Some(_) => records.remove_expired(unix_seconds()).map(|_| ()),
        None => Ok(()),
    };
    // What is to go goes also where nothing can be put.
    let removed = match gone.is_empty() {
        true => Ok(()),
        false => records.remove(&gone.iter().copied().collect::<Vec<_>>()),
    };
    if removed.is_ok() {
        gone.clear();
    }
    match asked {
        Some(asked) => {
            let _ = asked.send(removed.and(expired));
            put
        }
        None => removed.and(put),
    }
}
