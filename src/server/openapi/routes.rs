//! Every route, once more: what it is for, takes and answers. A test compares the list with the router.

use super::answers as answer;
use crate::server::request::fields::Field;
use crate::server::request::form::Form;
use crate::server::request::{anthropic, embeddings, generate, output_format, responses};
use crate::server::routes::{adapters, cache, chat, completions, tokenize};

pub(super) struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    /// The body's name and fields.
    pub request: Option<(&'static str, &'static [&'static [Field]])>,
    pub answer: Answer,
    /// The name of the form of errors.
    pub error: &'static str,
}

pub(super) enum Answer {
    /// Its name and form.
    Json(&'static str, Form),
    /// The same, and with `stream` events, each with data of this name and form.
    Streamed(&'static str, Form, &'static str, Form),
    /// Something else, of this type.
    Other(&'static str),
}

const fn get(path: &'static str, summary: &'static str, answer: Answer) -> Route {
    Route {
        method: "get",
        path,
        summary,
        request: None,
        answer,
        error: "Error",
    }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    request: (&'static str, &'static [&'static [Field]]),
    answer: Answer,
) -> Route {
    Route {
        method: "post",
        path,
        summary,
        request: Some(request),
        answer,
        error: "Error",
    }
}

use Answer::{Json, Other, Streamed};

pub(super) const ROUTES: &[Route] = &[
    post(
        "/v1/chat/completions",
        "Goes on with a conversation, as OpenAI's API and vLLM do",
        ("ChatRequest", chat::TABLES),
        Streamed(
            "ChatCompletion",
            answer::CHAT,
            "ChatCompletionChunk",
            answer::CHAT_CHUNK,
        ),
    ),
    post(
        "/v1/completions",
        "Goes on with a text",
        (
            "CompletionRequest",
            &[generate::SHARED, output_format::FIELDS, completions::FIELDS],
        ),
        Streamed(
            "Completion",
            answer::COMPLETION,
            "CompletionChunk",
            answer::COMPLETION_CHUNK,
        ),
    ),
    post(
        "/v1/embeddings",
        "Turns texts into vectors",
        ("EmbeddingRequest", &[embeddings::FIELDS]),
        Json("Embeddings", answer::EMBEDDINGS),
    ),
    post(
        "/v1/responses",
        "Goes on with a conversation of items; nothing is kept",
        ("ResponseRequest", &[responses::FIELDS]),
        Streamed(
            "Response",
            answer::RESPONSE,
            "ResponseEvent",
            answer::RESPONSE_EVENT,
        ),
    ),
    Route {
        error: "AnthropicError",
        ..post(
            "/v1/messages",
            "Goes on with a conversation, as Anthropic's API does",
            ("MessageRequest", &[anthropic::PROMPT, anthropic::GENERATE]),
            Streamed(
                "Message",
                answer::ANTHROPIC_MESSAGE,
                "MessageEvent",
                answer::ANTHROPIC_EVENT,
            ),
        )
    },
    Route {
        error: "AnthropicError",
        ..post(
            "/v1/messages/count_tokens",
            "Counts the tokens of a conversation",
            ("CountTokensRequest", &[anthropic::PROMPT]),
            Json("TokenCount", answer::TOKEN_COUNT),
        )
    },
    get(
        "/v1/models",
        "Lists the models that are served here",
        Json("Models", answer::MODELS),
    ),
    post(
        "/v1/load_lora_adapter",
        "Loads a LoRA adapter as a model of its own",
        ("LoadAdapterRequest", &[adapters::LOAD]),
        Json("Adapter", answer::ADAPTER),
    ),
    post(
        "/v1/unload_lora_adapter",
        "Unloads a LoRA adapter; requests that run go on",
        ("UnloadAdapterRequest", &[adapters::UNLOAD]),
        Json("Adapter", answer::ADAPTER),
    ),
    post(
        "/tokenize",
        "Splits a text or a conversation into tokens",
        ("TokenizeRequest", tokenize::TABLES),
        Json("Tokens", answer::TOKENS),
    ),
    post(
        "/detokenize",
        "Joins tokens to a text",
        ("DetokenizeRequest", &[tokenize::DETOKENIZE]),
        Json("Detokenised", answer::DETOKENISED),
    ),
    get(
        "/metrics",
        "Figures for Prometheus",
        Other("text/plain; version=0.0.4; charset=utf-8"),
    ),
    get(
        "/version",
        "The server's version",
        Json("Version", answer::VERSION),
    ),
    get(
        "/health",
        "The process lives; needs no key",
        Json("Health", answer::HEALTH),
    ),
    get(
        "/ready",
        "A token was generated lately, or one is now; needs no key",
        Json("Health", answer::HEALTH),
    ),
    get(
        "/admin/cache",
        "What the caches of answers hold, and what came of it",
        Json("CacheStats", answer::CACHE_STATS),
    ),
    post(
        "/admin/cache/explain",
        "Why a request would be given an answer again, or would not",
        ("ExplainRequest", &[cache::ASKED]),
        Json("Explained", answer::EXPLAINED),
    ),
    post(
        "/admin/cache/purge",
        "Forgets the answers that all of what is said is true of",
        ("PurgeRequest", &[cache::PURGE]),
        Json("Purged", answer::PURGED),
    ),
    post(
        "/admin/cache/share",
        "Gives all tenants what one of them was answered",
        ("ShareRequest", &[cache::ASKED]),
        Json("Shared", answer::CACHE_SHARED),
    ),
    Route {
        method: "post",
        ..get(
            "/admin/cache/reset",
            "Forgets what the prefix caches hold, and all answers",
            Json("Reset", answer::RESET),
        )
    },
    get(
        "/openapi.json",
        "This description",
        Json("Description", answer::DESCRIPTION),
    ),
    get(
        "/docs",
        "This description as a page",
        Other("text/html; charset=utf-8"),
    ),
];
