//! Text on its way to and from token ids: messages, chat template, tokenizer, incremental
//! detokeniser, stop strings; what an answer is to look like, and its parts: thoughts, content, calls.
//!
//! Invariants:
//! - Nothing here knows a model, the engine or HTTP; all types are plain data, shared by `Arc`.
//! - What a client writes never becomes a special token: [`encode_chat`] keeps special tokens to the
//!   template, and [`Specials::Plain`] reads all text as ordinary text.
//! - Text streamed through [`Detokeniser`] and [`StopMatcher`] does not depend on where the tokens
//!   or chunks were cut.

mod bpe;
mod byte_level;
mod chat;
mod detokeniser;
mod encoder_tokenizer;
mod error;
mod gguf;
mod grammar;
mod hf_json;
mod message;
mod output;
mod pre_tokenizer;
mod python;
mod reasoning;
mod special;
mod stop;
mod strftime;
mod template;
mod token_table;
mod tokenizer;
mod tools;

pub use chat::{Prompt, encode_chat};
pub use detokeniser::Detokeniser;
pub use encoder_tokenizer::EncoderTokenizer;
pub use error::{ChatError, StopError, TemplateError, TokenizerError};
pub use gguf::{GgufVocab, TokenizerFiles};
pub use grammar::{GrammarError, Grammars, Rule};
pub use message::{Conversation, FunctionCall, Message, Role, ToolCall};
pub use output::{Marks, Piece, Splitter};
pub use reasoning::{AfterThoughts, ThinkTokens};
pub use stop::{Emit, StopMatcher};
pub use template::ChatTemplate;
pub use tokenizer::{Specials, Tokenizer};
pub use tools::{
    Choice as ToolChoice, ToolFormat, ToolRules, ToolStyle, spelt_out, with_instructions,
};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod test_vocab;
