//! What answers look like: this is long as a table of them. The HTTP tests compare every answer that they get with these.

use crate::server::request::fields::Field;
use crate::server::request::fields::Support::{Honoured as Maybe, Required as Always};
use crate::server::request::form::Form::{self, Any, Bool, Either, List, Map, Table, Text, Word};
use crate::server::request::form::{OBJECT, TEXTS, TOKEN_IDS, at_least};

const COUNT: Form = at_least(0);
const NUMBER: Form = Form::Number(f64::NEG_INFINITY, f64::INFINITY);
const NUMBERS: Form = List(&NUMBER);
/// Milliseconds.
const MS: Form = Form::Number(0.0, f64::INFINITY);

const FLAMBEAU: &[Field] = &[
    (
        "tier",
        Always(Word(&["primary", "fallback", "cache", "static"])),
    ),
    (
        "cache",
        Maybe(Word(&["miss", "prefix", "exact", "semantic"])),
    ),
    ("route", Maybe(Text)),
    ("continued_by", Maybe(Text)),
    ("queue_ms", Maybe(MS)),
    ("prefill_ms", Maybe(MS)),
    ("ttft_ms", Maybe(MS)),
];

/// OpenAI's.
pub(super) const ERROR: Form = Table(&[(
    "error",
    Always(Table(&[
        ("message", Always(Text)),
        ("type", Always(Text)),
        ("param", Maybe(Text)),
        ("code", Maybe(Text)),
    ])),
)]);

/// Anthropic's.
pub(super) const ANTHROPIC_ERROR: Form = Table(&[
    ("type", Always(Word(&["error"]))),
    (
        "error",
        Always(Table(&[("type", Always(Text)), ("message", Always(Text))])),
    ),
]);

const USAGE: &[Field] = &[
    ("prompt_tokens", Always(COUNT)),
    ("completion_tokens", Always(COUNT)),
    ("total_tokens", Always(COUNT)),
    (
        "prompt_tokens_details",
        Always(Table(&[("cached_tokens", Always(COUNT))])),
    ),
    (
        "completion_tokens_details",
        Always(Table(&[("reasoning_tokens", Always(COUNT))])),
    ),
];

const TOKEN_LOGPROB: &[Field] = &[
    ("token", Always(Text)),
    ("logprob", Always(NUMBER)),
    ("bytes", Always(TOKEN_IDS)),
];
const CHAT_LOGPROBS: Form = Table(&[(
    "content",
    Always(List(&Table(&[
        ("token", Always(Text)),
        ("logprob", Always(NUMBER)),
        ("bytes", Always(TOKEN_IDS)),
        ("top_logprobs", Always(List(&Table(TOKEN_LOGPROB)))),
    ]))),
)]);
const NULL_OR_NUMBERS: Form = List(&Any);
const COMPLETION_LOGPROBS: Form = Table(&[
    ("tokens", Always(TEXTS)),
    ("token_logprobs", Always(NULL_OR_NUMBERS)),
    // Null for a token that nothing is known of.
    ("top_logprobs", Always(List(&Any))),
    ("text_offset", Always(List(&COUNT))),
]);
/// Null for the first token, then by id.
const PROMPT_LOGPROBS: Form = List(&Any);

const CALL: &[Field] = &[
    ("id", Always(Text)),
    ("type", Always(Word(&["function"]))),
    (
        "function",
        Always(Table(&[
            ("name", Always(Text)),
            ("arguments", Always(Text)),
        ])),
    ),
];
const MESSAGE: &[Field] = &[
    ("role", Always(Word(&["assistant"]))),
    ("content", Maybe(Text)),
    ("reasoning", Maybe(Text)),
    ("reasoning_content", Maybe(Text)),
    ("tool_calls", Maybe(List(&Table(CALL)))),
];
const DELTA: &[Field] = &[
    ("role", Maybe(Word(&["assistant"]))),
    ("content", Maybe(Text)),
    ("reasoning", Maybe(Text)),
    ("reasoning_content", Maybe(Text)),
    (
        "tool_calls",
        Maybe(List(&Table(&[
            ("index", Always(COUNT)),
            ("id", Maybe(Text)),
            ("type", Maybe(Word(&["function"]))),
            (
                "function",
                Always(Table(&[("name", Maybe(Text)), ("arguments", Always(Text))])),
            ),
        ]))),
    ),
];
const FINISH: Form = Word(&["stop", "length", "tool_calls", "deadline"]);

