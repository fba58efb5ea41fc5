//! A mutable slice that several threads write at once, each in its own part.

use std::marker::PhantomData;

/// Hands out mutable parts of one slice to the tasks of a job; the caller of [`DisjointMut::slice`] keeps them apart.
pub(crate) struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the parts handed out never overlap (the contract of `slice`), so sharing is sending parts of a `&mut [T]`.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The elements `start..start + len`; panics if they are not all inside.
    ///
    /// # Safety
    /// No other part that overlaps this one may be alive at the same time.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the contract keeps parts apart")]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start <= self.len && len <= self.len - start,
            "part outside the slice: this is a bug"
        );
        // SAFETY: inside the slice by the assertion, exclusive by the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
