//! How a fetch tells whoever watches it, and the watcher for a terminal or a log.

use std::io::{IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

/// Told by a fetch what happens. Calls come from one thread; [`begin`](Progress::begin) opens a transfer,
/// [`end`](Progress::end) closes it.
pub trait Progress {
    /// Something a person should know: a source failed, a cached file was damaged.
    fn note(&mut self, message: &str);
    /// A transfer of `size` bytes starts.
    fn begin(&mut self, what: &str, size: u64);
    /// `received` bytes of the transfer are here, those of an earlier run included; may fall when a server restarts it.
    fn update(&mut self, received: u64);
    /// The transfer is over, complete or not.
    fn end(&mut self);
}

const REDRAW: Duration = Duration::from_millis(100);

/// A bar that redraws itself on a terminal; elsewhere one line every tenth.
pub struct TextProgress<W> {
    out: W,
    terminal: bool,
    transfer: Option<Transfer>,
}

struct Transfer {
    what: String,
    size: u64,
    started: Instant,
    first: Option<u64>,
    drawn: Option<Instant>,
    tenths: u64,
}

impl TextProgress<Stderr> {
    /// Writes to standard error.
    pub fn stderr() -> Self {
        let out = std::io::stderr();
        let terminal = out.is_terminal();
        TextProgress {
            out,
            terminal,
            transfer: None,
        }
    }
}

impl<W: Write> TextProgress<W> {
    // A closed standard error must not fail a download: write errors are dropped.
    fn line(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(self.out, "{clear}{text}");
    }
}

impl<W: Write> Progress for TextProgress<W> {
    fn note(&mut self, message: &str) {
        self.line(message);
    }

    fn begin(&mut self, what: &str, size: u64) {
        let started = Instant::now();
        self.transfer = Some(Transfer {
            what: what.to_owned(),
            size,
            started,
            first: None,
            drawn: None,
            tenths: 0,
        });
    }

    fn update(&mut self, received: u64) {
        let Some(t) = &mut self.transfer else { return };
        let here = received.saturating_sub(*t.first.get_or_insert(received));
        let percent = (u128::from(received) * 100 / u128::from(t.size.max(1))).min(100) as u64;
        let rate = (here as f64 / t.started.elapsed().as_secs_f64().max(1e-3)) as u64;
        let counts = format!(
            "{percent:3} %  {} of {}  {}/s",
            human_bytes(received),
            human_bytes(t.size),
            human_bytes(rate)
        );
        if self.terminal {
            if t.drawn.is_some_and(|at| at.elapsed() < REDRAW) && received != t.size {
                return;
            }
            t.drawn = Some(Instant::now());
            let filled = percent as usize / 5;
            let _ = write!(
                self.out,
                "\r\x1b[K{} [{:<20}] {counts}",
                t.what,
                "#".repeat(filled)
            );
            let _ = self.out.flush();
        } else if percent / 10 > t.tenths {
            t.tenths = percent / 10;
            let text = format!("{}: {counts}", t.what);
            self.line(&text);
        }
    }

    fn end(&mut self) {
        if self.transfer.take().is_some_and(|t| t.drawn.is_some()) {
            let _ = writeln!(self.out);
        }
    }
}

/// A number of bytes for people, in decimal units: `98.4 MB`.
pub fn human_bytes(bytes: u64) -> String {
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled(1_000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled(1_000_000)),
        _ => format!("{:.1} GB", scaled(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(terminal: bool) -> String {
        let mut progress = TextProgress {
            out: Vec::new(),
            terminal,
            transfer: None,
        };
        progress.begin("a.gguf", 1000);
        (0..=1000)
            .step_by(10)
            .for_each(|received| progress.update(received));
        progress.end();
        String::from_utf8(progress.out).unwrap()
    }

    #[test]
    fn a_log_gets_one_line_every_tenth() {
        let log = run(false);
        assert_eq!(log.lines().count(), 10, "{log}");
        assert!(
            log.lines()
                .last()
                .unwrap()
                .starts_with("a.gguf: 100 %  1.0 kB of 1.0 kB"),
            "{log}"
        );
        assert!(!log.contains('\r'));
    }

    #[test]
    fn a_terminal_gets_one_line_that_ends_full() {
        let screen = run(true);
        assert_eq!(screen.matches('\n').count(), 1);
        assert!(
            screen
                .rsplit('\r')
                .next()
                .unwrap()
                .contains("[####################] 100 %"),
            "{screen}"
        );
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(98_362_432), "98.4 MB");
        assert_eq!(human_bytes(u64::MAX), "18446744073.7 GB");
    }
}
