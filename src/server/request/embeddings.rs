//! The body of `/v1/embeddings`: what is to be embedded, and how the vectors are to be.

use serde_json::Value;

use super::fields::{
    Field, Fields, NEVER, Support::Hint, Support::Honoured, Support::Only, Support::Required, typed,
};
use super::form::Form::{Either, Integer, List, Text, Word};
use super::form::{Form, TOKEN_IDS};
use crate::engine::MAX_WAITING_TOKENS;
use crate::server::embedder::LoadedEncoder;
use crate::server::error::ApiError;
use crate::text::TokenizerError;

/// All fields of the endpoint: OpenAI's, vLLM's, and `long_input`, which is our own.
pub(crate) const FIELDS: &[Field] = &[
    ("input", Required(INPUT)),
    ("model", Honoured(Text)),
    ("encoding_format", Honoured(Word(&["float", "base64"]))),
    ("dimensions", Honoured(Integer(1, u32::MAX as i64))),
    ("user", Honoured(Text)),
    ("long_input", Honoured(Word(&["refuse", "mean_of_chunks"]))),
    (
        "truncate_prompt_tokens",
        Honoured(Integer(-1, u32::MAX as i64)),
    ),
    ("truncation_side", Only(&["\"right\""])),
    ("add_special_tokens", Only(&["true"])),
    ("embed_dtype", Only(&["\"float32\""])),
    ("endianness", Only(&["\"native\"", "\"little\""])),
    ("use_activation", Only(&["true"])),
    ("normalize", Only(&["true"])),
    ("padding", Only(&["\"do_not_pad\""])),
    ("priority", Only(&["0"])),
    ("cache_salt", Hint("nothing is cached")),
    ("request_id", NEVER),
    ("messages", NEVER),
    ("mm_processor_kwargs", NEVER),
    ("media_io_kwargs", NEVER),
    ("add_generation_prompt", NEVER),
    ("continue_final_message", NEVER),
    ("chat_template", NEVER),
    ("chat_template_kwargs", NEVER),
];

/// A string or a list of token ids, or several of either.
const INPUT: Form = Either(&[Text, TOKEN_IDS, List(&Either(&[Text, TOKEN_IDS]))]);

/// OpenAI's limits: of texts, and of the tokens of all of them.
const MAX_INPUTS: usize = 2048;
const MAX_TOKENS: usize = 300_000;
const _: () = assert!(
    MAX_TOKENS <= MAX_WAITING_TOKENS,
    "a request alone finds room"
);

/// A checked request, apart from what only the tokenizer can say.
pub(crate) struct EmbeddingRequest {
    inputs: Vec<Input>,
    /// Whether the input was a list, for the names in errors.
    is_list: bool,
    long_input: LongInput,
    pub encoding: Encoding,
    dimensions: Option<usize>,
    pub user: Option<String>,
}

enum Input {
    Text(String),
    Ids(Vec<u32>),
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A list of numbers.
    Float,
    /// The bytes of its float32 values, little end first.
    Base64,
}

/// What becomes of a text that is longer than the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LongInput {
    /// An error.
    Refuse,
    /// The mean of the vectors of its parts, each weighted by its tokens.
    MeanOfChunks,
    /// Its first tokens, this many with the special ones.
    Truncate(Option<usize>),
}

/// The texts that are to be computed.
pub(crate) struct Texts {
    /// Token ids with the special tokens.
    pub pieces: Vec<Vec<u32>>,
    /// How many pieces each input has; none has zero.
    pub pieces_of: Vec<usize>,
    /// Values of a vector that are wanted.
    pub dimensions: usize,
}

