//! The fields that chat and completions share, from JSON to the engine's request.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::caller::{Caller, caller};
use super::chat_prompt::ChatPrompt;
use super::fields::{Field, Fields, NEVER, Support::Honoured, Support::Only, typed};
use super::form::Form::{Bool, Either, Integer, Number, Table, Text, Word};
use super::form::{Form, STRINGS, TEXTS, TOKEN_IDS, at_least};
use super::framing::{self, Framing};
use super::output_format;
use super::sampling::{sampling, token_ids};
use super::tools::Tools;
use super::urgency::{self, Standing};
use crate::constraint::Constraint;
use crate::request::{GenerateRequest, Priority, PromptLogprobs, SamplingParams, StopCriteria};
use crate::server::error::ApiError;
use crate::server::state::ServedModel;
use crate::text::{AfterThoughts, Marks, Prompt, StopMatcher};

/// Stop strings a request may have.
const MAX_STOPS: usize = 16;
/// Stop tokens a request may have.
const MAX_STOP_TOKEN_IDS: usize = 1024;
/// Answers to one request: prompts times choices.
pub(crate) const MAX_CHOICES: i64 = 128;
/// Alternatives a token.
pub(crate) const MAX_LOGPROBS: i64 = 20;
/// The shared part of both endpoints' tables.
pub(crate) const SHARED: &[Field] = &[
    ("model", Honoured(Text)),
    ("stream", Honoured(Bool)),
    ("stream_options", Honoured(Table(framing::STREAM_OPTIONS))),
    ("max_tokens", Honoured(at_least(1))),
    ("min_tokens", Honoured(at_least(0))),
    ("temperature", Honoured(Number(0.0, 100.0))),
    ("top_p", Honoured(Number(0.0, 1.0))),
    ("top_k", Honoured(Integer(-1, u32::MAX as i64))),
    ("min_p", Honoured(Number(0.0, 1.0))),
    ("presence_penalty", Honoured(Number(-2.0, 2.0))),
    ("frequency_penalty", Honoured(Number(-2.0, 2.0))),
    ("repetition_penalty", Honoured(Number(0.01, 100.0))),
    ("seed", Honoured(Integer(i64::MIN, i64::MAX))),
    ("stop", Honoured(Either(&[Text, TEXTS]))),
    ("stop_token_ids", Honoured(TOKEN_IDS)),
    ("ignore_eos", Honoured(Bool)),
    ("logit_bias", Honoured(Form::Map(&Number(-100.0, 100.0)))),
    ("skip_special_tokens", Honoured(Bool)),
    ("include_stop_str_in_output", Honoured(Bool)),
    ("return_tokens_as_token_ids", Honoured(Bool)),
    ("return_token_ids", Honoured(Bool)),
    ("user", Honoured(Text)),
    ("metadata", Honoured(STRINGS)),
    ("prompt_logprobs", Honoured(Integer(0, MAX_LOGPROBS))),
    ("n", Honoured(Integer(1, MAX_CHOICES))),
    ("priority", Honoured(urgency::PRIORITY)),
    ("deadline_ms", Honoured(urgency::DEADLINE_MS)),
    FALLBACK,
    GIVEN_AGAIN,
    // Accepted where they ask for nothing.
    ("use_beam_search", Only(&["false"])),
    ("length_penalty", Only(&["1", "1.0"])),
    ("spaces_between_special_tokens", Only(&["true"])),
    ("service_tier", Honoured(urgency::SERVICE_TIER)),
    ("bad_words", Only(&["[]"])),
    ("allowed_token_ids", NEVER),
    ("truncate_prompt_tokens", NEVER),
    ("truncation_side", NEVER),
    ("repetition_detection", NEVER),
    ("logits_processors", NEVER),
    ("cache_salt", NEVER),
    ("request_id", NEVER),
    ("session_id", Honoured(Text)),
    ("safety_identifier", Honoured(Text)),
    ("kv_transfer_params", NEVER),
    ("ec_transfer_params", NEVER),
    ("watermarking", Only(&["false"])),
    ("logprob_token_ids", NEVER),
    ("stream_interval", Only(&["1"])),
    ("routed_experts_prompt_start", Only(&["0"])),
    ("return_token_offsets", Only(&["false"])),
    ("return_mm_kwargs", Only(&["true", "false"])),
    ("vllm_xargs", NEVER),
];

/// Whether others than the model asked for may answer; and go on with what it has begun.
pub(crate) const FALLBACK: Field = ("fallback", Honoured(Either(&[Bool, Word(&[CONTINUE])])));
/// Whether an answer that was given before is wanted, also where tokens are drawn at random.
pub(crate) const GIVEN_AGAIN: Field = ("cache", Honoured(Bool));
/// See [`FALLBACK`].
pub(crate) const CONTINUE: &str = "continue";

