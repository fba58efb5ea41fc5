//! A cursor over untrusted little-endian bytes: every read is bounded, and nothing is allocated.

use super::error::Fault;

#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A reader of `bytes` that stands at `at` (at the end if that is past it).
    pub(super) fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at: at.min(bytes.len()),
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn file_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    pub(super) fn take(&mut self, need: u64) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(need).ok().and_then(|need| rest.get(..need)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(Fault::End {
                at: self.at,
                need,
                left: rest.len(),
            }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N as u64)?;
        Ok(taken
            .try_into()
            .expect("take returns as many bytes as asked for: this is a bug"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let len = self.u64()?;
        let at = self.at;
        std::str::from_utf8(self.take(len)?).map_err(|_| Fault::Utf8 { at })
    }

    /// `count` as a `usize`, if so many items of at least `min_bytes` fit beside the `reserved` bytes in what is left.
    pub(super) fn count(
        &self,
        count: u64,
        min_bytes: usize,
        reserved: usize,
    ) -> Result<usize, Fault> {
        let left = self.bytes.len() - self.at;
        let most = left.saturating_sub(reserved) / min_bytes;
        usize::try_from(count)
            .ok()
            .filter(|&n| n <= most)
            .ok_or(Fault::Count { count, left })
    }
}
