//! Scales that make the weighted square error of rounding small.

/// The scale `s` for which `Σ w (x - s q)²` with `q = round(x / s)` in `-n..n` is the least of some that are tried, the largest
/// magnitude being near `-n`. Zero for values too small to scale.
///
/// For given `q`, the best scale is `Σ w x q / Σ w q²` (least squares).
#[inline(always)]
pub(super) fn symmetric(x: &[f32], w: &[f32], n: i32) -> f32 {
    let largest = x
        .iter()
        .fold(0.0, |a: f32, &x| if x.abs() > a.abs() { x } else { a });
    if largest.abs() < 1e-15 {
        return 0.0;
    }
    let (mut best, mut best_gain) = (0.0, -1.0);
    for step in -9..=9 {
        let inverse = -(n as f32 + 0.1 * step as f32) / largest;
        let [with_x, with_q] = sums(x, w, |x, w| {
            let q = (x * inverse)
                .round_ties_even()
                .clamp(-n as f32, (n - 1) as f32);
            [w * x * q, w * q * q]
        });
        // The error is `Σ w x²` less this.
        let gain = with_x * with_x / with_q;
        if with_q > 0.0 && gain > best_gain {
            (best, best_gain) = (with_x / with_q, gain);
        }
    }
    // Weights of zero say nothing.
    if best_gain < 0.0 {
        -largest / n as f32
    } else {
        best
    }
}

/// The scale `s` and the minimum `m`, neither negative, for which `Σ w (x - (s q - m))²` with `q` in `0..=n` is the least of some
/// that are tried.
#[inline(always)]
pub(super) fn affine(x: &[f32], w: &[f32], n: i32) -> (f32, f32) {
    let lowest = x.iter().fold(0.0, |a: f32, &x| a.min(x));
    let highest = x.iter().fold(f32::MIN, |a: f32, &x| a.max(x));
    let range = highest - lowest;
    if range < 1e-15 {
        return (0.0, -lowest);
    }
    let [sw, sx] = sums(x, w, |x, w| [w, w * x]);
    let (mut best, mut best_error) = ((range / n as f32, lowest), f32::INFINITY);
    for step in -10..=20 {
        let inverse = (n as f32 + 0.1 * step as f32) / range;
        let quant = |x: f32| {
            ((x - lowest) * inverse)
                .round_ties_even()
                .clamp(0.0, n as f32)
        };
        let [sq, sqq, sxq] = sums(x, w, |x, w| {
            let q = quant(x);
            [w * q, w * q * q, w * x * q]
        });
        let determinant = sw * sqq - sq * sq;
        if determinant <= 0.0 {
            continue;
        }
        let mut scale = (sw * sxq - sx * sq) / determinant;
        let mut offset = (sqq * sx - sq * sxq) / determinant;
        if offset > 0.0 {
            (scale, offset) = (sxq / sqq, 0.0);
        }
        let [error] = sums(x, w, |x, w| {
            let difference = x - (scale * quant(x) + offset);
            [w * difference * difference]
        });
        if scale > 0.0 && error < best_error {
            (best, best_error) = ((scale, offset), error);
        }
    }
    (best.0, -best.1)
}

/// Sums of what `terms` gives for each value and its weight, of whole eights: in eight chains, which become vectors.
#[inline(always)]
fn sums<const N: usize>(x: &[f32], w: &[f32], terms: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut chains = [[0.0; 8]; N];
    for (x, w) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0) {
        for lane in 0..8 {
            let terms = terms(x[lane], w[lane]);
            for (chain, term) in chains.iter_mut().zip(terms) {
                chain[lane] += term;
            }
        }
    }
    chains.map(|chain| chain.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u32) -> [f32; 32] {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 0.8
        })
    }

    #[test]
    fn values_on_a_grid_are_met_exactly() {
        let x: [f32; 32] = std::array::from_fn(|i| 0.25 * (i as f32 % 16.0 - 8.0));
        assert!((symmetric(&x, &[1.0; 32], 8) - 0.25).abs() < 1e-6);
        let x: [f32; 32] = std::array::from_fn(|i| 0.5 * (i as f32 % 16.0) - 3.0);
        let (scale, min) = affine(&x, &[1.0; 32], 15);
        assert!((scale - 0.5).abs() < 1e-6 && (min - 3.0).abs() < 1e-5);
    }

    #[test]
    fn the_error_is_no_more_than_that_of_the_plain_scale() {
        for seed in 0..50 {
            let (x, w) = (values(seed), values(seed + 100).map(|w| w * w));
            let error = |scale: f32| {
                let quants = x.map(|x| (x / scale).round_ties_even().clamp(-8.0, 7.0));
                let terms = x.iter().zip(w).zip(quants);
                terms
                    .map(|((x, w), q)| w * (x - scale * q).powi(2))
                    .sum::<f32>()
            };
            let largest = x
                .iter()
                .fold(0.0, |a: f32, &x| if x.abs() > a.abs() { x } else { a });
            assert!(error(symmetric(&x, &w, 8)) <= 1.0001 * error(largest / -8.0));
        }
    }

    #[test]
    fn zeros_and_constants_have_their_values() {
        assert_eq!(symmetric(&[0.0; 32], &[1.0; 32], 8), 0.0);
        assert_eq!(affine(&[-2.0; 32], &[1.0; 32], 15).0 * 0.0, 0.0);
        let (scale, min) = affine(&[0.0; 32], &[1.0; 32], 15);
        assert_eq!((scale, min), (0.0, 0.0));
        // Weights of zero.
        assert!(symmetric(&values(3), &[0.0; 32], 8).abs() > 0.0);
    }
}