/// What chats and completions have around their choices.
macro_rules! envelope {
    ($object:expr, $choice:expr, $usage:ident) => {
        Table(&[
            ("id", Always(Text)),
            ("object", Always(Word(&[$object]))),
            ("created", Always(COUNT)),
            ("model", Always(Text)),
            ("choices", Always(List(&Table($choice)))),
            ("usage", $usage(Table(USAGE))),
            ("prompt_logprobs", Maybe(PROMPT_LOGPROBS)),
            ("flambeau", $usage(Table(FLAMBEAU))),
        ])
    };
}

pub(super) const CHAT: Form = envelope!(
    "chat.completion",
    &[
        ("index", Always(COUNT)),
        ("message", Always(Table(MESSAGE))),
        ("logprobs", Maybe(CHAT_LOGPROBS)),
        ("finish_reason", Always(FINISH)),
        ("token_ids", Maybe(TOKEN_IDS)),
        ("prompt_token_ids", Maybe(TOKEN_IDS)),
    ],
    Always
);
pub(super) const CHAT_CHUNK: Form = envelope!(
    "chat.completion.chunk",
    &[
        ("index", Always(COUNT)),
        ("delta", Always(Table(DELTA))),
        ("logprobs", Maybe(CHAT_LOGPROBS)),
        ("finish_reason", Maybe(FINISH)),
        ("token_ids", Maybe(TOKEN_IDS)),
        ("prompt_token_ids", Maybe(TOKEN_IDS)),
    ],
    Maybe
);
const COMPLETION_CHOICE: &[Field] = &[
    ("index", Always(COUNT)),
    ("text", Always(Text)),
    ("logprobs", Maybe(COMPLETION_LOGPROBS)),
    ("finish_reason", Maybe(FINISH)),
    ("token_ids", Maybe(TOKEN_IDS)),
    ("prompt_token_ids", Maybe(TOKEN_IDS)),
    ("prompt_logprobs", Maybe(PROMPT_LOGPROBS)),
];
pub(super) const COMPLETION: Form = envelope!("text_completion", COMPLETION_CHOICE, Always);
pub(super) const COMPLETION_CHUNK: Form = envelope!("text_completion", COMPLETION_CHOICE, Maybe);

pub(super) const EMBEDDINGS: Form = Table(&[
    ("object", Always(Word(&["list"]))),
    (
        "data",
        Always(List(&Table(&[
            ("object", Always(Word(&["embedding"]))),
            ("index", Always(COUNT)),
            // Numbers, or with base64 the bytes of their float32.
            ("embedding", Always(Either(&[NUMBERS, Text]))),
        ]))),
    ),
    ("model", Always(Text)),
    (
        "usage",
        Always(Table(&[
            ("prompt_tokens", Always(COUNT)),
            ("total_tokens", Always(COUNT)),
        ])),
    ),
    ("flambeau", Always(Table(FLAMBEAU))),
]);

