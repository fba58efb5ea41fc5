//! What a request asks of the engine, and what it gets back: plain data that every layer may name.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::constraint::Constraint;

/// How the next token is drawn. Token strings, stop strings and text are not the engine's business.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 is greedy; above, logits are divided by it.
    pub temperature: f32,
    /// Keep the `top_k` most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of most likely tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than `min_p` times the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Subtracted once from the logit of every token generated before.
    pub presence_penalty: f32,
    /// Subtracted once per earlier occurrence in the output.
    pub frequency_penalty: f32,
    /// Divides positive and multiplies negative logits of tokens seen in the prompt or the output; 1 does nothing.
    pub repetition_penalty: f32,
    /// Added to the logits of single tokens, as `(token_id, bias)`.
    pub logit_bias: Vec<(u32, f32)>,
    /// Key of the sampling noise: equal seeds give equal tokens, whoever shares the batch.
    pub seed: u64,
    /// Which of a request's choices this is: equal seeds give different choices different tokens.
    pub choice: u32,
    /// How many alternatives to report a token: `None` for no log-probabilities, `Some(0)` for the chosen token's only.
    pub logprobs: Option<u32>,
}

impl SamplingParams {
    /// Greedy decoding without penalties.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: 0,
            choice: 0,
            logprobs: None,
        }
    }

    /// Whether drawing a token needs the tokens before it.
    pub fn has_penalties(&self) -> bool {
        self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
            || self.repetition_penalty != 1.0
    }
}

/// When a sequence ends by itself.
#[derive(Clone, Debug, Default)]
pub struct StopCriteria {
    /// Tokens to generate at most; at least 1.
    pub max_tokens: usize,
    /// Tokens to generate before any of `stop_token_ids` may be drawn.
    pub min_tokens: usize,
    /// Tokens that end the sequence (the model's end-of-sequence ids among them, unless the request ignores them).
    pub stop_token_ids: Vec<u32>,
}

/// How urgent a request is; the more urgent is the lesser one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for the answer.
    Interactive,
    /// What a request is that says nothing.
    #[default]
    Standard,
    /// Nobody waits: it gives way to all others.
    Batch,
}

impl Priority {
    /// The class that is `steps` more urgent, or the most urgent one.
    #[must_use]
    pub fn raised(self, steps: usize) -> Self {
        match (self as usize).saturating_sub(steps) {
            0 => Self::Interactive,
            1 => Self::Standard,
            _ => Self::Batch,
        }
    }
}

/// Who asks where nobody has a key.
pub const DEFAULT_TENANT: &str = "default";

/// What a request is computed with besides the model (a LoRA adapter). Who holds one can go on using it, whoever else has let it
/// go.
#[derive(Clone)]
pub struct Adapter {
    /// No other one that the process ever loaded has it: what was cached with one is never taken for another's.
    pub id: u64,
    /// What the executor adds; only it knows the type.
    pub weights: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adapter({})", self.id)
    }
}

/// What was answered to a request like this one, should that become known while it runs. A guess, which makes the answer sooner and no
/// other. Cheap to clone: whoever finds it holds one, and the request another.
#[derive(Clone, Debug, Default)]
pub struct Recalled(Arc<Guess>);

#[derive(Debug, Default)]
struct Guess {
    answer: OnceLock<Vec<u32>>,
    num_right: AtomicUsize,
}

impl Recalled {
    /// It has become known. What is told later counts for nothing.
    pub fn tell(&self, answer: Vec<u32>) {
        let _ = self.0.answer.set(answer);
    }

    /// Its tokens, as far as is known by now.
    pub fn tokens(&self) -> &[u32] {
        self.0.answer.get().map_or(&[], Vec::as_slice)
    }

    /// So many more of its tokens were right, and the answer that much sooner.
    pub fn was_right(&self, num_tokens: usize) {
        self.0.num_right.fetch_add(num_tokens, Ordering::Relaxed);
    }

    /// Its tokens that were right so far.
    pub fn num_right(&self) -> usize {
        self.0.num_right.load(Ordering::Relaxed)
    }

    /// Whether nobody is left who would use it.
    pub fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Which tokens of a prompt are scored, and how. What it takes to score them is computed anew, whatever is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptLogprobs {
    /// The first of them: 1, or more; the very first of a prompt has nothing before it. What comes before it may be cached.
    pub first: usize,
    /// How many alternatives to report for each.
    pub num_top: u32,
}

impl PromptLogprobs {
    /// Of all tokens but the first.
    pub fn of_all(num_top: u32) -> Self {
        Self { first: 1, num_top }
    }
}

/// One generation to run.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// What it is computed with besides the model.
    pub adapter: Option<Adapter>,
    /// Who asks: what the server knows of the key, never what a client says. Tenants share no cached prefix.
    pub tenant: Arc<str>,
    /// Which of the waiting it comes before.
    pub priority: Priority,
    /// Within which time from its arrival the first token must come; it is refused, or dropped from the queue, rather than
    /// come later.
    pub deadline: Option<Duration>,
    /// Token ids of the prompt; not empty.
    pub prompt: Vec<u32>,
    /// So many of the last tokens of `prompt` are of the answer, which somebody else has begun: penalties, limits and noise take them as
    /// drawn. Less than all of it, and than `max_tokens`.
    pub num_begun: usize,
    /// Where a guess of the answer appears, if anybody looks for one.
    pub recalled: Option<Recalled>,
    /// How tokens of the prompt are scored; `None` where they are not.
    pub prompt_logprobs: Option<PromptLogprobs>,
    /// What may be drawn.
    pub constraint: Option<Box<dyn Constraint>>,
    /// How tokens are drawn.
    pub sampling: SamplingParams,
    /// When it ends.
    pub stop: StopCriteria,
}

impl GenerateRequest {
    /// Up to `max_tokens` likeliest tokens after `prompt`, asked for by nobody in particular.
    pub fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Self {
        Self {
            adapter: None,
            tenant: DEFAULT_TENANT.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt,
            num_begun: 0,
            recalled: None,
            prompt_logprobs: None,
            constraint: None,
            sampling: SamplingParams::greedy(),
            stop: StopCriteria {
                max_tokens,
                ..StopCriteria::default()
            },
        }
    }
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token (or, set by the front, a stop string).
    Stop,
    /// `max_tokens` or the context window was reached.
    Length,
    /// The deadline passed before the first token.
    Deadline,
}

impl FinishReason {
    /// As OpenAI spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Deadline => "deadline",
        }
    }
}

/// Log-probabilities of one position, in nats, of the raw logits (before penalties, bias, temperature and filters).
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token's own.
    pub chosen: f32,
    /// How many tokens are at least as likely, itself among them.
    pub rank: u32,
    /// The likeliest tokens, `(token_id, log-probability)`, descending, ties by id.
    pub top: Vec<(u32, f32)>,
}

/// A drawn token.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledToken {
    /// Its id.
    pub token_id: u32,
    /// Its log-probabilities, when asked for.
    pub logprobs: Option<TokenLogprobs>,
}

/// Where the time to the first token went, and what the prefix cache saved of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Tokens of the prompt whose keys and values were there already.
    pub num_cached_tokens: usize,
    /// From arrival until the scheduler first gave it work.
    pub queue: Duration,
    /// From then until its first token was drawn.
    pub prefill: Duration,
    /// Queue and prefill as they were expected on arrival, where the request has a deadline.
    pub expected_ttft: Option<Duration>,
}
