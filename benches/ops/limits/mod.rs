//! What this machine can do at most, measured in the same run as the kernels: multiply-adds and reading memory.
//!
//! A kernel's share of its limit is the time that the limits would allow, over the time that it took: a multiply-add may
//! be as fast as the fastest instructions here, a byte as fast as from the smallest cache that holds all the bytes. A
//! virtual machine's limits move with its neighbours' load, so a share can exceed 100%.
#![allow(unsafe_code)] // Instructions that were detected a line above.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use flambeau::backend::cpu::Isa;
#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;

/// Sizes of all that is read together, smallest first; the last is larger than any cache.
const READ_MIB: [usize; 4] = [1, 8, 32, 256];

/// What a multiply-add works on.
#[derive(Clone, Copy)]
pub enum Numbers {
    /// 8-bit integers.
    Int8,
    /// 32-bit floats.
    Float,
}

/// The limits of some threads together.
pub struct Limits {
    /// Multiply-adds of floats a second.
    float: f64,
    /// The same of int8, by the instructions of the kernels.
    int8: f64,
    /// Bytes a second from sets of [`READ_MIB`], on huge pages where the system gives them.
    read: [f64; READ_MIB.len()],
    /// The same from the largest, on pages of 4 kB.
    read_small_pages: f64,
}

impl Limits {
    /// Measures for about two seconds.
    pub fn measure(num_threads: usize, isa: Isa) -> Self {
        Self {
            float: best(5, num_threads, |_| float_multiply_adds()),
            int8: best(5, num_threads, |_| int8_multiply_adds(isa)),
            read: READ_MIB.map(|mib| read_rate(mib << 20, num_threads, true)),
            read_small_pages: read_rate(READ_MIB[READ_MIB.len() - 1] << 20, num_threads, false),
        }
    }

    /// How much of its limit a kernel of this time and work reaches.
    pub fn share(&self, seconds: f64, numbers: Numbers, multiply_adds: f64, bytes: usize) -> f64 {
        let rate = match numbers {
            Numbers::Float => self.float,
            Numbers::Int8 => self.int8,
        };
        let level = READ_MIB.iter().position(|mib| bytes <= mib << 20);
        let read = self.read[level.unwrap_or(READ_MIB.len() - 1)];
        (multiply_adds / rate).max(bytes as f64 / read) / seconds
    }

    /// A line for each limit.
    pub fn print(&self) {
        println!(
            "limit: float multiply-adds        {:>8.1} GMAC/s",
            self.float / 1e9
        );
        println!(
            "limit: int8 multiply-adds         {:>8.1} GMAC/s",
            self.int8 / 1e9
        );
        for (mib, rate) in READ_MIB.iter().zip(self.read) {
            println!(
                "limit: reading {mib:>3} MiB            {:>8.1} GB/s",
                rate / 1e9
            );
        }
        println!(
            "limit: the same, 4 kB pages       {:>8.1} GB/s",
            self.read_small_pages / 1e9
        );
    }
}

/// The best of `rounds` rounds in which all threads do `work(thread)` at once; `work` returns how much it did. In units
/// of work a second.
fn best(rounds: usize, num_threads: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    let round = |_| {
        let barrier = Barrier::new(num_threads);
        let rates: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..num_threads)
                .map(|thread| {
                    let (barrier, work) = (&barrier, &work);
                    scope.spawn(move || {
                        barrier.wait();
                        let start = Instant::now();
                        work(thread) / start.elapsed().as_secs_f64()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("the work does not panic"))
                .collect()
        });
        rates.iter().sum::<f64>()
    };
    (0..rounds).map(round).fold(0.0, f64::max)
}

/// Bytes a second that the threads read of `len` bytes, each its own part, again and again.
fn read_rate(len: usize, num_threads: usize, huge_pages: bool) -> f64 {
    let mut map = MmapMut::map_anon(len).expect("memory for the bench");
    #[cfg(target_os = "linux")]
    {
        let advice = if huge_pages {
            Advice::HugePage
        } else {
            Advice::NoHugePage
        };
        // Only advice: without it the figure is that of the pages the system gives.
        let _ = map.advise(advice);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = huge_pages;
    map.fill(1);
    let parts: Vec<&[u8]> = map.chunks(len / num_threads).collect();
    let passes = ((512 << 20) / len).max(1);
    best(5, num_threads, |thread| {
        (0..passes).for_each(|_| {
            black_box(sum(black_box(parts[thread])));
        });
        (passes * parts[thread].len()) as f64
    })
}

fn sum(bytes: &[u8]) -> [u64; 32] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 has just been detected.
        return unsafe { x86::sum(bytes) };
    }
    sum_lanes(bytes)
}

