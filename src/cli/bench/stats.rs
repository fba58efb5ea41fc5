//! Exact summaries of samples: every sample is kept, none is bucketed.

use std::time::Duration;

use serde::Serialize;

/// What a set of durations looks like, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many samples there are.
    pub count: usize,
    /// The arithmetic mean.
    pub mean: f64,
    /// The median; like all percentiles here by nearest rank, so always a value that was measured.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest sample.
    pub max: f64,
}

impl Summary {
    /// Summarises `samples`, in any order; `None` of none.
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let max = millis(*samples.last()?);
        let total: f64 = samples.iter().map(|&d| millis(d)).sum();
        let percentile = |p| millis(nearest_rank(&samples, p));
        Some(Self {
            count: samples.len(),
            mean: total / samples.len() as f64,
            p50: percentile(50),
            p90: percentile(90),
            p95: percentile(95),
            p99: percentile(99),
            max,
        })
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The smallest value of ascending, non-empty `sorted` that at least `percent` % (1 to 100) of the values don't exceed.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_millis(samples: impl IntoIterator<Item = u64>) -> Option<Summary> {
        Summary::of(samples.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let summary = of_millis((1..=100).rev()).unwrap();
        assert_eq!(summary.count, 100);
        assert_eq!(
            (
                summary.mean,
                summary.p50,
                summary.p90,
                summary.p95,
                summary.p99,
                summary.max
            ),
            (50.5, 50.0, 90.0, 95.0, 99.0, 100.0)
        );
        // The textbook example: ranks 3, 5, 5 of five.
        let summary = of_millis([35, 20, 15, 50, 40]).unwrap();
        assert_eq!((summary.p50, summary.p90, summary.p99), (35.0, 50.0, 50.0));
    }

    #[test]
    fn one_sample_is_every_percentile_and_none_is_no_summary() {
        let summary = of_millis([7]).unwrap();
        assert_eq!(
            (summary.mean, summary.p50, summary.p99, summary.max),
            (7.0, 7.0, 7.0, 7.0)
        );
        assert_eq!(of_millis([]), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_a_sample_with_that_share_at_or_below(
            mut samples in prop::collection::vec(0u64..1000, 1..300), percent in 1usize..=100
        ) {
            samples.sort_unstable();
            let sorted: Vec<_> = samples.iter().map(|&ms| Duration::from_millis(ms)).collect();
            let value = nearest_rank(&sorted, percent);
            prop_assert!(sorted.contains(&value));
            let at_or_below = sorted.iter().filter(|&&d| d <= value).count();
            let below = sorted.iter().filter(|&&d| d < value).count();
            prop_assert!(at_or_below * 100 >= percent * sorted.len());
            prop_assert!(below * 100 < percent * sorted.len());
        }
    }
}
