//! Dates for chat templates, in UTC.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// `at` in the given format, with the directives of C's `strftime`; an unknown one is an error.
pub(super) fn strftime(format: &str, at: Timestamp) -> Result<String, String> {
    strtime::format(format, &at.to_zoned_datetime(TimeZone::UTC)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(format: &str, seconds: i64) -> Result<String, String> {
        strftime(format, Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Each from `datetime.fromtimestamp(t, timezone.utc).strftime(...)`.
        let full = "%Y-%m-%d %H:%M:%S %a %A %b %B %j %y %I%p %%";
        let cases = [
            (
                0,
                "1970-01-01 00:00:00 Thu Thursday Jan January 001 70 12AM %",
            ),
            (
                951_782_399,
                "2000-02-28 23:59:59 Mon Monday Feb February 059 00 11PM %",
            ),
            (
                951_782_400,
                "2000-02-29 00:00:00 Tue Tuesday Feb February 060 00 12AM %",
            ),
            (
                1_735_646_645,
                "2024-12-31 12:04:05 Tue Tuesday Dec December 366 24 12PM %",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00 Mon Monday Mar March 060 00 12AM %",
            ),
        ];
        for (seconds, expected) in cases {
            assert_eq!(at(full, seconds).unwrap(), expected);
        }
        assert_eq!(at("%-d %b %-H", 0).unwrap(), "1 Jan 0");
    }

    #[test]
    fn an_unknown_directive_is_an_error() {
        assert!(at("%!", 0).is_err());
        assert!(at("100%", 0).is_err());
    }
}
