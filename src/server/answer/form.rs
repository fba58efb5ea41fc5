//! What a request asks of its answer's form, whoever spells it.

use std::sync::Arc;

use super::received::Received;
use crate::server::models::Chosen;
use crate::server::request::forward::Forwarded;
use crate::server::request::framing::Framing;
use crate::server::request::generate::Generate;
use crate::text::{Tokenizer, ToolFormat};

/// Which endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Completion,
}

/// What of a prompt stands in answers.
pub(crate) struct Asked {
    pub token_ids: Vec<u32>,
    /// Its text, where that is to stand before the answer.
    pub echo: Option<String>,
}

/// What a request asks of its answer's form.
pub(crate) struct Form {
    pub kind: Kind,
    pub framing: Framing,
    pub request_id: String,
    /// What led to the model, where the request leaves that open.
    pub route: Option<String>,
    pub model: String,
    /// Who went on with what that one has begun.
    pub continued_by: Option<String>,
    pub tokenizer: Arc<Tokenizer>,
    pub has_logprobs: bool,
    pub has_prompt_logprobs: bool,
    /// How calls are spelt, where tools may be called.
    pub tools: Option<ToolFormat>,
    pub prompts: Vec<Asked>,
    /// Choices a prompt.
    pub num_choices: usize,
}

impl Form {
    /// As `generate` says, of prompts whose answers show their tokens or text.
    pub fn new(
        kind: Kind,
        generate: &Generate,
        received: &Received,
        chosen: &Chosen,
        prompts: Vec<Asked>,
    ) -> Self {
        Self {
            kind,
            framing: generate.framing.clone(),
            request_id: received.request_id.clone(),
            route: received.route().map(str::to_owned),
            model: chosen.name.clone(),
            continued_by: None,
            tokenizer: Arc::clone(&chosen.model.tokenizer),
            has_logprobs: generate.sampling.logprobs.is_some(),
            has_prompt_logprobs: generate.prompt_logprobs.is_some(),
            tools: generate.marks.tools,
            prompts,
            num_choices: generate.num_choices,
        }
    }
}

impl Form {
    /// Of an answer that another server gives, of which there are no tokens for `tokenizer` to spell.
    pub fn elsewhere(
        kind: Kind,
        forwarded: &Forwarded,
        received: &Received,
        name: &str,
        tokenizer: &Arc<Tokenizer>,
    ) -> Self {
        let prompt = || Asked {
            token_ids: Vec::new(),
            echo: None,
        };
        Self {
            kind,
            framing: forwarded.framing.clone(),
            request_id: received.request_id.clone(),
            route: received.route().map(str::to_owned),
            model: name.to_owned(),
            continued_by: None,
            tokenizer: Arc::clone(tokenizer),
            has_logprobs: false,
            has_prompt_logprobs: false,
            tools: None,
            prompts: (0..forwarded.num_prompts).map(|_| prompt()).collect(),
            num_choices: forwarded.num_choices,
        }
    }
}
