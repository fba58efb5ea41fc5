//! A request that a tier has taken.

use super::account::Answerer;
use super::ask::{Call, RemoteCall};
use super::generation::Source;
use super::keep::Keep;
use super::wire::Wire;
use crate::server::request::caller::Caller;

/// See the module.
pub(crate) struct Begun {
    pub answerer: Answerer,
    pub source: Source,
    pub caller: Caller,
    pub is_stream: bool,
    /// Choices of each prompt that come, and that are shown.
    pub num_candidates: usize,
    pub num_choices: usize,
    pub prompt_lens: Vec<usize>,
    pub prompt_chars: usize,
    pub wire: Box<dyn Wire>,
    /// Where the answer is kept.
    pub keep: Keep,
}

impl Call {
    /// Of what `answerer` gives.
    pub fn begun(self, answerer: Answerer, source: Source) -> Begun {
        Begun {
            answerer,
            source,
            prompt_lens: self
                .requests
                .iter()
                .map(|request| request.prompt.len())
                .collect(),
            caller: self.generate.caller,
            is_stream: self.generate.framing.stream,
            num_candidates: self.generate.num_candidates,
            num_choices: self.generate.num_choices,
            prompt_chars: self.prompt_chars,
            wire: self.wire,
            keep: Keep::default(),
        }
    }
}

impl RemoteCall {
    /// Of what `answerer` gives. Its tokens are known once the other server tells them.
    pub fn begun(self, answerer: Answerer, source: Source) -> Begun {
        let forwarded = self.forwarded;
        Begun {
            answerer,
            source,
            prompt_lens: vec![0; forwarded.num_prompts],
            caller: forwarded.caller,
            is_stream: forwarded.framing.stream,
            num_candidates: forwarded.num_choices,
            num_choices: forwarded.num_choices,
            prompt_chars: forwarded.prompt_chars,
            wire: self.wire,
            keep: Keep::default(),
        }
    }
}
