//! Dates for chat templates: the part of `strftime` that they use, in UTC and English.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// 1 January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const SECONDS_PER_DAY: u64 = 86_400;

/// The current UTC time in seconds since 1970; 0 if the clock is set before.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// `seconds` since 1970 in the given format; an unknown directive is an error that names it.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, String> {
    let days = seconds / SECONDS_PER_DAY;
    let time = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let (year, month, day) = civil(days);
    let month_name = MONTHS[month as usize - 1];
    let weekday = WEEKDAYS[(days % 7) as usize];
    let hour12 = (hour + 11) % 12 + 1;

    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        // glibc's flag: no padding.
        let bare = directive == Some('-');
        if bare {
            directive = chars.next();
        }
        let (number, width) = match directive {
            Some('Y') => (year, 4),
            Some('y') => (year % 100, 2),
            Some('m') => (month, 2),
            Some('d') => (day, 2),
            Some('H') => (hour, 2),
            Some('I') => (hour12, 2),
            Some('M') => (minute, 2),
            Some('S') => (second, 2),
            Some('j') => (days - days_before(year) + 1, 3),
            other => {
                match other {
                    Some('B') => out.push_str(month_name),
                    Some('b') => out.push_str(&month_name[..3]),
                    Some('A') => out.push_str(weekday),
                    Some('a') => out.push_str(&weekday[..3]),
                    Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
                    Some('%') => out.push('%'),
                    Some(c) => return Err(format!("%{c} is not supported")),
                    None => return Err("the format ends in %".to_owned()),
                }
                continue;
            }
        };
        let width = if bare { 1 } else { width };
        write!(out, "{number:0width$}").map_err(|e| e.to_string())?;
    }
    Ok(out)
}

/// Year, month and day of the `days`-th day since 1970 (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`): years begin in March, eras have 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Days from 1 January 1970 to 1 January of `year`.
fn days_before(year: u64) -> u64 {
    let past = year - 1;
    (year - 1970) * 365 + (past / 4 - past / 100 + past / 400)
        - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(strftime(full, seconds).unwrap(), expected);
        }
        assert_eq!(strftime("%-d %b %-H", 0).unwrap(), "1 Jan 0");
    }

    #[test]
    fn an_unknown_directive_is_an_error_that_names_it() {
        assert_eq!(strftime("%Q", 0).unwrap_err(), "%Q is not supported");
        assert!(strftime("100%", 0).is_err());
    }
}
