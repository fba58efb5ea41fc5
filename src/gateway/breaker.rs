//! Whether a model is worth asking, after it has failed: a circuit breaker.

use std::time::{Duration, Instant};

/// Failures in a row that are no accident.
const MANY: u32 = 3;
/// How long a model is left alone at first, and at most: twice as long each time that it fails again.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// After so long without being left alone a model has recovered for good.
const RECOVERED: Duration = Duration::from_secs(60);

/// Closed as long as a model answers. Open once it has failed, for a while; then somebody is to probe it with a token of its own, and
/// what comes of that closes it, or opens it for longer. Requests never are the probe, so that none of them pays for it.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    num_failures: u32,
    /// How long it was last opened for.
    patience: Duration,
    /// When it was last closed after having been open.
    closed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    Probed { since: Instant },
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The model is to answer.
    Ask,
    /// Another tier is.
    Skip,
    /// Another tier is, and the caller is to probe the model.
    SkipAndProbe,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            num_failures: 0,
            patience: Duration::ZERO,
            closed_at: None,
        }
    }
}

impl Breaker {
    /// What to do with a request that comes now.
    pub fn verdict(&mut self, now: Instant) -> Verdict {
        match self.state {
            State::Closed => Verdict::Ask,
            State::Open { until } if now < until => Verdict::Skip,
            // A probe that has not come back for so long never will.
            State::Probed { since } if now < since + LONGEST => Verdict::Skip,
            State::Open { .. } | State::Probed { .. } => {
                self.state = State::Probed { since: now };
                Verdict::SkipAndProbe
            }
        }
    }

    /// Whether requests are sent elsewhere.
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// The model has given a token to a request. What was asked before it opened says nothing of how it is now.
    pub fn succeeded(&mut self) {
        if self.state == State::Closed {
            self.num_failures = 0;
        }
    }

    /// It has failed a request; `is_certain` where once is enough.
    pub fn failed(&mut self, now: Instant, is_certain: bool) {
        if self.state != State::Closed {
            return;
        }
        self.num_failures += 1;
        if is_certain || self.num_failures >= MANY {
            let is_again = (self.closed_at).is_some_and(|closed| now < closed + RECOVERED);
            self.open(now, is_again);
        }
    }

    /// What came of a probe.
    pub fn probed(&mut self, now: Instant, is_well: bool) {
        if !matches!(self.state, State::Probed { .. }) {
            return;
        }
        match is_well {
            true => {
                self.state = State::Closed;
                self.num_failures = 0;
                self.closed_at = Some(now);
            }
            false => self.open(now, true),
        }
    }

    fn open(&mut self, now: Instant, is_again: bool) {
        self.patience = match is_again {
            true => (self.patience * 2).clamp(SHORTEST, LONGEST),
            false => SHORTEST,
        };
        self.state = State::Open {
            until: now + self.patience,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_opens_after_several_failures_in_a_row_or_one_that_is_certain() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        breaker.failed(now, false);
        breaker.failed(now, false);
        breaker.succeeded();
        breaker.failed(now, false);
        breaker.failed(now, false);
        assert_eq!(breaker.verdict(now), Verdict::Ask);
        breaker.failed(now, false);
        assert_eq!(breaker.verdict(now), Verdict::Skip);
        let mut certain = Breaker::default();
        certain.failed(now, true);
        assert_eq!(certain.verdict(now), Verdict::Skip);
    }

    #[test]
    fn one_caller_probes_and_its_success_closes_it() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        breaker.failed(now, true);
        let later = now + SHORTEST;
        assert_eq!(breaker.verdict(later - MS), Verdict::Skip);
        assert_eq!(breaker.verdict(later), Verdict::SkipAndProbe);
        assert_eq!(breaker.verdict(later), Verdict::Skip);
        breaker.probed(later, true);
        assert_eq!(breaker.verdict(later), Verdict::Ask);
    }

    #[test]
    fn a_model_that_fails_again_and_again_is_left_alone_for_longer_and_longer() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        let mut pauses = Vec::new();
        breaker.failed(now, true);
        for _ in 0..7 {
            let State::Open { until } = breaker.state else {
                panic!("{breaker:?}")
            };
            pauses.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.verdict(now), Verdict::SkipAndProbe);
            breaker.probed(now, false);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        // Once well for long enough, it begins anew.
        now += LONGEST;
        breaker.verdict(now);
        breaker.probed(now, true);
        breaker.failed(now + 59_000 * MS, true);
        assert_eq!(breaker.patience, LONGEST);
        breaker.verdict(now + 100_000 * MS);
        breaker.probed(now + 100_000 * MS, true);
        breaker.failed(now + 161_000 * MS, true);
        assert_eq!(breaker.patience, SHORTEST);
    }

    #[test]
    fn what_was_asked_before_it_opened_changes_nothing() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        (0..50).for_each(|_| breaker.failed(now, true));
        breaker.succeeded();
        assert_eq!(breaker.verdict(now), Verdict::Skip);
        assert_eq!(breaker.verdict(now + SHORTEST), Verdict::SkipAndProbe);
        breaker.failed(now + SHORTEST, true);
        breaker.succeeded();
        assert_eq!(breaker.patience, SHORTEST);
        breaker.probed(now + SHORTEST, true);
        assert_eq!(breaker.verdict(now + SHORTEST), Verdict::Ask);
    }

    #[test]
    fn a_probe_that_never_comes_back_is_made_again() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        breaker.failed(now, true);
        assert_eq!(breaker.verdict(now + SHORTEST), Verdict::SkipAndProbe);
        let lost = now + SHORTEST + LONGEST;
        assert_eq!(breaker.verdict(lost - MS), Verdict::Skip);
        assert_eq!(breaker.verdict(lost), Verdict::SkipAndProbe);
    }
}
