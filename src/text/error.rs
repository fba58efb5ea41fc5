//! What can go wrong with text, by who must act.

use thiserror::Error;

/// A tokenizer that cannot be loaded (the operator's to solve), or a text it cannot encode.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// `tokenizer.ggml.model` names a kind of vocabulary that is not read here.
    #[error(
        "tokenizer.ggml.model is {0:?}; supported are \"gpt2\" (byte-level BPE) and \"llama\" \
         (SentencePiece BPE)"
    )]
    UnsupportedGgufModel(String),
    /// `tokenizer.ggml.pre` is missing, so the split into words is not known.
    #[error(
        "tokenizer.ggml.pre is missing: without it the split into words is a guess; convert the \
         model again with a converter that writes it, as one of: {known}"
    )]
    MissingPre {
        /// The names that are known.
        known: String,
    },
    /// `tokenizer.ggml.pre` names a split into words that is not known.
    #[error("tokenizer.ggml.pre is {pre:?}, which is not known; known are: {known}")]
    UnknownPre {
        /// The name found.
        pre: String,
        /// The names that are known.
        known: String,
    },
    /// A field does not fit the others.
    #[error("{field}: {problem}")]
    Field {
        /// The GGUF key or JSON path.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `tokenizer.json` or `tokenizer_config.json` is not what its format says.
    #[error("{file}: {source}")]
    Json {
        /// The file.
        file: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The tokenizer failed on a text.
    #[error("the text could not be tokenised: {0}")]
    Encode(String),
}

impl TokenizerError {
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// A chat template that is missing or wrong (the operator's to solve), or that refused the messages
/// ([`TemplateError::Raised`], the client's).
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The model brings none.
    #[error("the model has no chat template; give one with --chat-template FILE")]
    Missing,
    /// It does not compile.
    #[error("the chat template does not compile: line {line}: {problem}")]
    Syntax {
        /// The line, from 1 (0 where the parser knows none).
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The template itself refused the messages, by `raise_exception`.
    #[error("the model's chat template refuses these messages: {0}")]
    Raised(String),
    /// It failed while rendering.
    #[error("the chat template failed: line {line}: {problem}")]
    Render {
        /// The line, from 1 (0 where unknown).
        line: usize,
        /// What went wrong there.
        problem: String,
    },
}

/// A conversation that could not be turned into a prompt.
#[derive(Debug, Error)]
pub enum ChatError {
    /// The template failed or refused.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The rendered text could not be tokenised.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// No noncharacter is left to keep special tokens apart from text that spells them.
    #[error(
        "messages: the text uses all 32 noncharacters U+FDD0..U+FDEF, which are not meant for \
         interchange; remove one"
    )]
    NoncharactersExhausted,
}

/// Stop strings that cannot be matched.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StopError {
    /// An empty string would stop everything at once.
    #[error("stop[{0}] is empty; a stop string needs at least one character")]
    Empty(usize),
}
