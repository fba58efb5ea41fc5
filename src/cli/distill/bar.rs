//! How far something is that takes minutes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const REDRAW: Duration = Duration::from_millis(100);
const WIDTH: usize = 20;

/// A bar that redraws itself on a terminal; elsewhere one line every tenth.
pub(super) struct Bar {
    what: &'static str,
    is_terminal: bool,
    drawn: Option<Instant>,
    tenths: usize,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            is_terminal: std::io::stderr().is_terminal(),
            drawn: None,
            tenths: 0,
        }
    }

    /// `done` of `all`, and what there is to say besides. A closed standard error must not fail the work.
    pub(super) fn show(&mut self, done: usize, all: usize, told: &str) {
        let (what, mut out) = (self.what, std::io::stderr());
        let part = |of: usize| done.min(all) * of / all.max(1);
        let percent = part(100);
        if !self.is_terminal {
            if part(10) > self.tenths {
                self.tenths = part(10);
                let _ = writeln!(out, "{what}: {percent:3} %  {told}");
            }
            return;
        }
        if self.drawn.is_some_and(|at| at.elapsed() < REDRAW) && done < all {
            return;
        }
        self.drawn = Some(Instant::now());
        let filled = "#".repeat(part(WIDTH));
        let _ = write!(
            out,
            "\r\x1b[K{what} [{filled:<WIDTH$}] {percent:3} %  {told}"
        );
        let _ = out.flush();
    }

    pub(super) fn end(self) {
        if self.drawn.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// `3:07`, or `1:02:45`.
pub(super) fn human_time(seconds: f64) -> String {
    let all = seconds.round() as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_clocks_show_them() {
        assert_eq!(human_time(0.4), "0:00");
        assert_eq!(human_time(187.0), "3:07");
        assert_eq!(human_time(3765.0), "1:02:45");
    }
}
