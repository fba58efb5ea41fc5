//! What comes of an answer.

use crate::text::Piece;

/// The next part of one choice, or what the answer took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteDelta {
    /// Which choice it is of.
    pub choice: usize,
    /// What it is of a message; a completion's text is content.
    pub pieces: Vec<Piece>,
    /// The content among them as one text.
    pub text: String,
    /// Set with the last part of the choice.
    pub finish: Option<RemoteFinish>,
    /// What the whole answer took so far; the last one counts. It may come after every finish.
    pub usage: Option<RemoteUsage>,
}

impl RemoteDelta {
    /// Whether it is part of the answer, and not just of its accounts.
    pub(super) fn is_answer(&self) -> bool {
        !self.pieces.is_empty() || self.finish.is_some()
    }
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteFinish {
    /// The model ended it, or a stop string did.
    Stop,
    /// It had as many tokens as it was allowed.
    Length,
    /// Tools are to be called.
    ToolCalls,
    /// A filter cut it off.
    ContentFilter,
    /// For a reason of the server's own, or for none that it gave.
    Other,
}

/// Tokens, as the other server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteUsage {
    /// Of the prompt.
    pub prompt: u64,
    /// Of all choices together.
    pub completion: u64,
    /// Of the prompt, found in a cache.
    pub cached: u64,
}
