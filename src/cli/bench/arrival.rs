//! When the requests of an open loop are to be sent: a Poisson process, the traffic of many independent clients.

use std::time::Duration;

use super::rng::Rng;

/// An endless, ascending sequence of arrival times, counted from the start of the run. Its gaps are independent and
/// exponentially distributed with mean 1 / rate.
pub(super) struct Poisson {
    rng: Rng,
    rate: f64,
    now: Duration,
}

impl Poisson {
    /// `rate` in requests per second, positive and at least 0.001 (so that no gap overflows).
    pub(super) fn new(rate: f64, seed: u64) -> Self {
        // Prompts take the keys from 0 up.
        Self {
            rng: Rng::keyed(seed, u64::MAX),
            rate,
            now: Duration::ZERO,
        }
    }
}

impl Iterator for Poisson {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.now += Duration::from_secs_f64(-self.rng.unit().ln() / self.rate);
        Some(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaps_are_exponential_with_the_rate_asked_for() {
        let times: Vec<f64> = Poisson::new(50.0, 3)
            .take(20_000)
            .map(|t| t.as_secs_f64())
            .collect();
        let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((mean - 0.02).abs() < 0.02 * 0.03, "mean {mean}");
        assert!(
            (deviation - 0.02).abs() < 0.02 * 0.05,
            "an exponential's deviation is its mean: {deviation}"
        );
        // P(gap > mean) = 1/e.
        let long = gaps.iter().filter(|&&g| g > 0.02).count() as f64 / n;
        assert!((long - (-1.0f64).exp()).abs() < 0.02, "{long}");
    }

    #[test]
    fn a_seed_fixes_the_arrivals() {
        let first = |seed| Poisson::new(4.0, seed).take(50).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        assert!(first(1).is_sorted());
    }

    #[test]
    fn the_slowest_rate_does_not_overflow() {
        assert!(Poisson::new(0.001, 0).take(10_000).last().is_some());
    }
}
