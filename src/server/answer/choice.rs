//! One choice of an answer: engine events in, certain text out.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep_until;

use crate::engine::{EngineError, Event, EventStream};
use crate::gateway::{Answer, GivenChoice, Took};
use crate::request::{FinishReason, SampledToken, Timing, TokenLogprobs};
use crate::text::{Detokeniser, Piece, Splitter, StopMatcher, Tokenizer};

/// What one token led to.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Text that is certain now; may be empty.
    pub text: String,
    /// What it is of a message.
    pub pieces: Vec<Piece>,
    /// Whether the token is one of thoughts.
    pub is_thought: bool,
    /// The stop string that ended it.
    pub stopped: Option<String>,
    /// The token behind it; none where it never came.
    pub token: Option<SampledToken>,
    /// Where the time went, with the first.
    pub timing: Option<Timing>,
    /// The scores of the prompt's tokens, with the first, where they were asked for.
    pub prompt_logprobs: Vec<TokenLogprobs>,
    /// Set with the last one.
    pub finish: Option<FinishReason>,
}

/// How tokens become text; the same for all choices of a request.
#[derive(Clone)]
pub(crate) struct Reading {
    pub tokenizer: Arc<Tokenizer>,
    pub stops: StopMatcher,
    /// As the request has them.
    pub stop_strings: Arc<[String]>,
    pub skip_special_tokens: bool,
    /// Before so many tokens no stop string ends the answer.
    pub min_tokens: usize,
    /// Special tokens that are text all the same, since they mark parts of the answer.
    pub marks: Vec<u32>,
    pub splitter: Splitter,
    /// Whether thoughts are part of what is shown.
    pub shows_thoughts: bool,
    /// Whether log-probabilities are for nobody who reads the answer.
    pub hides_logprobs: bool,
}

/// Dropping it cancels its request in the engine.
pub(crate) enum Choice {
    /// What a model draws.
    Drawn(Box<Drawn>),
    /// A text that was there before; none once it is said.
    Said(Option<String>),
}

impl Choice {
    /// What `events` bring.
    pub fn drawn(events: EventStream, reading: Reading) -> Self {
        Self::Drawn(Box::new(Drawn::new(Events::Drawn(events), reading)))
    }

    /// Choice `i` of what was given before, not before a time, to a prompt of so many tokens.
    pub fn given_again(
        answer: Arc<Answer>,
        i: usize,
        (not_before, prompt_len): (Option<Instant>, usize),
        reading: Reading,
    ) -> Self {
        let events = Events::Kept {
            answer,
            i,
            next: 0,
            prompt_len,
            not_before,
        };
        Self::Drawn(Box::new(Drawn::new(events, reading)))
    }

    /// What is to be kept of it; `None` where it did not end by itself.
    pub fn given(&self) -> Option<GivenChoice> {
        match self {
            Self::Drawn(drawn) => drawn.given(),
            Self::Said(_) => None,
        }
    }

    /// How likely each of its tokens was, as far as the engine has said so, and how long they took.
    pub fn seen(&self) -> (&[f32], Took) {
        match self {
            Self::Drawn(drawn) => (&drawn.logprobs, drawn.took()),
            Self::Said(_) => (&[], Took::default()),
        }
    }

    /// Whether nothing more comes.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Drawn(drawn) => drawn.is_done,
            Self::Said(text) => text.is_none(),
        }
    }

    /// Whether it has a finish reason.
    pub fn is_finished(&self) -> bool {
        match self {
            Self::Drawn(drawn) => drawn.is_done && !drawn.has_failed,
            Self::Said(text) => text.is_none(),
        }
    }

    /// The tokens that came so far, of a choice that a model draws.
    pub fn tokens(&self) -> Option<&[u32]> {
        match self {
            Self::Drawn(drawn) => Some(&drawn.tokens),
            Self::Said(_) => None,
        }
    }

    /// After a failure: what comes next, `events` bring.
    pub fn goes_on(&mut self, events: EventStream) {
        if let Self::Drawn(drawn) = self {
            drawn.events = Events::Drawn(events);
            (drawn.is_done, drawn.has_failed) = (false, false);
        }
    }

    /// The next delta, of a token or of the whole text; `None` after the last. Safe to cancel: nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Delta, EngineError>> {
        match self {
            Self::Drawn(drawn) => drawn.next().await,
            Self::Said(text) => text.take().map(|text| {
                Ok(Delta {
                    pieces: vec![Piece::Content(text.clone())],
                    text,
                    finish: Some(FinishReason::Stop),
                    ..Delta::default()
                })
            }),
        }
    }
}

/// Where tokens come from.
enum Events {
    /// The engine.
    Drawn(EventStream),
    /// What it has sent before: the `i`th choice, from its `next` token on.
    Kept {
        answer: Arc<Answer>,
        i: usize,
        next: usize,
        prompt_len: usize,
        not_before: Option<Instant>,
    },
}

impl Events {
    async fn recv(&mut self) -> Option<Event> {
        match self {
            Self::Drawn(events) => events.recv().await,
            Self::Kept {
                answer,
                i,
                next,
                prompt_len,
                not_before,
            } => {
                if let Some(time) = *not_before {
                    sleep_until(time.into()).await;
                }
                // It is there at once, and others want the thread, too.
                tokio::task::consume_budget().await;
                let given = &answer.choices[*i];
                let token_id = *given.tokens.get(*next)?;
                *next += 1;
                let is_last = *next == given.tokens.len();
                Some(Event::Token {
                    token: SampledToken {
                        token_id,
                        logprobs: None,
                    },
                    timing: (*next == 1).then(|| Timing {
                        num_cached_tokens: *prompt_len,
                        ..Timing::default()
                    }),
                    finish: (is_last && given.has_end).then_some(FinishReason::Stop),
                })
            }
        }
    }

