//! Counter-based sampling noise: a pure function of (seed, choice, position, token id).
//!
//! Drawing uses the Gumbel-max trick (Gumbel 1954; see Maddison et al., "A* Sampling", 2014): the token with the largest
//! `logit + gumbel` is a draw from the softmax. Since each token's noise depends only on its key, dropping or
//! reordering candidates never changes the noise of another.

/// The noise of one draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    key: u64,
}

impl Noise {
    pub(super) fn new(seed: u64, choice: u32, position: u32) -> Self {
        Self {
            key: mix(mix(seed) ^ (u64::from(choice) << 32 | u64::from(position))),
        }
    }

    /// 64 uniform bits for `token_id`.
    pub(super) fn bits(self, token_id: u32) -> u64 {
        mix(self.key ^ u64::from(token_id).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// `-ln(-ln u)` for the uniform `u` in (0, 1) that `bits` stand for.
    pub(super) fn gumbel(bits: u64) -> f64 {
        // 52 bits, so that adding a half is exact: with 53, all ones would round to u = 1, whose noise is infinite.
        let u = ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64);
        -(-u.ln()).ln()
    }

    /// An upper bound of [`Noise::gumbel`] that needs no logarithm: with `k` leading ones, `1 - u >= 2^-(k+1)`, so
    /// `-ln u >= 2^-(k+1)` and the noise is at most `(k + 1) ln 2` (plus a margin for rounding).
    pub(super) fn gumbel_bound(bits: u64) -> f64 {
        f64::from(bits.leading_ones().min(52) + 1) * std::f64::consts::LN_2 + 1e-9
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_is_finite_and_never_above_its_bound() {
        let noise = Noise::new(1, 0, 0);
        let special = [
            0,
            u64::MAX,
            u64::MAX << 11,
            u64::MAX << 12,
            1 << 63,
            !(1 << 63),
            u64::MAX << 1,
        ];
        for bits in (0..200_000).map(|token| noise.bits(token)).chain(special) {
            assert!(Noise::gumbel(bits).is_finite(), "{bits:x}");
            assert!(Noise::gumbel(bits) <= Noise::gumbel_bound(bits), "{bits:x}");
        }
    }

    #[test]
    fn keys_differ_in_every_part() {
        let base = Noise::new(1, 2, 3).bits(4);
        for other in [
            Noise::new(2, 2, 3).bits(4),
            Noise::new(1, 3, 3).bits(4),
            Noise::new(1, 2, 4).bits(4),
            Noise::new(1, 2, 3).bits(5),
        ] {
            assert_ne!(base, other);
        }
    }
}
