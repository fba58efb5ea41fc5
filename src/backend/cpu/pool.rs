//! The thread pool: one job at a time, its tasks claimed by an atomic counter.
//!
//! Invariants. A task is claimed by lowering `unclaimed`, which can succeed only while its job is alive, for the job's
//! owner waits until `unfinished` is zero; so the job is read only after a claim. A worker counts itself among the
//! sleepers before it looks for work a last time, and the owner publishes work before it looks for sleepers (both
//! sequentially consistent), so one of them sees the other and no wake-up is lost. Workers spin for [`SPIN`] after a job
//! and then sleep: nothing spins between the steps of an engine.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::CpuError;

/// How long an idle worker looks for the next job before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

type Task<'a> = dyn Fn(usize) + Sync + 'a;

#[derive(Clone, Copy)]
struct Job {
    task: *const Task<'static>,
    num_tasks: usize,
}

struct Shared {
    /// Whether a job is running; who sets it owns `job` while nothing is claimed.
    busy: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    unclaimed: AtomicUsize,
    unfinished: AtomicUsize,
    num_sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    shutdown: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written only by the owner of `busy` while no task is unfinished, and read only between a claim and
// the matching decrement of `unfinished`; the pointer in it is to a `Sync` closure that outlives the job.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used only while its closure is borrowed by `Pool::run`.
unsafe impl Send for Shared {}

/// The worker threads and what they share with the caller.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn new(num_threads: usize) -> Result<Self, CpuError> {
        let num_workers = num_threads.checked_sub(1).ok_or(CpuError::NoThreads)?;
        let shared = Arc::new(Shared {
            busy: AtomicBool::new(false),
            job: UnsafeCell::new(None),
            unclaimed: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
            num_sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            shutdown: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        // Built up in place, so that a failed start joins the workers that did start.
        let mut pool = Self {
            shared,
            workers: Vec::new(),
        };
        for index in 1..=num_workers {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new()
                .name(format!("compute-{index}"))
                .spawn(move || shared.work())
                .map_err(|source| CpuError::Spawn {
                    index,
                    num_threads,
                    source,
                })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    pub(super) fn num_threads(&self) -> usize {
        self.workers.len() + 1
    }

    pub(super) fn run(&self, num_tasks: usize, task: &Task<'_>) {
        let shared = &*self.shared;
        if num_tasks <= 1 || self.workers.is_empty() || shared.busy.swap(true, Ordering::Acquire) {
            return (0..num_tasks).for_each(task);
        }
        // SAFETY: only the lifetime changes, and this function returns after the last use of the pointer.
        let task = unsafe { mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        // SAFETY: this thread owns `busy` and the job before is finished, so nobody reads `job`.
        unsafe { *shared.job.get() = Some(Job { task, num_tasks }) };
        shared.unfinished.store(num_tasks, Ordering::Relaxed);
        shared.unclaimed.store(num_tasks, Ordering::SeqCst);
        let num_wanted = shared
            .num_sleepers
            .load(Ordering::SeqCst)
            .min(num_tasks - 1);
        if num_wanted > 0 {
            let _awake = shared.lock_sleep();
            (0..num_wanted).for_each(|_| shared.wake.notify_one());
        }
        while shared.run_one_task() {}
        shared.wait_for_others();
        let panic = shared
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        shared.busy.store(false, Ordering::Release);
        if let Some(payload) = panic {
            panic::resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        {
            let _awake = self.shared.lock_sleep();
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock_sleep(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims and runs one task; false if none is left.
    fn run_one_task(&self) -> bool {
        let claim = |left: usize| left.checked_sub(1);
        let Ok(left) = self
            .unclaimed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, claim)
        else {
            return false;
        };
        // SAFETY: a claimed and unfinished task keeps its job alive and unchanged.
        let job = unsafe { *self.job.get() }.expect("a claimed task has a job: this is a bug");
        // SAFETY: `Pool::run` borrows the closure until every task is finished, this one included.
        let task = unsafe { &*job.task };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| task(job.num_tasks - left)));
        if let Err(payload) = outcome {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                *first = Some(payload);
            } else {
                // Dropping it may panic, and then this task would never count as finished.
                mem::forget(payload);
            }
        }
        self.unfinished.fetch_sub(1, Ordering::Release);
        true
    }

    fn wait_for_others(&self) {
        let mut num_spins = 0u32;
        while self.unfinished.load(Ordering::Acquire) > 0 {
            // A worker that lost its core needs ours more than this loop does.
            if num_spins < 4096 {
                num_spins += 1;
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }

    /// A worker's life.
    fn work(&self) {
        loop {
            while self.run_one_task() {}
            if self.spin_for_work() {
                continue;
            }
            let mut guard = self.lock_sleep();
            self.num_sleepers.fetch_add(1, Ordering::SeqCst);
            while self.unclaimed.load(Ordering::SeqCst) == 0
                && !self.shutdown.load(Ordering::SeqCst)
            {
                guard = self
                    .wake
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            self.num_sleepers.fetch_sub(1, Ordering::SeqCst);
            if self.shutdown.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Whether work turned up within [`SPIN`].
    fn spin_for_work(&self) -> bool {
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..32 {
                if self.unclaimed.load(Ordering::Relaxed) > 0 {
                    return true;
                }
                hint::spin_loop();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool, num_tasks: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..num_tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(num_tasks, &|i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_of_many_small_jobs_runs_exactly_once() {
        for num_threads in 1..=4 {
            let pool = Pool::new(num_threads).unwrap();
            for job in 0..20_000 {
                let num_tasks = job % 9;
                assert_eq!(
                    counts(&pool, num_tasks),
                    vec![1; num_tasks],
                    "job {job} on {num_threads} threads"
                );
            }
        }
    }

    #[test]
    fn a_worker_that_fell_asleep_wakes_for_the_next_job() {
        let pool = Pool::new(3).unwrap();
        for _ in 0..200 {
            while pool.shared.num_sleepers.load(Ordering::SeqCst) < 2 {
                thread::yield_now();
            }
            // The three tasks can end only when three threads run them at the same time.
            let all_here = std::sync::Barrier::new(3);
            pool.run(3, &|_| {
                all_here.wait();
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_other_tasks_ran() {
        for num_threads in 2..=4 {
            let pool = Pool::new(num_threads).unwrap();
            for bad in 0..50 {
                let num_run = AtomicUsize::new(0);
                let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                    pool.run(50, &|i| {
                        // resume_unwind panics without the hook's message.
                        if i == bad {
                            panic::resume_unwind(Box::new(i));
                        }
                        num_run.fetch_add(1, Ordering::Relaxed);
                    });
                }));
                assert_eq!(outcome.unwrap_err().downcast_ref::<usize>(), Some(&bad));
                assert_eq!(num_run.into_inner(), 49);
                assert_eq!(counts(&pool, 7), vec![1; 7], "the pool works after a panic");
            }
        }
    }

    /// A panic payload that panics once more when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic::resume_unwind(Box::new("a payload was dropped"));
        }
    }

    #[test]
    fn payloads_that_panic_when_dropped_harm_neither_the_job_nor_the_pool() {
        let pool = Pool::new(3).unwrap();
        let num_run = AtomicUsize::new(0);
        for _ in 0..50 {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                pool.run(20, &|_| {
                    num_run.fetch_add(1, Ordering::Relaxed);
                    panic::resume_unwind(Box::new(Bomb));
                });
            }));
            mem::forget(outcome.unwrap_err().downcast::<Bomb>().unwrap());
            assert_eq!(counts(&pool, 7), vec![1; 7], "the pool works afterwards");
        }
        assert_eq!(num_run.into_inner(), 50 * 20);
    }

    #[test]
    fn a_nested_job_runs_on_its_caller() {
        let pool = Pool::new(4).unwrap();
        for _ in 0..500 {
            let num_run = AtomicUsize::new(0);
            pool.run(8, &|_| {
                let outer = thread::current().id();
                pool.run(5, &|_| {
                    assert_eq!(thread::current().id(), outer);
                    num_run.fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_eq!(num_run.into_inner(), 40);
        }
    }

    #[test]
    fn jobs_of_several_callers_all_complete() {
        let pool = Pool::new(2).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for job in 0..2000 {
                        assert_eq!(counts(&pool, job % 6), vec![1; job % 6]);
                    }
                });
            }
        });
    }

    #[test]
    fn dropping_the_pool_ends_its_threads() {
        for _ in 0..100 {
            let pool = Pool::new(4).unwrap();
            let shared = Arc::downgrade(&pool.shared);
            pool.run(4, &|_| ());
            drop(pool);
            assert!(shared.upgrade().is_none(), "a thread still holds the pool");
        }
    }
}