/// A validated request without its prompt.
pub(crate) struct Generate {
    pub sampling: SamplingParams,
    pub framing: Framing,
    pub caller: Caller,
    pub stops: StopMatcher,
    pub stop_strings: Arc<[String]>,
    /// Choices a prompt that the answer shows, and those that they are the best of.
    pub num_choices: usize,
    pub num_candidates: usize,
    pub min_tokens: usize,
    pub prompt_logprobs: Option<u32>,
    /// What the answer's text may be taken apart by.
    pub marks: Marks,
    pub shows_thoughts: bool,
    /// Whether the engine is asked for log-probabilities that nobody else is to see.
    pub hides_logprobs: bool,
    scored_alternatives: Option<u32>,
    format: Option<output_format::Asked>,
    constraint: Option<Box<dyn Constraint>>,
    max_tokens: Option<(&'static str, usize)>,
    ignores_eos: bool,
    stop_token_ids: Vec<u32>,
    priority: Priority,
    deadline: Option<Duration>,
}

impl Generate {
    /// Takes the shared fields. `logprobs` is the endpoint's own reading of its fields.
    pub fn take(
        fields: &mut Fields,
        model: &ServedModel,
        standing: Standing,
        logprobs: Option<u32>,
    ) -> Result<Self, ApiError> {
        let mut stop_token_ids = token_ids(fields, "stop_token_ids", model)?;
        let ignores_eos = fields.opt("ignore_eos")?.unwrap_or(false);
        if !ignores_eos {
            stop_token_ids.extend_from_slice(model.tokenizer.eos_ids());
        }
        stop_token_ids.sort_unstable();
        stop_token_ids.dedup();
        if stop_token_ids.len() > MAX_STOP_TOKEN_IDS {
            let message = format!("at most {MAX_STOP_TOKEN_IDS} stop_token_ids are allowed");
            return Err(ApiError::field("stop_token_ids", message));
        }
        let max_completion = fields
            .integer("max_completion_tokens")?
            .map(|n| ("max_completion_tokens", n as usize));
        let max_tokens = fields
            .integer("max_tokens")?
            .map(|n| ("max_tokens", n as usize));
        if let (Some((_, a)), Some((_, b))) = (max_completion, max_tokens)
            && a != b
        {
            let message = format!("max_tokens is {b}, but max_completion_tokens is {a}: send one");
            return Err(ApiError::field("max_tokens", message));
        }
        let num_choices = choices(fields, "n")?.unwrap_or(1);
        let priority = urgency::priority(fields, standing)?;
        let stop_strings = stop_strings(fields)?;
        let include_stop = fields.opt("include_stop_str_in_output")?.unwrap_or(false);
        let framing = Framing::take(fields)?;
        let prompt_logprobs = fields.integer("prompt_logprobs")?;
        if framing.stream && prompt_logprobs.is_some() {
            let message = "prompt_logprobs come with whole answers only, not with stream";
            return Err(ApiError::field("prompt_logprobs", message));
        }
        Ok(Self {
            framing,
            num_choices,
            num_candidates: num_choices,
            marks: Marks::default(),
            shows_thoughts: true,
            hides_logprobs: false,
            scored_alternatives: None,
            format: output_format::take(fields)?,
            constraint: None,
            prompt_logprobs: prompt_logprobs.map(|count| count as u32),
            caller: caller(fields)?,
            stops: stop_matcher(&stop_strings, include_stop)?,
            stop_strings: stop_strings.into(),
            max_tokens: max_completion.or(max_tokens),
            min_tokens: fields.integer("min_tokens")?.unwrap_or(0) as usize,
            ignores_eos,
            stop_token_ids,
            priority,
            deadline: urgency::deadline(fields, standing, priority)?,
            sampling: sampling(fields, model, logprobs)?,
        })
    }

    /// Whether the answer follows a form that only the model asked for is trusted with: a schema, a grammar, tools.
    pub fn is_bound(&self) -> bool {
        self.constraint.is_some() || self.marks.tools.is_some()
    }

    /// Whether more is asked for than text.
    pub fn shows_tokens(&self) -> bool {
        let framing = &self.framing;
        let is_scored = self.sampling.logprobs.is_some() || self.prompt_logprobs.is_some();
        is_scored || self.scored_alternatives.is_some() || framing.return_token_ids
    }

    /// Has prompts scored, with so many alternatives a token; `None` for not at all. What stands in the answer is not touched.
    pub fn scores_prompt(&mut self, count: Option<u32>) {
        self.scored_alternatives = count;
    }

    /// Has answers scored where the best of several are to be found.
    pub fn score_candidates(&self, requests: &mut [GenerateRequest]) {
        if self.num_candidates > self.num_choices {
            for request in requests {
                request.sampling.logprobs.get_or_insert(0);
            }
        }
    }