impl EmbeddingRequest {
    /// Takes all fields but `model`.
    pub fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let (inputs, is_list) = inputs(fields.required("input")?)?;
        let encoding = match fields.word("encoding_format")? {
            Some("base64") => Encoding::Base64,
            _ => Encoding::Float,
        };
        let long_input = fields.word("long_input")?.map(|word| match word {
            "mean_of_chunks" => LongInput::MeanOfChunks,
            _ => LongInput::Refuse,
        });
        let truncated = fields.integer("truncate_prompt_tokens")?;
        let long_input = match (truncated, long_input) {
            (None, long_input) => long_input.unwrap_or(LongInput::Refuse),
            (Some(_), Some(_)) => {
                let message = "truncate_prompt_tokens and long_input both say what becomes of long texts: send one";
                return Err(ApiError::field("truncate_prompt_tokens", message));
            }
            (Some(length), None) => LongInput::Truncate(usize::try_from(length).ok()),
        };
        let dimensions = fields.integer("dimensions")?;
        fields.opt::<Value>("cache_salt")?;
        Ok(Self {
            inputs,
            is_list,
            long_input,
            encoding,
            dimensions: dimensions.map(|count| count as usize),
            user: fields.opt("user")?,
        })
    }

    /// Characters of all texts.
    pub fn num_chars(&self) -> usize {
        let chars = self.inputs.iter().map(|input| match input {
            Input::Text(text) => text.chars().count(),
            Input::Ids(_) => 0,
        });
        chars.sum()
    }

    /// Tokenises the texts, which takes time, and fits them to the window.
    pub fn texts(&self, model: &LoadedEncoder) -> Result<Texts, ApiError> {
        let dimensions = self.dimensions.unwrap_or(model.dimension);
        if dimensions > model.dimension {
            let message = format!(
                "dimensions is {dimensions}, but the model's vectors have {}",
                model.dimension
            );
            return Err(ApiError::field("dimensions", message));
        }
        let (mut pieces, mut pieces_of, mut num_tokens) = (Vec::new(), Vec::new(), 0);
        for (i, input) in self.inputs.iter().enumerate() {
            let name = match self.is_list {
                true => format!("input[{i}]"),
                false => "input".to_owned(),
            };
            let own = own_tokens(input, &name, model)?;
            let before = pieces.len();
            self.fit(&own, &name, model, &mut pieces)?;
            pieces_of.push(pieces.len() - before);
            num_tokens += pieces[before..].iter().map(Vec::len).sum::<usize>();
            if num_tokens > MAX_TOKENS {
                let message = format!(
                    "input has more than {MAX_TOKENS} tokens, which is the most for one call: send fewer texts"
                );
                return Err(ApiError::field("input", message));
            }
        }
        Ok(Texts {
            pieces,
            pieces_of,
            dimensions,
        })
    }

    fn fit(
        &self,
        own: &[u32],
        name: &str,
        model: &LoadedEncoder,
        pieces: &mut Vec<Vec<u32>>,
    ) -> Result<(), ApiError> {
        let (tokenizer, window) = (&model.tokenizer, model.window);
        let room = window - tokenizer.num_specials();
        match self.long_input {
            LongInput::Truncate(Some(length))
                if !(tokenizer.num_specials() + 1..=window).contains(&length) =>
            {
                let message = format!(
                    "truncate_prompt_tokens is {length}, but must be -1 or in {}..={window}, special tokens included",
                    tokenizer.num_specials() + 1
                );
                return Err(ApiError::field("truncate_prompt_tokens", message));
            }
            LongInput::Truncate(length) => {
                let length = length.unwrap_or(window) - tokenizer.num_specials();
                pieces.push(tokenizer.framed(&own[..own.len().min(length)]));
            }
            LongInput::MeanOfChunks if own.len() > room => {
                // Of nearly the same length, so that no part is a mere rest.
                let num_chunks = own.len().div_ceil(room);
                let chunks = (0..num_chunks)
                    .map(|i| i * own.len() / num_chunks..(i + 1) * own.len() / num_chunks);
                pieces.extend(chunks.map(|chunk| tokenizer.framed(&own[chunk])));
            }
            LongInput::Refuse if own.len() > room => {
                let message = format!(
                    "{name} has {} tokens; the embedding model's window is {window}. Send shorter texts, or long_input: \"mean_of_chunks\", or truncate_prompt_tokens",
                    own.len() + tokenizer.num_specials()
                );
                return Err(ApiError::context_length(name, message));
            }
            LongInput::MeanOfChunks | LongInput::Refuse => pieces.push(tokenizer.framed(own)),
        }
        Ok(())
    }
}

fn own_tokens(input: &Input, name: &str, model: &LoadedEncoder) -> Result<Vec<u32>, ApiError> {
    let tokenizer = &model.tokenizer;
    match input {
        Input::Text(text) => Ok(tokenizer
            .encode(text)
            .map_err(|error: TokenizerError| ApiError::internal(error.to_string()))?),
        Input::Ids(ids) => {
            let num_ids = tokenizer.num_ids();
            if let Some(i) = ids.iter().position(|&id| id as usize >= num_ids) {
                let message = format!(
                    "{name}[{i}] is {}, but the embedding model's vocabulary has {num_ids} tokens. {OTHER_VOCABULARY}",
                    ids[i]
                );
                return Err(ApiError::field(name, message));
            }
            // Ids of another vocabulary would be embedded as other words, and nobody would notice.
            let own = tokenizer.unframed(ids).ok_or_else(|| {
                let message = format!(
                    "{name} must begin and end with the embedding model's special tokens, as its own tokenizer gives them. {OTHER_VOCABULARY}"
                );
                ApiError::field(name, message)
            })?;
            Ok(own.to_vec())
        }
    }
}

const OTHER_VOCABULARY: &str = "A client that tokenises for OpenAI's models must send text (LangChain: check_embedding_ctx_length=False)";

/// A string or a list of token ids, or several of either.
fn inputs(value: Value) -> Result<(Vec<Input>, bool), ApiError> {
    match value {
        Value::Array(list) if list.iter().any(|item| !item.is_number()) => {
            if list.len() > MAX_INPUTS {
                let message = format!(
                    "input has {} texts; at most {MAX_INPUTS} are allowed in one call",
                    list.len()
                );
                return Err(ApiError::field("input", message));
            }
            let inputs = list.into_iter().enumerate();
            let inputs = inputs.map(|(i, item)| input(item, &format!("input[{i}]")));
            Ok((inputs.collect::<Result<_, _>>()?, true))
        }
        one => Ok((vec![input(one, "input")?], false)),
    }
}

fn input(value: Value, name: &str) -> Result<Input, ApiError> {
    let input = match value {
        Value::String(text) => Input::Text(text),
        Value::Array(_) => Input::Ids(typed(name, value)?),
        _ => {
            let message = format!("{name} must be a string or a list of token ids");
            return Err(ApiError::field(name, message));
        }
    };
    let is_empty = match &input {
        Input::Text(text) => text.is_empty(),
        Input::Ids(ids) => ids.is_empty(),
    };
    match is_empty {
        true => Err(ApiError::field(
            name,
            format!("{name} is empty; there is nothing to embed"),
        )),
        false => Ok(input),
    }
}
