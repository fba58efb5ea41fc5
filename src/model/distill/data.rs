//! Which sequences a step reads, and which are never trained on.

/// Held-out sequences at most.
const MAX_HELD_OUT: usize = 16;

/// Sequences of one length, cut from a stream of tokens.
#[derive(Clone, Debug)]
pub struct Split {
    /// Those to train on.
    pub train: Vec<Vec<u32>>,
    /// Those to measure by: spread evenly over the stream, a tenth of it and 16 at most.
    pub held_out: Vec<Vec<u32>>,
}

impl Split {
    /// Cuts `tokens`; a rest of less than a sequence is left out. With `bos`, that stands in the place of each one's first token.
    /// `None` if that gives fewer than two.
    pub fn new(tokens: &[u32], sequence_length: usize, bos: Option<u32>) -> Option<Self> {
        let mut sequences: Vec<Vec<u32>> = tokens
            .chunks_exact(sequence_length)
            .map(<[u32]>::to_vec)
            .collect();
        if sequences.len() < 2 {
            return None;
        }
        for sequence in &mut sequences {
            sequence[0] = bos.unwrap_or(sequence[0]);
        }
        let num_held_out = (sequences.len() / 10).clamp(1, MAX_HELD_OUT);
        let stride = sequences.len() / num_held_out;
        let is_held_out =
            |i: usize| (i + 1).is_multiple_of(stride) && (i + 1) / stride <= num_held_out;
        let mut split = Self {
            train: Vec::new(),
            held_out: Vec::new(),
        };
        for (i, sequence) in sequences.into_iter().enumerate() {
            let part = match is_held_out(i) {
                true => &mut split.held_out,
                false => &mut split.train,
            };
            part.push(sequence);
        }
        Some(split)
    }
}

/// What is trained on, in an order that the seed gives anew each time that all was read.
pub struct Data {
    sequences: Vec<Vec<u32>>,
    seed: u64,
    /// Which time it is, and its order.
    order: (usize, Vec<usize>),
}

impl Data {
    /// Of at least one sequence.
    pub fn new(sequences: Vec<Vec<u32>>, seed: u64) -> Self {
        let order = (0, order(sequences.len(), seed, 0));
        Self {
            sequences,
            seed,
            order,
        }
    }

    /// The sequences of step `i`, from 0, one after the other: a function of the step and the seed.
    pub(super) fn batch(&mut self, i: usize, batch_size: usize) -> Vec<Vec<u32>> {
        let num = self.sequences.len();
        let range = i * batch_size..(i + 1) * batch_size;
        let sequence = |k: usize| {
            if self.order.0 != k / num {
                self.order = (k / num, order(num, self.seed, k / num));
            }
            self.sequences[self.order.1[k % num]].clone()
        };
        range.map(sequence).collect()
    }
}

/// A permutation by Fisher and Yates.
fn order(num: usize, seed: u64, time: usize) -> Vec<usize> {
    let mut state = mix(seed ^ mix(time as u64));
    let mut order: Vec<usize> = (0..num).collect();
    for i in (1..num).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        order.swap(i, (mix(state) % (i as u64 + 1)) as usize);
    }
    order
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(x: u64) -> u64 {
    let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn held_out_sequences_are_never_trained_on_and_none_is_lost() {
        for num in [2, 3, 19, 100, 1000] {
            let tokens: Vec<u32> = (0..num * 4 + 3).collect();
            let split = Split::new(&tokens, 4, None).unwrap();
            let of = |part: &[Vec<u32>]| part.iter().map(|s| s[0]).collect::<BTreeSet<u32>>();
            let (train, held_out) = (of(&split.train), of(&split.held_out));
            assert!(train.is_disjoint(&held_out) && !held_out.is_empty());
            assert_eq!(train.len() + held_out.len(), num as usize);
            assert!(held_out.len() <= MAX_HELD_OUT);
        }
        assert!(Split::new(&[0; 7], 4, None).is_none());
        let split = Split::new(&[1; 8], 4, Some(9)).unwrap();
        assert_eq!(split.train, [[9, 1, 1, 1]]);
    }

    #[test]
    fn every_sequence_is_read_once_before_any_is_again_and_steps_may_be_asked_for_in_any_order() {
        let sequences: Vec<Vec<u32>> = (0..7).map(|i| vec![i]).collect();
        let mut data = Data::new(sequences, 3);
        let read: Vec<Vec<u32>> = (0..7).flat_map(|i| data.batch(i, 2)).collect();
        for time in read.chunks(7) {
            assert_eq!(time.iter().collect::<BTreeSet<_>>().len(), 7);
        }
        assert_ne!(read[..7], read[7..]);
        assert_eq!(data.batch(0, 2), read[..2]);
    }
}
