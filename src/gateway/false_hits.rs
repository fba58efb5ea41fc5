//! How often answers to other questions are wrong, by a sample of those that were given again, and whether more may be.

/// What is wrong of so many.
const CONFIDENCE: f64 = 0.95;
/// What is known before anything is: of the pairs of the benchmark set that the gates let pass, held out while they were written, 379 differ in
/// form alone and 347 by more, and each has the same answer (`cargo bench --bench likeness`).
const PROVEN: u64 = 300;
/// Checks that wait for their turn, at most.
const MAX_DUE: f64 = 8.0;

/// Hits of one kind. Once too many were wrong none is served until somebody says so.
#[derive(Clone, Debug)]
pub struct FalseHits {
    max_rate: f64,
    share: f64,
    /// What adds up to the next hit that is checked.
    due: f64,
    num_checked: u64,
    num_wrong: u64,
    is_off: bool,
}

/// Whether answers to other questions are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// They are.
    Given,
    /// None was wrong, but too few were checked to know that few are.
    Unproven,
    /// Too many were wrong.
    Lost,
}

impl FalseHits {
    /// At most `max_rate` of all may be wrong, and this `share` of them is checked; both in 0..=1.
    pub fn new(max_rate: f64, share: f64) -> Self {
        Self {
            max_rate,
            share,
            due: 0.0,
            num_checked: 0,
            num_wrong: 0,
            is_off: false,
        }
    }

    /// Whether answers are given.
    pub fn trust(&self) -> Trust {
        if self.is_off {
            Trust::Lost
        } else if self.upper_bound() > self.max_rate {
            Trust::Unproven
        } else {
            Trust::Given
        }
    }

    /// Whether to check the hit that is served now: its own turn has come, or that of one before, which there was no room to check.
    pub fn is_due(&mut self) -> bool {
        self.due = (self.due + self.share).min(MAX_DUE);
        self.due >= 1.0
    }

    /// It is being checked.
    pub fn checks(&mut self) {
        self.due -= 1.0;
    }

    /// A hit was checked. Whether trust is lost with it.
    pub fn checked(&mut self, is_wrong: bool) -> bool {
        self.num_checked += 1;
        self.num_wrong += u64::from(is_wrong);
        let is_lost = is_wrong && self.upper_bound() > self.max_rate && !self.is_off;
        self.is_off |= is_lost;
        is_lost
    }

    /// Hits that were checked, and those that were wrong.
    pub fn counts(&self) -> (u64, u64) {
        (self.num_checked, self.num_wrong)
    }

    /// The rate of wrong ones is at least this, with the same confidence.
    pub fn lower_bound(&self) -> f64 {
        lower_bound(self.num_wrong, PROVEN + self.num_checked)
    }

    /// The rate of wrong ones is at most this, with a confidence of 95%: Clopper and Pearson's bound, 1934, of what was checked here and of the
    /// benchmark set.
    pub fn upper_bound(&self) -> f64 {
        upper_bound(self.num_wrong, PROVEN + self.num_checked)
    }
}

/// The largest rate at which `num_wrong` or fewer of `num` have a chance of 5%.
fn upper_bound(num_wrong: u64, num: u64) -> f64 {
    match num_wrong < num {
        true => rate_where(|rate| chance_of_at_most(num_wrong, num, rate) <= 1.0 - CONFIDENCE),
        false => 1.0,
    }
}

/// The smallest rate at which `num_wrong` or more have a chance of 5%.
fn lower_bound(num_wrong: u64, num: u64) -> f64 {
    match num_wrong {
        0 => 0.0,
        _ => rate_where(|rate| chance_of_at_most(num_wrong - 1, num, rate) <= CONFIDENCE),
    }
}

/// The rate from which on this is so.
fn rate_where(is_so: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        match is_so(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

/// That at most `num_wrong` of `num` are wrong where each is at this rate, in 0..1 without its ends.
fn chance_of_at_most(num_wrong: u64, num: u64, rate: f64) -> f64 {
    // The logarithm of the chance of exactly i.
    let mut log = num as f64 * (-rate).ln_1p();
    let mut sum = log.exp();
    for i in 0..num_wrong {
        log += ((num - i) as f64 / (i + 1) as f64).ln() + (rate / (1.0 - rate)).ln();
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_clopper_and_pearsons() {
        // As R's binom.test(alternative = "less") has them.
        for (num_wrong, num, bound) in [
            (0, 299, 0.009_969_1),
            (0, 10, 0.258_865_5),
            (1, 10, 0.394_163_3),
            (3, 100, 0.075_713_6),
            (10, 10, 1.0),
        ] {
            let found = upper_bound(num_wrong, num);
            assert!(
                (found - bound).abs() < 1e-5,
                "{num_wrong} of {num}: {found}"
            );
        }
        for (num_wrong, num, bound) in [
            (0, 10, 0.0),
            (1, 10, 0.005_116_2),
            (3, 100, 0.008_225_8),
            (10, 10, 0.741_134_4),
        ] {
            let found = lower_bound(num_wrong, num);
            assert!(
                (found - bound).abs() < 1e-5,
                "{num_wrong} of {num}: {found}"
            );
        }
    }

    #[test]
    fn answers_are_given_until_one_is_wrong_and_not_again_before_somebody_says_so() {
        let mut hits = FalseHits::new(0.01, 0.5);
        assert_eq!(hits.trust(), Trust::Given);
        assert!(!hits.checked(false));
        assert!(hits.checked(true));
        assert_eq!(hits.trust(), Trust::Lost);
        for _ in 0..10_000 {
            assert!(!hits.checked(false));
        }
        assert_eq!((hits.trust(), hits.counts()), (Trust::Lost, (10_002, 1)));
    }

    #[test]
    fn after_many_right_ones_a_wrong_one_is_one_of_many() {
        let mut hits = FalseHits::new(0.01, 1.0);
        (0..500).for_each(|_| assert!(!hits.checked(false)));
        assert!(!hits.checked(true));
        assert_eq!(hits.trust(), Trust::Given);
    }

    #[test]
    fn a_lower_rate_has_to_be_proven_first() {
        let mut hits = FalseHits::new(0.001, 1.0);
        assert_eq!(hits.trust(), Trust::Unproven);
        (0..3000).for_each(|_| assert!(!hits.checked(false)));
        assert_eq!(hits.trust(), Trust::Given);
    }

    #[test]
    fn a_share_of_hits_is_checked() {
        let mut hits = FalseHits::new(0.01, 0.05);
        let checked = (0..1000).filter(|_| {
            let is_due = hits.is_due();
            if is_due {
                hits.checks();
            }
            is_due
        });
        let checked = checked.count();
        assert!((49..=50).contains(&checked), "{checked}");
        // What there was no room for is made up for, up to a few.
        assert!((0..1000).filter(|_| hits.is_due()).count() > 900);
        for _ in 0..7 {
            hits.checks();
            assert!(hits.is_due());
        }
        hits.checks();
        assert!(!hits.is_due());
    }
}