/// Adds up 32 lanes of 8 bytes: enough independent sums that only the loads take time.
#[inline(always)]
fn sum_lanes(bytes: &[u8]) -> [u64; 32] {
    let mut sums = [0u64; 32];
    for chunk in bytes.as_chunks::<256>().0 {
        for (sum, lane) in sums.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*lane));
        }
    }
    sums
}

/// Rounds of the loops that only compute.
const ROUNDS: usize = 1 << 22;

/// Multiply-adds done by a loop that does nothing else.
fn float_multiply_adds() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: AVX-512F has just been detected.
            return unsafe { x86::float_avx512() };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: AVX2 and FMA have just been detected.
            return unsafe { x86::float_avx2() };
        }
    }
    let mut sums = [1.0f32; 32];
    let (a, b) = (black_box(1.0f32), black_box(1e-9f32));
    for _ in 0..ROUNDS {
        sums.iter_mut().for_each(|sum| *sum += a * b);
    }
    black_box(sums);
    (ROUNDS * 32) as f64
}

/// The same of int8 with the instructions `isa`, which this machine has.
fn int8_multiply_adds(isa: Isa) -> f64 {
    #[cfg(target_arch = "x86_64")]
    match isa {
        // SAFETY: the caller has asked whether they are usable.
        Isa::Avx512Vnni => return unsafe { x86::int8_avx512_vnni() },
        // SAFETY: as above.
        Isa::Avx2 => return unsafe { x86::int8_avx2() },
        Isa::Scalar => {}
    }
    let mut sums = [1i32; 32];
    let (a, b) = (black_box(3i8), black_box([5i8; 32]));
    for _ in 0..ROUNDS / 8 {
        for (sum, b) in sums.iter_mut().zip(black_box(&b)) {
            *sum = sum.wrapping_add(i32::from(a) * i32::from(*b));
        }
    }
    black_box(sums);
    (ROUNDS / 8 * 32) as f64
}

/// Loops over 12 independent sums: two instructions a cycle of up to five cycles each can all be in flight.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::ROUNDS;

    const SUMS: usize = 12;

    #[target_feature(enable = "avx2")]
    pub fn sum(bytes: &[u8]) -> [u64; 32] {
        super::sum_lanes(bytes)
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn float_avx2() -> f64 {
        let (a, b) = black_box((_mm256_set1_ps(1.0), _mm256_set1_ps(1e-9)));
        let mut sums = [_mm256_set1_ps(1.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(a, b, *sum);
            }
        }
        black_box(sums);
        (ROUNDS * SUMS * 8) as f64
    }

    #[target_feature(enable = "avx512f")]
    pub fn float_avx512() -> f64 {
        let (a, b) = black_box((_mm512_set1_ps(1.0), _mm512_set1_ps(1e-9)));
        let mut sums = [_mm512_set1_ps(1.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
        black_box(sums);
        (ROUNDS * SUMS * 16) as f64
    }

    /// The sum itself is a factor, or the product would be taken out of the loop.
    #[target_feature(enable = "avx2")]
    pub fn int8_avx2() -> f64 {
        let x = black_box(_mm256_set1_epi8(3));
        let mut sums = [black_box(_mm256_set1_epi8(1)); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*sum, x));
            }
        }
        black_box(sums);
        (ROUNDS * SUMS * 32) as f64
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn int8_avx512_vnni() -> f64 {
        let (w, x) = black_box((_mm512_set1_epi8(5), _mm512_set1_epi8(3)));
        let mut sums = [_mm512_set1_epi32(1); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, w, x);
            }
        }
        black_box(sums);
        (ROUNDS * SUMS * 64) as f64
    }
}
