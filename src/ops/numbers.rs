//! Numbers of a step that ops read: token ids, positions, slots, which rows to pick.

use std::ops::Range;

use candle_core::{Result, bail};

use crate::backend::cuda::{Cuda, Slice, Staging};

/// Numbers in the host's memory, and in a card's where one computes with them.
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    pub(super) host: &'a [u32],
    slice: Option<Slice>,
}

impl<'a> Numbers<'a> {
    /// Notes that a card has a copy.
    pub fn put_on_card(&mut self, slice: Slice) {
        self.slice = Some(slice);
    }

    /// Those in the host's memory.
    pub fn host(&self) -> &'a [u32] {
        self.host
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.host.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.host.is_empty()
    }

    /// Where the card has them; fails, naming `what`, where none does.
    pub(super) fn slice(&self, what: &str) -> Result<&Slice> {
        match &self.slice {
            Some(slice) => Ok(slice),
            None => bail!("{what}: must be in the card's memory, too"),
        }
    }
}

/// In the host's memory alone.
impl<'a> From<&'a [u32]> for Numbers<'a> {
    fn from(host: &'a [u32]) -> Self {
        Self { host, slice: None }
    }
}

/// In the host's memory alone.
impl<'a, const N: usize> From<&'a [u32; N]> for Numbers<'a> {
    fn from(host: &'a [u32; N]) -> Self {
        Self::from(&host[..])
    }
}

/// In the host's memory alone.
impl<'a> From<&'a Vec<u32>> for Numbers<'a> {
    fn from(host: &'a Vec<u32>) -> Self {
        Self::from(&host[..])
    }
}

/// A step's numbers on their way to a card, in one copy, which the host does not wait for.
pub struct NumberBuffer {
    cuda: Cuda,
    words: Vec<u32>,
    /// In turns, so that one may be under way while the other is filled.
    staging: [Staging; 2],
    next: usize,
    slice: Slice,
    /// How often they got another place.
    generation: usize,
}

/// Numbers begin at multiples of so many, which is 16 bytes.
const ALIGNMENT: usize = 4;

impl NumberBuffer {
    /// Room for `capacity` numbers at first.
    ///
    /// # Errors
    /// If the card has none.
    pub fn new(cuda: &Cuda, capacity: usize) -> Result<Self> {
        let num_bytes = 4 * capacity.max(ALIGNMENT);
        let staging = || Staging::new(cuda, num_bytes);
        Ok(Self {
            cuda: cuda.clone(),
            words: Vec::with_capacity(capacity),
            staging: [staging()?, staging()?],
            next: 0,
            slice: cuda.alloc(num_bytes)?,
            generation: 0,
        })
    }

    /// Forgets what was there.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Appends numbers. Gives where they will be.
    pub fn push(&mut self, numbers: &[u32]) -> Range<usize> {
        let start = self.words.len().next_multiple_of(ALIGNMENT);
        self.words.resize(start, 0);
        self.words.extend_from_slice(numbers);
        start..self.words.len()
    }

    /// Sends them, in the order of what is asked of the card.
    ///
    /// # Errors
    /// If the card has no room or fails.
    pub fn send(&mut self) -> Result<()> {
        let bytes: Vec<u8> = self.words.iter().flat_map(|x| x.to_le_bytes()).collect();
        if bytes.len() > self.slice.num_bytes() {
            let larger = Self::new(&self.cuda, self.words.len().next_power_of_two())?;
            let words = std::mem::take(&mut self.words);
            let generation = self.generation + 1;
            *self = Self {
                words,
                generation,
                ..larger
            };
        }
        self.staging[self.next].send(&bytes, &self.slice)?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Changes where numbers get another place on the card, for there was too little.
    pub fn generation(&self) -> usize {
        self.generation
    }

    /// Those that [`NumberBuffer::push`] put there.
    ///
    /// # Errors
    /// If nothing is there.
    pub fn slice(&self, range: &Range<usize>) -> Result<Slice> {
        Ok(self.slice.narrow(4 * range.start, 4 * range.len())?)
    }
}
