//! The CPU device: a thread pool and the instruction set picked for this machine.
//!
//! Invariant: a [`Cpu`] holds an [`Isa`] only where the processor has its features and the kernels in it gave the scalar
//! kernels' bits in the self-test. Results never depend on the instruction set or the thread count.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_dot;
#[cfg(target_arch = "x86_64")]
mod avx512_dot;
mod disjoint;
mod dot;
mod memory;
mod pool;
mod scalar;
mod scalar_dot;
mod self_test;
mod simd;

use std::sync::{Arc, OnceLock};

pub(crate) use disjoint::DisjointMut;
pub(crate) use dot::{Int8Block, PANEL, e4m3};
pub(crate) use memory::Array;
use memory::Memory;
use pool::Pool;
pub(crate) use simd::{Kernel, RowTiles, Simd, for_row_tiles};

/// Instructions that the kernels use. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Portable code without explicit vector instructions.
    Scalar,
    /// AVX2 with FMA and F16C (x86-64).
    Avx2,
    /// The same, and AVX-512 F, BW, VL and VNNI for the matrix products (x86-64).
    Avx512Vnni,
}

impl Isa {
    /// All of them, fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512Vnni, Self::Avx2, Self::Scalar];

    /// Whether these instructions can be used here, or why not: a missing feature, or a failed self-test.
    ///
    /// # Errors
    /// The reason, as a clause.
    pub fn usable(self) -> Result<(), &'static str> {
        static CHECKED: OnceLock<[Result<(), &'static str>; 3]> = OnceLock::new();
        let checked = CHECKED.get_or_init(|| Self::ALL.map(self_test::run));
        let at = Self::ALL.iter().position(|&isa| isa == self);
        checked[at.expect("every Isa is in ALL: this is a bug")]
    }
}

/// Why a [`Cpu`] could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The number of threads is zero.
    #[error("threads: 0 is not a number of threads; give at least 1")]
    NoThreads,
    /// The requested instructions cannot be used here.
    #[error("instruction set {isa:?}: {reason}; use Isa::Scalar")]
    Unusable {
        /// What was asked for.
        isa: Isa,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// The system refused to start a thread.
    #[error(
        "threads: cannot start compute thread {index} of {num_threads}: {source}; ask for fewer threads"
    )]
    Spawn {
        /// Which worker failed to start, from 1.
        index: usize,
        /// How many threads were asked for.
        num_threads: usize,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A CPU compute device, cheap to clone: clones share one thread pool, whose threads end with the last clone.
#[derive(Clone)]
pub struct Cpu {
    pool: Arc<Pool>,
    memory: Arc<Memory>,
    isa: Isa,
}

impl Cpu {
    /// Starts `num_threads - 1` workers (the caller of an op is the last thread) with the fastest usable instructions.
    ///
    /// # Errors
    /// [`CpuError::NoThreads`] and [`CpuError::Spawn`].
    pub fn new(num_threads: usize) -> Result<Self, CpuError> {
        let usable = Isa::ALL.into_iter().find(|isa| isa.usable().is_ok());
        Self::with_isa(num_threads, usable.unwrap_or(Isa::Scalar))
    }

    /// As [`Cpu::new`], with the given instructions.
    ///
    /// # Errors
    /// [`CpuError::Unusable`] if this machine lacks them or they fail the self-test, and the errors of [`Cpu::new`].
    pub fn with_isa(num_threads: usize, isa: Isa) -> Result<Self, CpuError> {
        isa.usable()
            .map_err(|reason| CpuError::Unusable { isa, reason })?;
        Ok(Self {
            pool: Arc::new(Pool::new(num_threads)?),
            memory: Arc::default(),
            isa,
        })
    }

    /// The same threads, for arrays that share no memory with those of any other: all of it is given back once they are dropped.
    pub fn with_own_memory(&self) -> Self {
        Self {
            memory: Arc::default(),
            ..self.clone()
        }
    }

    /// The instructions in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads share a job, the caller's included.
    pub fn num_threads(&self) -> usize {
        self.pool.num_threads()
    }

    /// Calls `task(i)` once for every `i < num_tasks`, on all threads, and returns when all calls have.
    ///
    /// A job started while the pool is busy (from inside a task, or by another thread) runs on its caller alone.
    ///
    /// # Panics
    /// With the first panic of a task, after every task that was started has ended.
    pub fn run(&self, num_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.pool.run(num_tasks, task);
    }

    /// Splits `data` into chunks of `chunk_len` (the last may be shorter) and calls `f(chunk_idx, chunk)` for each, in
    /// parallel.
    pub(crate) fn for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        f: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let len = data.len();
        let data = DisjointMut::new(data);
        self.run(len.div_ceil(chunk_len), &|i| {
            let start = i * chunk_len;
            // SAFETY: each task index is run once, and chunks of different tasks do not overlap.
            f(i, unsafe { data.slice(start, chunk_len.min(len - start)) });
        });
    }

    /// How many rows of `row_len` elements one task should take, so that waking a thread pays and work is balanced.
    pub(crate) fn rows_per_task(&self, num_rows: usize, row_len: usize) -> usize {
        /// Below this many elements a task costs less than handing it to another thread.
        const MIN_ELEMENTS: usize = 8192;
        let balanced = num_rows.div_ceil(self.num_threads() * 4);
        balanced.max(MIN_ELEMENTS.div_ceil(row_len.max(1))).max(1)
    }

    /// Runs `kernel` with the instructions in use.
    pub(crate) fn dispatch<K: Kernel>(&self, kernel: K) -> K::Output {
        match self.isa {
            Isa::Scalar => kernel.run(scalar::Scalar),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the constructors set an `Isa` only after detecting its features.
            Isa::Avx2 => unsafe { avx2::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe { avx2::run_avx512(kernel) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512Vnni => {
                unreachable!("x86 instructions on another architecture: this is a bug")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_threads_is_an_error() {
        assert!(matches!(Cpu::new(0), Err(CpuError::NoThreads)));
    }

    #[test]
    fn chunks_cover_the_data_once_and_in_place() {
        let cpu = Cpu::new(3).unwrap();
        let mut data = vec![0usize; 1001];
        cpu.for_each_chunk(&mut data, 10, &|i, chunk| {
            chunk.iter_mut().for_each(|x| *x += i + 1)
        });
        for (i, x) in data.iter().enumerate() {
            assert_eq!(*x, i / 10 + 1);
        }
        cpu.for_each_chunk(&mut data[..0], 10, &|_, _| panic!("no chunk of nothing"));
    }
}