    fn finish(&mut self) {
        match self {
            Self::Drawn(events) => events.finish(),
            Self::Kept { .. } => {}
        }
    }
}

/// A choice whose tokens the engine sends, or has sent before.
pub(crate) struct Drawn {
    events: Events,
    reading: Reading,
    detokeniser: Detokeniser,
    prompt_logprobs: Vec<TokenLogprobs>,
    /// Those that came, and how likely they were.
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    /// When the first of them came, and what the engine says of that.
    first: Option<(Instant, Timing)>,
    /// How it has ended, and how the engine has ended it.
    finish: Option<FinishReason>,
    engine_finish: Option<FinishReason>,
    is_done: bool,
    has_failed: bool,
}

impl Drawn {
    fn new(events: Events, reading: Reading) -> Self {
        let detokeniser = reading.tokenizer.detokeniser();
        Self {
            events,
            reading,
            detokeniser,
            prompt_logprobs: Vec::new(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            first: None,
            finish: None,
            engine_finish: None,
            is_done: false,
            has_failed: false,
        }
    }

    /// What is to be kept; nothing where it was cut off, also where what was left of it then held a stop string.
    fn given(&self) -> Option<GivenChoice> {
        let is_cut = matches!(self.engine_finish, Some(finish) if finish != FinishReason::Stop);
        let is_whole = self.finish == Some(FinishReason::Stop) && !is_cut;
        is_whole.then(|| GivenChoice {
            tokens: self.tokens.clone(),
            has_end: self.engine_finish.is_some(),
        })
    }

    async fn next(&mut self) -> Option<Result<Delta, EngineError>> {
        while !self.is_done {
            match self.events.recv().await? {
                Event::Prompt(scores) => self.prompt_logprobs = scores,
                Event::Token {
                    token,
                    timing,
                    finish,
                } => return Some(Ok(self.delta(token, timing, finish))),
                Event::Failed(error) => {
                    (self.is_done, self.has_failed) = (true, true);
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// How long it took the engine so far.
    fn took(&self) -> Took {
        let Some((first, timing)) = self.first else {
            return Took::default();
        };
        Took {
            ttft: timing.queue + timing.prefill,
            engine: timing.prefill + first.elapsed(),
        }
    }

    fn delta(
        &mut self,
        mut token: SampledToken,
        timing: Option<Timing>,
        finish: Option<FinishReason>,
    ) -> Delta {
        self.tokens.push(token.token_id);
        let scores = token.logprobs.as_ref();
        self.logprobs.extend(scores.map(|scores| scores.chosen));
        if self.reading.hides_logprobs {
            token.logprobs = None;
        }
        if let Some(timing) = timing {
            self.first.get_or_insert((Instant::now(), timing));
        }
        self.engine_finish = finish;
        let (text, finish, stopped) = self.read(token.token_id, finish);
        self.finish = finish;
        let mut pieces = Vec::new();
        let is_thought = self.reading.splitter.is_in_thoughts();
        self.reading.splitter.push(&text, &mut pieces);
        if finish.is_some() {
            self.is_done = true;
            self.reading.splitter.finish(&mut pieces);
            // Tells the engine, when it was a stop string that ended it.
            self.events.finish();
        }
        if !self.reading.shows_thoughts {
            pieces.retain(|piece| !matches!(piece, Piece::Reasoning(_)));
        }
        Delta {
            is_thought,
            stopped: stopped.map(|i| self.reading.stop_strings[i].clone()),
            text,
            pieces,
            token: Some(token),
            timing,
            prompt_logprobs: std::mem::take(&mut self.prompt_logprobs),
            finish,
        }
    }

    /// The text that a token makes certain, whether the answer ends with it, and at which stop string.
    fn read(
        &mut self,
        id: u32,
        finish: Option<FinishReason>,
    ) -> (String, Option<FinishReason>, Option<usize>) {
        let reading = &mut self.reading;
        // The token that stopped it is not part of the answer, nor are special tokens unless asked for.
        let is_hidden = finish == Some(FinishReason::Stop)
            || (reading.skip_special_tokens
                && reading.tokenizer.is_special(id)
                && !reading.marks.contains(&id));
        let bytes = match is_hidden {
            true => &[],
            false => reading.tokenizer.token_bytes(id),
        };
        let text = self.detokeniser.push(bytes);
        if self.tokens.len() < reading.min_tokens && finish.is_none() {
            return (text.to_owned(), None, None);
        }
        let mut emit = reading.stops.push(text);
        if finish.is_some() && emit.stopped.is_none() {
            let tail = reading.stops.push(self.detokeniser.finish());
            emit.text.push_str(&tail.text);
            emit.stopped = tail.stopped;
            if emit.stopped.is_none() {
                emit.text.push_str(&reading.stops.finish());
            }
        }
        let is_stopped = emit.stopped.is_some();
        (
            emit.text,
            is_stopped.then_some(FinishReason::Stop).or(finish),
            emit.stopped,
        )
    }
}
