//! Memory for weights: on huge pages where the system gives them, many matrices side by side.
//!
//! A matrix of a small model is smaller than a huge page, so matrices are cut from chunks. A chunk is unmapped when the last
//! of its parts is dropped.
//!
//! Invariants: parts of a chunk never overlap, for each begins where the one before ended; every element of an
//! [`Array`] is initialised before it can be seen.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

use super::Cpu;

/// Bytes of a chunk: many huge pages (2 MiB on x86-64).
const CHUNK: usize = 64 << 20;
/// Where parts begin: a cache line.
const ALIGNMENT: usize = 64;

/// The chunk that parts are being cut from.
#[derive(Default)]
pub(super) struct Memory(Mutex<Option<Chunk>>);

struct Chunk {
    map: Arc<Map>,
    used: usize,
}

/// A mapping that is reached only through the parts cut from it.
struct Map {
    start: *mut u8,
    len: usize,
    _owner: MmapMut,
}

// SAFETY: the pointer is into the mapping owned beside it, and only used to cut parts, which never overlap.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    fn new(len: usize) -> io::Result<Self> {
        let mut owner = MmapMut::map_anon(len)?;
        // Only advice: without huge pages the kernels are a little slower.
        #[cfg(target_os = "linux")]
        let _ = owner.advise(memmap2::Advice::HugePage);
        Ok(Self {
            start: owner.as_mut_ptr(),
            len,
            _owner: owner,
        })
    }
}

impl Memory {
    /// Cuts `len` bytes: the mapping, and where the part begins in it.
    fn cut(&self, len: usize) -> io::Result<(Arc<Map>, usize)> {
        if len > CHUNK / 4 {
            return Ok((Arc::new(Map::new(len)?), 0));
        }
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |chunk: &Chunk| len <= chunk.map.len - chunk.used;
        let mut chunk = match current.take().filter(fits) {
            Some(chunk) => chunk,
            None => Chunk {
                map: Arc::new(Map::new(CHUNK)?),
                used: 0,
            },
        };
        let part = (Arc::clone(&chunk.map), chunk.used);
        // The length of a mapping is a multiple of the alignment, so this never passes its end.
        chunk.used += len.next_multiple_of(ALIGNMENT);
        *current = Some(chunk);
        Ok(part)
    }
}

/// A slice of plain values in [`Memory`].
pub(crate) struct Array<T> {
    start: *const T,
    len: usize,
    /// Keeps the memory.
    _map: Arc<Map>,
}

// SAFETY: an array owns its elements as a `Box<[T]>` would.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the constructor initialised `len` elements from `start` on, in memory that `_map` keeps; it let go of its
        // mutable slice, and nobody makes another.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Cpu {
    /// `len` elements made of `value`, then changed chunk by chunk by `fill(chunk_idx, chunk)`, all in parallel.
    ///
    /// # Errors
    /// If the address space or the process's limit on it is used up. That memory itself is short shows only later.
    pub(crate) fn array<T: Copy + Send + Sync>(
        &self,
        value: T,
        len: usize,
        chunk_len: usize,
        fill: &(dyn Fn(usize, &mut [T]) + Sync),
    ) -> io::Result<Array<T>> {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        let num_bytes = len
            .checked_mul(size_of::<T>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let (map, at) = self.memory.cut(num_bytes.max(1))?;
        // SAFETY: `at` is inside the mapping.
        let start = unsafe { map.start.add(at) }.cast::<T>();
        // SAFETY: the part that begins at `at` has `num_bytes` bytes, which a mapping keeps below `isize::MAX`, and belongs
        // to this call: no other reference into it exists. It is aligned, for parts begin at multiples of the alignment.
        let elements =
            unsafe { std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<T>>(), len) };
        self.for_each_chunk(elements, chunk_len, &|i, chunk| {
            for element in chunk.iter_mut() {
                element.write(value);
            }
            // SAFETY: every element has just been written.
            fill(i, unsafe { chunk.assume_init_mut() });
        });
        Ok(Array {
            start,
            len,
            _map: map,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_hold_what_was_filled_in_and_do_not_overlap() {
        let cpu = Cpu::new(2).unwrap();
        let lens = [1, 7, 4096, 100_000, 5_000_000, 3, 3_000_000, 2_500_000];
        let arrays: Vec<Array<u64>> = lens
            .iter()
            .map(|&len| {
                let fill = |i: usize, chunk: &mut [u64]| chunk[0] = (len + i) as u64;
                cpu.array(u64::MAX, len, 1000, &fill).unwrap()
            })
            .collect();
        for (array, len) in arrays.iter().zip(lens) {
            assert_eq!(array.len(), len);
            assert_eq!(array.as_ptr() as usize % ALIGNMENT, 0);
            for (i, x) in array.iter().enumerate() {
                let want = match i % 1000 {
                    0 => (len + i / 1000) as u64,
                    _ => u64::MAX,
                };
                assert_eq!(*x, want);
            }
        }
    }

    #[test]
    fn arrays_outlive_the_device_and_the_arrays_beside_them() {
        let cpu = Cpu::new(1).unwrap();
        let first = cpu.array(1u8, 100, 100, &|_, _| {}).unwrap();
        let second = cpu.array(2u8, 100, 100, &|_, _| {}).unwrap();
        drop((cpu, first));
        assert!(second.iter().all(|&x| x == 2));
    }

    #[test]
    fn arrays_with_memory_of_their_own_give_all_of_it_back() {
        let cpu = Cpu::new(1).unwrap();
        let kept = cpu.array(1u8, 100, 100, &|_, _| {}).unwrap();
        let own = cpu.with_own_memory();
        let array = own.array(2u8, 100, 100, &|_, _| {}).unwrap();
        let chunk = Arc::downgrade(&array._map);
        drop((array, own));
        assert!(chunk.upgrade().is_none());
        assert_eq!(kept[99], 1);
    }

    #[test]
    fn more_than_the_address_space_is_an_error() {
        let cpu = Cpu::new(1).unwrap();
        assert!(cpu.array(0u64, usize::MAX / 4, 1, &|_, _| {}).is_err());
        assert!(cpu.array(0u8, 0, 1, &|_, _| {}).unwrap().is_empty());
    }
}