const STATUS: Form = Word(&["in_progress", "completed", "incomplete", "failed"]);
const PART: &[Field] = &[
    ("type", Always(Word(&["output_text", "reasoning_text"]))),
    ("text", Always(Text)),
    ("annotations", Maybe(List(&Any))),
    ("logprobs", Maybe(List(&Any))),
];
const ITEM: Form = Either(&[
    Table(&[
        ("type", Always(Word(&["message"]))),
        ("id", Always(Text)),
        ("role", Always(Word(&["assistant"]))),
        ("status", Always(STATUS)),
        ("content", Always(List(&Table(PART)))),
    ]),
    Table(&[
        ("type", Always(Word(&["reasoning"]))),
        ("id", Always(Text)),
        ("summary", Always(List(&Any))),
        ("content", Always(List(&Table(PART)))),
    ]),
    Table(&[
        ("type", Always(Word(&["function_call"]))),
        ("id", Always(Text)),
        ("call_id", Always(Text)),
        ("name", Always(Text)),
        ("arguments", Always(Text)),
        ("status", Always(STATUS)),
    ]),
]);
pub(super) const RESPONSE: Form = Table(&[
    ("id", Always(Text)),
    ("object", Always(Word(&["response"]))),
    ("created_at", Always(COUNT)),
    ("status", Always(STATUS)),
    ("background", Always(Bool)),
    (
        "error",
        Maybe(Table(&[("code", Always(Text)), ("message", Always(Text))])),
    ),
    (
        "incomplete_details",
        Maybe(Table(&[("reason", Always(Text))])),
    ),
    ("model", Always(Text)),
    ("output", Always(List(&ITEM))),
    ("previous_response_id", Maybe(Text)),
    ("store", Always(Bool)),
    ("truncation", Always(Text)),
    (
        "usage",
        Maybe(Table(&[
            ("input_tokens", Always(COUNT)),
            (
                "input_tokens_details",
                Always(Table(&[("cached_tokens", Always(COUNT))])),
            ),
            ("output_tokens", Always(COUNT)),
            (
                "output_tokens_details",
                Always(Table(&[("reasoning_tokens", Always(COUNT))])),
            ),
            ("total_tokens", Always(COUNT)),
        ])),
    ),
    // Of the request.
    ("instructions", Maybe(Text)),
    ("max_output_tokens", Maybe(COUNT)),
    ("temperature", Maybe(NUMBER)),
    ("top_p", Maybe(NUMBER)),
    ("tools", Always(List(&OBJECT))),
    ("tool_choice", Always(Either(&[Text, OBJECT]))),
    ("parallel_tool_calls", Always(Bool)),
    ("text", Always(OBJECT)),
    ("reasoning", Always(OBJECT)),
    ("user", Maybe(Text)),
    ("metadata", Always(OBJECT)),
    ("service_tier", Always(Text)),
    ("flambeau", Maybe(Table(FLAMBEAU))),
]);
pub(super) const RESPONSE_EVENT: Form = Table(&[
    ("type", Always(Text)),
    ("sequence_number", Always(COUNT)),
    ("response", Maybe(RESPONSE)),
    ("output_index", Maybe(COUNT)),
    ("content_index", Maybe(COUNT)),
    ("item_id", Maybe(Text)),
    ("item", Maybe(ITEM)),
    ("part", Maybe(Table(PART))),
    ("delta", Maybe(Text)),
    ("text", Maybe(Text)),
    ("name", Maybe(Text)),
    ("arguments", Maybe(Text)),
    ("logprobs", Maybe(List(&Any))),
]);

