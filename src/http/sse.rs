//! An incremental parser of server-sent events (WHATWG HTML, §9.2.6 "Interpreting an event stream").
//!
//! Invariant: the events depend on the bytes alone, never on how they were cut into chunks.

/// The most bytes one event may have: a server that never ends a line must not fill the memory.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The last `event` field, empty without one.
    pub name: String,
    /// The `data` fields, joined by line feeds.
    pub data: String,
}

/// What makes a body no event stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line isn't UTF-8.
    #[error("a line is not UTF-8")]
    NotUtf8,
    /// An event is larger than what is read of one.
    #[error("an event has more than {MAX_EVENT_BYTES} bytes")]
    TooLong,
}

/// Turns bytes into events as they come.
#[derive(Default)]
pub struct SseParser {
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    after_cr: bool,
    past_first_line: bool,
}

impl SseParser {
    /// Appends to `events` those that `bytes` complete. An event is complete at its blank line; one that the stream
    /// leaves unfinished is dropped, as the standard says.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.event.data.len() + self.line.len() + part.len() > MAX_EVENT_BYTES {
                return Err(SseError::TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.end_line(events)?;
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = str::from_utf8(&bytes).map_err(|_| SseError::NotUtf8)?;
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event.name),
            // A comment has an empty field; `id`, `retry` and unknown fields mean nothing here.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<(String, String)>, SseError> {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        for chunk in chunks {
            parser.push(chunk, &mut events)?;
        }
        Ok(events.into_iter().map(|e| (e.name, e.data)).collect())
    }

    fn data(text: &str) -> Vec<String> {
        parse([text.as_bytes()])
            .unwrap()
            .into_iter()
            .map(|(_, data)| data)
            .collect()
    }

    #[test]
    fn all_three_line_ends_work() {
        for end in ["\n", "\r\n", "\r"] {
            assert_eq!(
                data(&"data: a|data: b||data: c||".replace('|', end)),
                ["a\nb", "c"],
                "{end:?}"
            );
        }
    }

    #[test]
    fn comments_unknown_fields_and_empty_events_are_skipped() {
        assert_eq!(
            data(": ping\n\nid: 4\nretry: 10\nfoo\n\ndata: x\n: inside\n\n\n\n"),
            ["x"]
        );
    }

    #[test]
    fn one_space_after_the_colon_goes_and_no_more() {
        assert_eq!(
            data("data:a\n\ndata:  b\n\ndata\n\ndata:c:d\n\n"),
            ["a", " b", "", "c:d"]
        );
    }

    #[test]
    fn an_event_name_holds_for_its_event_only() {
        let events =
            parse([&b"event: error\ndata: x\n\ndata: y\n\nevent: lost\n\ndata: z\n\n"[..]])
                .unwrap();
        assert_eq!(
            events,
            [("error", "x"), ("", "y"), ("", "z")].map(|(n, d)| (n.into(), d.into()))
        );
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_start_only() {
        assert_eq!(
            data("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n"),
            ["a", "c"]
        );
    }

    #[test]
    fn an_unfinished_event_is_not_dispatched() {
        assert!(data("data: a\n").is_empty());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_error() {
        assert_eq!(parse([&b"data: \xff\n"[..]]), Err(SseError::NotUtf8));
    }

    #[test]
    fn an_endless_line_is_an_error_not_an_endless_buffer() {
        let chunk = vec![b'x'; 1 << 20];
        assert_eq!(
            parse(std::iter::repeat_n(&chunk[..], 17)),
            Err(SseError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "data: ", "data:", "event: ", ":", "é", "火", "🔥", "x", " ", "\r", "\n", "\r\n", "\n\n", "\r\n\r\n",
                    "\u{feff}", "{\"a\":1}", "[DONE]",
                ]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)
        ) {
            let text = pieces.concat();
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let chunks = at.windows(2).map(|w| &bytes[w[0]..w[1]]);
            prop_assert_eq!(parse(chunks), parse([bytes]));
            prop_assert_eq!(parse(bytes.chunks(1)), parse([bytes]));
        }
    }
}
