//! A small seeded generator: the same seed gives the same load on every machine.
//!
//! SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014).

/// A stream of pseudorandom numbers. Not for secrets.
pub(in crate::cli) struct Rng(u64);

impl Rng {
    /// The stream named `key` among those of `seed`: each request has its own, whatever the order they are made in.
    pub(in crate::cli) fn keyed(seed: u64, key: u64) -> Self {
        Self(Self(seed).next_u64() ^ Self(!key).next_u64())
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1], in steps of 2⁻⁵³: never 0, so its logarithm is finite.
    pub(in crate::cli) fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`, for `n` ≥ 1.
    pub(in crate::cli) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // The published test vector for seed 1234567.
        let mut rng = Rng(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_covers_its_range_and_stays_in_it() {
        let mut rng = Rng::keyed(7, 0);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[rng.below(10)] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }

    #[test]
    fn neighbouring_keys_and_seeds_give_other_streams() {
        let first = |seed, key| Rng::keyed(seed, key).next_u64();
        let all = [first(0, 0), first(0, 1), first(1, 0), first(1, 1)];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
