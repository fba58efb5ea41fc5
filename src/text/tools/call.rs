//! One call, `{"name": …, "arguments": {…}}`, read while it is being written.

/// What the text of a call has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::text) enum CallEvent {
    /// The function's name.
    Name(String),
    /// The next piece of the arguments' JSON.
    Arguments(String),
    /// The call has ended.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Key,
    Colon,
    Value,
    AfterValue,
    End,
}

/// Reads an object key by key; the arguments may come before the name.
#[derive(Clone, Debug, Default)]
pub(in crate::text) struct CallReader {
    place: Place,
    /// The key being read, then the one whose value is.
    key: String,
    /// The value being read that is not passed on as it comes.
    value: String,
    /// Arguments that came before the name.
    early: Option<String>,
    has_name: bool,
    has_arguments: bool,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl CallReader {
    /// Reads the next character and appends what that leads to. False if it is no such object.
    pub fn push(&mut self, c: char, events: &mut Vec<CallEvent>) -> bool {
        match self.place {
            Place::Before => match c {
                '{' => self.place = Place::Key,
                c if c.is_whitespace() => {}
                _ => return false,
            },
            Place::Key => match c {
                '"' if !self.in_string => {
                    self.in_string = true;
                    self.key.clear();
                }
                '"' => {
                    self.in_string = false;
                    self.place = Place::Colon;
                }
                c if self.in_string => self.key.push(c),
                '}' => return self.end(events),
                c if c.is_whitespace() => {}
                _ => return false,
            },
            Place::Colon => match c {
                ':' => {
                    self.place = Place::Value;
                    self.value.clear();
                }
                c if c.is_whitespace() => {}
                _ => return false,
            },
            Place::Value => return self.value_char(c, events),
            Place::AfterValue => match c {
                ',' => self.place = Place::Key,
                '}' => return self.end(events),
                c if c.is_whitespace() => {}
                _ => return false,
            },
            Place::End => return c.is_whitespace(),
        }
        true
    }

    fn is_arguments(&self) -> bool {
        self.key == "arguments" || self.key == "parameters"
    }

    fn value_char(&mut self, c: char, events: &mut Vec<CallEvent>) -> bool {
        let is_blank = self.value.is_empty();
        if is_blank && c.is_whitespace() {
            return true;
        }
        // A number or a word ends before what follows it.
        if !self.in_string && self.depth == 0 && !is_blank && matches!(c, ',' | '}') {
            self.end_value(events);
            self.place = Place::AfterValue;
            return self.push(c, events);
        }
        self.value.push(c);
        if self.in_string {
            match c {
                _ if self.is_escaped => self.is_escaped = false,
                '\\' => self.is_escaped = true,
                '"' => self.in_string = false,
                _ => {}
            }
        } else {
            match c {
                '"' => self.in_string = true,
                '{' | '[' => self.depth += 1,
                '}' | ']' => match self.depth.checked_sub(1) {
                    Some(depth) => self.depth = depth,
                    None => return false,
                },
                _ => {}
            }
        }
        if self.is_arguments() && self.has_name {
            events.push(CallEvent::Arguments(c.to_string()));
        }
        let is_closed = !self.in_string && self.depth == 0 && matches!(c, '"' | '}' | ']');
        if is_closed {
            self.end_value(events);
            self.place = Place::AfterValue;
        }
        true
    }

    fn end_value(&mut self, events: &mut Vec<CallEvent>) {
        if self.is_arguments() {
            self.has_arguments = true;
            if !self.has_name {
                self.early = Some(std::mem::take(&mut self.value));
            }
        } else if self.key == "name" {
            // One that is no string is no name; the call then ends without one.
            if let Ok(name) = serde_json::from_str(&self.value) {
                self.has_name = true;
                events.push(CallEvent::Name(name));
                events.extend(self.early.take().map(CallEvent::Arguments));
            }
        }
        self.value.clear();
    }

    fn end(&mut self, events: &mut Vec<CallEvent>) -> bool {
        if !self.has_name {
            return false;
        }
        if !self.has_arguments {
            events.push(CallEvent::Arguments("{}".into()));
        }
        self.place = Place::End;
        events.push(CallEvent::End);
        true
    }

    /// Whether the object has ended.
    pub fn is_over(&self) -> bool {
        self.place == Place::End
    }

    /// Whether anything of it was passed on.
    pub fn has_name(&self) -> bool {
        self.has_name
    }
}
