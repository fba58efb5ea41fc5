//! Whether and when to ask again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::error::RemoteError;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// What all pauses of a request may take together: another tier could have answered meanwhile.
const MAX_PAUSES: Duration = Duration::from_secs(2);

/// The retries of one request.
pub(super) struct Retries {
    num_left: u32,
    next_pause: Duration,
    time_left: Duration,
}

impl Retries {
    /// Of a request whose first piece must come within `patience`.
    pub fn new(max_retries: u32, patience: Duration) -> Self {
        Self {
            num_left: max_retries,
            next_pause: FIRST_PAUSE,
            // What cannot be waited out is for the caller to hear, who may ask somebody else.
            time_left: MAX_PAUSES.min(patience / 2),
        }
    }

    /// How long to wait before asking again after `error`, which came before anything of the answer; `None` to give up.
    pub fn pause(&mut self, error: &RemoteError) -> Option<Duration> {
        let asked_for = match error {
            RemoteError::Unreachable(_) | RemoteError::Broken(_) => None,
            RemoteError::Busy { retry_after, .. }
            | RemoteError::Unavailable { retry_after, .. } => *retry_after,
            _ => return None,
        };
        self.num_left = self.num_left.checked_sub(1)?;
        // Never sooner than without it: a server that says "at once" to all is asked by all at once.
        let pause = asked_for.unwrap_or_default().max(jittered(self.next_pause));
        self.next_pause = self.next_pause.saturating_mul(2);
        self.time_left = self.time_left.checked_sub(pause)?;
        Some(pause)
    }
}

/// Between half of `pause` and all of it, so that those who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) >> 32;
    pause.mul_f64(0.5 + random as f64 / (1u64 << 33) as f64)
}

/// What the header `retry-after` says at the time `now`: seconds, or a date. What is neither says nothing.
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(
        then.duration_since(now)
            .try_into()
            .unwrap_or(Duration::ZERO),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn busy(seconds: Option<u64>) -> RemoteError {
        RemoteError::Busy {
            message: String::new(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_double_with_jitter_until_there_were_enough() {
        let mut retries = Retries::new(3, LONG);
        for most in [100, 200, 400] {
            let pause = retries.pause(&RemoteError::Broken(String::new())).unwrap();
            let most = Duration::from_millis(most);
            assert!(most / 2 <= pause && pause <= most, "{pause:?}");
        }
        assert_eq!(retries.pause(&RemoteError::Broken(String::new())), None);
        let mut pauses = (0..8).map(|_| jittered(FIRST_PAUSE));
        let first = pauses.next();
        assert!(pauses.any(|pause| Some(pause) != first));
    }

    #[test]
    fn no_more_than_two_seconds_are_waited_in_all() {
        let mut retries = Retries::new(u32::MAX, LONG);
        let pauses: Vec<_> = std::iter::from_fn(|| retries.pause(&busy(None))).collect();
        assert!(pauses.iter().sum::<Duration>() <= MAX_PAUSES);
        assert!((4..=6).contains(&pauses.len()), "{pauses:?}");
    }

    #[test]
    fn a_server_that_names_a_time_is_given_it_where_it_is_short() {
        let mut retries = Retries::new(9, LONG);
        let second = Some(Duration::from_secs(1));
        assert_eq!(retries.pause(&busy(Some(1))), second);
        assert!(retries.pause(&busy(Some(0))).unwrap() >= FIRST_PAUSE);
        assert_eq!(
            retries.pause(&busy(Some(1))),
            None,
            "that would be too long in all"
        );
        assert_eq!(Retries::new(9, LONG).pause(&busy(Some(u64::MAX))), None);
        assert_eq!(
            Retries::new(9, Duration::from_secs(1)).pause(&busy(Some(1))),
            None
        );
    }

    #[test]
    fn what_another_attempt_would_not_change_is_not_retried() {
        for error in [
            RemoteError::of_status(400, b"", None),
            RemoteError::of_status(500, b"", None),
            RemoteError::Malformed(String::new()),
            RemoteError::NoModel,
        ] {
            assert_eq!(Retries::new(9, LONG).pause(&error), None, "{error}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        for (header, seconds) in [
            (" 3 ", Some(3)),
            ("Fri, 02 Jan 2026 03:04:15 GMT", Some(10)),
            ("Fri, 02 Jan 2026 03:04:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(header, now), expected, "{header}");
        }
    }
}
