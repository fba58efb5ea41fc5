//! Stop strings, found across token borders.
//!
//! Each stop string is a Knuth–Morris–Pratt automaton fed byte by byte, so the result does not depend
//! on how the text was cut, and the cost is linear in the text. Held back is exactly the longest
//! suffix of the text that is a proper prefix of a stop string.

use super::error::StopError;

/// What a chunk of text leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// Text that is certain and not emitted before.
    pub text: String,
    /// The index of the stop string that ended the text, from the chunk that completed it on.
    pub stopped: Option<usize>,
}

#[derive(Clone, Debug)]
struct Automaton {
    pattern: Vec<u8>,
    /// `borders[n]`: the longest proper prefix of the pattern's first `n + 1` bytes that ends them.
    borders: Vec<usize>,
    /// How many bytes of the pattern the text now ends with.
    matched: usize,
}

impl Automaton {
    fn new(pattern: String) -> Self {
        let pattern = pattern.into_bytes();
        let mut borders = vec![0; pattern.len()];
        let mut matched = 0;
        for n in 1..pattern.len() {
            matched = advance(&pattern, &borders, matched, pattern[n]);
            borders[n] = matched;
        }
        Self {
            pattern,
            borders,
            matched: 0,
        }
    }

    /// Reads a byte; true if it completes the pattern.
    fn step(&mut self, byte: u8) -> bool {
        self.matched = advance(&self.pattern, &self.borders, self.matched, byte);
        self.matched == self.pattern.len()
    }
}

/// The longest prefix of `pattern` that ends the text, after `byte`. `matched` is shorter than `pattern`.
fn advance(pattern: &[u8], borders: &[usize], mut matched: usize, byte: u8) -> usize {
    while pattern[matched] != byte {
        if matched == 0 {
            return 0;
        }
        matched = borders[matched - 1];
    }
    matched + 1
}

/// Ends a stream of text at the first stop string.
///
/// The match that completes first wins; of those completing at the same byte the longest. Text before
/// it is emitted, the stop string itself only if asked for, what follows it never.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<Automaton>,
    include_stop_str_in_output: bool,
    held: String,
    stopped: Option<usize>,
}

impl StopMatcher {
    /// A matcher of `stops`; with none all text passes at once. An empty stop string is an error.
    pub fn new(stops: Vec<String>, include_stop_str_in_output: bool) -> Result<Self, StopError> {
        if let Some(i) = stops.iter().position(String::is_empty) {
            return Err(StopError::Empty(i));
        }
        Ok(Self {
            stops: stops.into_iter().map(Automaton::new).collect(),
            include_stop_str_in_output,
            held: String::new(),
            stopped: None,
        })
    }

    /// Takes the next chunk; returns what is now certain.
    pub fn push(&mut self, text: &str) -> Emit {
        if self.stopped.is_some() {
            return Emit {
                text: String::new(),
                stopped: self.stopped,
            };
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (i, byte) in text.bytes().enumerate() {
            let mut hit: Option<(usize, usize)> = None;
            for (idx, stop) in self.stops.iter_mut().enumerate() {
                let len = stop.pattern.len();
                if stop.step(byte) && hit.is_none_or(|(_, longest)| len > longest) {
                    hit = Some((idx, len));
                }
            }
            if let Some((idx, len)) = hit {
                let end = before + i + 1;
                let keep = if self.include_stop_str_in_output {
                    end
                } else {
                    end - len
                };
                self.held.truncate(keep);
                self.stopped = Some(idx);
                return Emit {
                    text: std::mem::take(&mut self.held),
                    stopped: self.stopped,
                };
            }
        }
        let open = self.stops.iter().map(|s| s.matched).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - open);
        Emit {
            text: std::mem::replace(&mut self.held, rest),
            stopped: None,
        }
    }

    /// Ends the stream: returns what was held back in vain.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], include: bool, chunks: &[&str]) -> (String, Option<usize>) {
        let stops = stops.iter().map(|s| s.to_string()).collect();
        let mut matcher = StopMatcher::new(stops, include).unwrap();
        let mut out = String::new();
        let mut stopped = None;
        for chunk in chunks {
            let emit = matcher.push(chunk);
            out.push_str(&emit.text);
            stopped = emit.stopped;
        }
        out.push_str(&matcher.finish());
        (out, stopped)
    }

    #[test]
    fn a_stop_string_cut_across_tokens_is_found_and_not_shown() {
        assert_eq!(
            run(&["\n\nUser:"], false, &["Hi.\n", "\nUs", "er: x"]),
            ("Hi.".into(), Some(0))
        );
        assert_eq!(
            run(&["END"], true, &["aE", "ND", "b"]),
            ("aEND".into(), Some(0))
        );
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let mut matcher = StopMatcher::new(vec!["</s>".into()], false).unwrap();
        assert_eq!(matcher.push("a<").text, "a");
        assert_eq!(matcher.push("b").text, "<b");
        assert_eq!(matcher.push("</s").text, "");
        assert_eq!(matcher.finish(), "</s");
    }

    #[test]
    fn of_two_matches_the_first_to_complete_wins_then_the_longest() {
        assert_eq!(
            run(&["abcd", "bc"], false, &["xabcd"]),
            ("xa".into(), Some(1))
        );
        assert_eq!(run(&["bc", "abc"], false, &["xabc"]), ("x".into(), Some(1)));
    }

    #[test]
    fn an_empty_stop_string_is_an_error_naming_its_index() {
        let error = StopMatcher::new(vec!["a".into(), String::new()], false).unwrap_err();
        assert_eq!(error, StopError::Empty(1));
        assert!(error.to_string().contains("stop[1]"));
    }

    /// The definition, on the whole text.
    fn naive(text: &str, stops: &[String], include: bool) -> (String, Option<usize>) {
        for end in 1..=text.len() {
            let hit = stops
                .iter()
                .enumerate()
                .filter(|(_, s)| text.as_bytes()[..end].ends_with(s.as_bytes()))
                .max_by_key(|(i, s)| (s.len(), std::cmp::Reverse(*i)));
            if let Some((i, stop)) = hit {
                let keep = if include { end } else { end - stop.len() };
                return (text[..keep].to_string(), Some(i));
            }
        }
        (text.to_string(), None)
    }

    proptest! {
        #[test]
        fn any_cut_gives_what_a_search_of_the_whole_gives(
            chunks in proptest::collection::vec("[abé]{0,4}", 0..8),
            stops in proptest::collection::vec("[abé]{1,4}", 0..4),
            include in any::<bool>(),
        ) {
            let text = chunks.concat();
            let parts: Vec<&str> = chunks.iter().map(String::as_str).collect();
            let names: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (out, stopped) = run(&names, include, &parts);
            prop_assert_eq!((out, stopped), naive(&text, &stops, include));
        }

        #[test]
        fn no_more_is_held_than_could_become_a_stop(
            text in "[ab]{0,12}",
            stop in "[ab]{1,4}",
        ) {
            let mut matcher = StopMatcher::new(vec![stop.clone()], false).unwrap();
            let emit = matcher.push(&text);
            if emit.stopped.is_none() {
                let held = (0..stop.len()).rev().find(|&n| text.ends_with(&stop[..n])).unwrap();
                prop_assert_eq!(emit.text.len(), text.len() - held);
            }
        }
    }
}
