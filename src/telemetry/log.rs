//! Lines for people, on stderr, with the time in UTC.

use std::io::Write;

use jiff::Timestamp;

/// Writes one line. A closed stderr is no reason to stop serving, so errors are dropped.
pub fn log_line(message: &str) {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let _ = writeln!(std::io::stderr(), "{now} {message}");
}