    /// Has the answer to a chat follow its format or its tools, and its thoughts keep to their budget.
    pub async fn follow(
        &mut self,
        chat: &ChatPrompt,
        prompt: &Prompt,
        model: &Arc<ServedModel>,
    ) -> Result<(), ApiError> {
        self.marks = chat.marks(prompt);
        self.shows_thoughts = chat.thinking.is_shown;
        if let Some(rule) = chat.tool_rule(model) {
            if let Some(format) = &self.format {
                let message = format!("{} is not supported beside tools", format.param);
                return Err(ApiError::field(&format.param, message));
            }
            self.format = Some(rule);
        }
        let schemas = chat.tools.iter().flat_map(Tools::schemas).collect();
        self.compile(schemas, model).await?;
        let is_bound = self.constraint.is_some() || chat.thinking.budget.is_some();
        if let Some(tokens) = chat.thinking.tokens
            && self.marks.may_think
            && is_bound
        {
            let ends = match self.constraint {
                Some(_) => self.stop_token_ids.clone(),
                None => Vec::new(),
            };
            self.constraint = Some(Box::new(AfterThoughts::new(
                tokens,
                model.tokenizer.vocab_size(),
                ends,
                self.marks.is_thinking,
                chat.thinking.budget,
                self.constraint.take(),
            )));
        }
        Ok(())
    }

    /// Compiles what the answer is to look like, off the async threads; if that fails, the one of its `parts` at fault is named.
    pub async fn compile(
        &mut self,
        parts: Vec<output_format::Asked>,
        model: &Arc<ServedModel>,
    ) -> Result<(), ApiError> {
        let Some(format) = self.format.take() else {
            return Ok(());
        };
        if self.ignores_eos {
            let message = format!(
                "ignore_eos: an answer that follows {} has an end",
                format.param
            );
            return Err(ApiError::field("ignore_eos", message));
        }
        // Dropped with the connection, who waits here is gone.
        let turn = Arc::clone(&model.compiles).acquire_owned().await;
        let model = Arc::clone(model);
        let compile = move || {
            let _turn = turn;
            let grammars = model.grammars().map_err(|error| format.refused(&error))?;
            grammars.compile(&format.rule).map_err(|error| {
                let at_fault = parts.iter().find_map(|part| {
                    let checked = grammars.check(&part.rule);
                    checked.err().map(|error| part.refused(&error))
                });
                at_fault.unwrap_or_else(|| format.refused(&error))
            })
        };
        let compiled = tokio::task::spawn_blocking(compile).await;
        let panicked = |_| ApiError::internal("compiling the grammar panicked");
        self.constraint = Some(compiled.map_err(panicked)??);
        Ok(())
    }

    /// Joins it with a prompt: checks both against the context window. `param` is the prompt's field and
    /// `default_max_tokens` applies when the request names none.
    pub fn with_prompt(
        &self,
        prompt: Vec<u32>,
        param: &str,
        default_max_tokens: Option<usize>,
        tenant: &str,
        model: &ServedModel,
    ) -> Result<GenerateRequest, ApiError> {
        let window = model.max_model_len;
        if prompt.is_empty() {
            return Err(ApiError::field(
                param,
                format!("{param} is empty: at least one token is needed"),
            ));
        }
        if prompt.len() >= window {
            let message = format!(
                "the prompt has {} tokens; the context window is {window}, one of which must be left for the answer",
                prompt.len()
            );
            return Err(ApiError::context_length(param, message));
        }
        let room = window - prompt.len();
        let max_tokens = match self.max_tokens {
            Some((name, n)) if n > room => {
                let message = format!(
                    "{name} is {n}, but after the prompt's {} tokens the context window of {window} has room for {room}",
                    prompt.len()
                );
                return Err(ApiError::context_length(name, message));
            }
            Some((_, n)) => n,
            None => default_max_tokens.unwrap_or(room).min(room),
        };
        if self.min_tokens > max_tokens {
            return Err(ApiError::field(
                "min_tokens",
                format!(
                    "min_tokens is {}, above the {max_tokens} tokens that may be generated",
                    self.min_tokens
                ),
            ));
        }
        let stop = StopCriteria {
            max_tokens,
            min_tokens: self.min_tokens,
            stop_token_ids: self.stop_token_ids.clone(),
        };
        Ok(GenerateRequest {
            num_begun: 0,
            recalled: None,
            adapter: None,
            tenant: tenant.into(),
            priority: self.priority,
            deadline: self.deadline,
            prompt,
            prompt_logprobs: (self.prompt_logprobs.or(self.scored_alternatives))
                .map(PromptLogprobs::of_all),
            constraint: self.constraint.clone(),
            sampling: self.sampling.clone(),
            stop,
        })
    }
}

/// A number of choices a prompt.
pub(crate) fn choices(fields: &mut Fields, name: &str) -> Result<Option<usize>, ApiError> {
    let count = fields.integer(name)?;
    Ok(count.map(|count| count as usize))
}

fn stop_strings(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let stops = match fields.opt::<Value>("stop")? {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(list) => typed::<Vec<String>>("stop", list)?,
    };
    if stops.len() > MAX_STOPS {
        return Err(ApiError::field(
            "stop",
            format!(
                "stop has {} strings; at most {MAX_STOPS} are allowed",
                stops.len()
            ),
        ));
    }
    Ok(stops)
}

fn stop_matcher(stops: &[String], include_stop: bool) -> Result<StopMatcher, ApiError> {
    StopMatcher::new(stops.to_vec(), include_stop)
        .map_err(|error| ApiError::field("stop", error.to_string()))
}