const ANTHROPIC_USAGE: &[Field] = &[
    ("input_tokens", Always(COUNT)),
    ("cache_creation_input_tokens", Always(COUNT)),
    ("cache_read_input_tokens", Always(COUNT)),
    ("output_tokens", Always(COUNT)),
];
const BLOCK: Form = Either(&[
    Table(&[("type", Always(Word(&["text"]))), ("text", Always(Text))]),
    Table(&[
        ("type", Always(Word(&["thinking"]))),
        ("thinking", Always(Text)),
        ("signature", Always(Text)),
    ]),
    Table(&[
        ("type", Always(Word(&["tool_use"]))),
        ("id", Always(Text)),
        ("name", Always(Text)),
        ("input", Always(Any)),
    ]),
]);
const STOP_REASON: Form = Word(&["end_turn", "max_tokens", "stop_sequence", "tool_use"]);
pub(super) const ANTHROPIC_MESSAGE: Form = Table(&[
    ("id", Always(Text)),
    ("type", Always(Word(&["message"]))),
    ("role", Always(Word(&["assistant"]))),
    ("model", Always(Text)),
    ("content", Always(List(&BLOCK))),
    ("stop_reason", Maybe(STOP_REASON)),
    ("stop_sequence", Maybe(Text)),
    ("usage", Always(Table(ANTHROPIC_USAGE))),
    ("flambeau", Always(Table(FLAMBEAU))),
]);
pub(super) const ANTHROPIC_EVENT: Form = Table(&[
    (
        "type",
        Always(Word(&[
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
            "error",
        ])),
    ),
    ("message", Maybe(ANTHROPIC_MESSAGE)),
    ("index", Maybe(COUNT)),
    ("content_block", Maybe(BLOCK)),
    ("delta", Maybe(OBJECT)),
    ("usage", Maybe(Table(ANTHROPIC_USAGE))),
    ("error", Maybe(OBJECT)),
    ("flambeau", Maybe(Table(FLAMBEAU))),
]);
pub(super) const TOKEN_COUNT: Form = Table(&[("input_tokens", Always(COUNT))]);

pub(super) const TOKENS: Form = Table(&[
    ("count", Always(COUNT)),
    ("max_model_len", Always(COUNT)),
    ("tokens", Always(TOKEN_IDS)),
    ("token_strs", Maybe(TEXTS)),
]);
pub(super) const DETOKENISED: Form = Table(&[("prompt", Always(Text))]);
pub(super) const ADAPTER: Form = Table(&[
    ("lora_name", Always(Text)),
    ("status", Always(Word(&["loaded", "unloaded"]))),
]);
pub(super) const MODELS: Form = Table(&[
    ("object", Always(Word(&["list"]))),
    (
        "data",
        Always(List(&Table(&[
            ("id", Always(Text)),
            ("object", Always(Word(&["model"]))),
            ("created", Always(COUNT)),
            ("owned_by", Always(Text)),
            ("max_model_len", Maybe(COUNT)),
            ("state", Maybe(Word(&["unloaded", "loading", "loaded"]))),
            ("root", Maybe(Text)),
            ("parent", Maybe(Text)),
        ]))),
    ),
]);
pub(super) const VERSION: Form = Table(&[("version", Always(Text))]);
pub(super) const HEALTH: Form = Table(&[("status", Always(Text))]);
pub(super) const CACHE_STATS: Form = Table(&[
    ("prefix", Always(Table(&[("models", Always(Map(&OBJECT)))]))),
    ("exact", Maybe(LEVEL)),
    ("semantic", Maybe(LEVEL)),
]);
/// Of one level.
const LEVEL: Form = Table(&[
    ("entries", Always(COUNT)),
    ("bytes", Always(COUNT)),
    ("models", Always(Map(&OBJECT))),
]);
pub(super) const EXPLAINED: Form = Table(&[
    ("verdict", Always(Word(&["exact", "semantic", "miss"]))),
    ("reason", Maybe(Text)),
    ("says", Maybe(Text)),
    ("mode", Maybe(Word(&["off", "draft", "serve"]))),
    ("question", Maybe(Text)),
    ("likeness", Maybe(Text)),
    ("num_tokens", Maybe(COUNT)),
    ("candidates", Maybe(List(&OBJECT))),
    ("verification", Maybe(OBJECT)),
]);
pub(super) const PURGED: Form = Table(&[("num_answers", Always(COUNT))]);
pub(super) const CACHE_SHARED: Form = Table(&[("shared", Always(Bool))]);
pub(super) const RESET: Form = Table(&[
    ("num_blocks", Always(COUNT)),
    ("num_answers", Always(COUNT)),
]);
/// This very description.
pub(super) const DESCRIPTION: Form = Map(&Any);
