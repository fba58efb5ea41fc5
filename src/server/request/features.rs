//! What routing looks at in the fields of a chat or a completion. It judges none of them: what has not the form that it should have is not
//! there.

use std::sync::Arc;

use serde_json::Value;

use super::fields::Fields;
use super::{output_format, tools};
use crate::gateway::{Features, Language};
use crate::text::{Specials, Tokenizer};

/// The features of a request; tokens, up to so many, and the language only where they are asked for: they take time.
pub(crate) async fn features(
    fields: &Fields,
    most_tokens: usize,
    tells_language: bool,
    tokenizer: &Arc<Tokenizer>,
) -> Features {
    let (all, last, num_turns) = texts(fields);
    let features = Features {
        num_turns,
        is_structured: output_format::is_asked(fields),
        has_tools: tools::are_brought(fields),
        ..Features::default()
    };
    let counts_tokens = most_tokens > 0;
    if !counts_tokens && !tells_language {
        return features;
    }
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let all = owned(if counts_tokens { all } else { Vec::new() });
    let last = owned(if tells_language { last } else { Vec::new() });
    let tokenizer = Arc::clone(tokenizer);
    // Long texts take milliseconds.
    let measure = move || {
        let prompt_tokens = count(&all, most_tokens, &tokenizer);
        (prompt_tokens, Language::of_text(&last.join("\n")))
    };
    let measured = tokio::task::spawn_blocking(measure).await;
    let (prompt_tokens, language) = measured.unwrap_or_default();
    Features {
        prompt_tokens,
        language,
        ..features
    }
}

/// Tokens of the texts, as far as `most`.
fn count(texts: &[String], most: usize, tokenizer: &Tokenizer) -> usize {
    let mut num_tokens = 0;
    for text in texts {
        // A text has so many at least, whatever they are.
        let at_least = text.len() / tokenizer.max_token_bytes().max(1);
        num_tokens += match at_least >= most {
            true => most,
            false => (tokenizer.encode(text, Specials::Plain)).map_or(0, |ids| ids.len()),
        };
        if num_tokens >= most {
            return most;
        }
    }
    num_tokens
}

/// All texts, those that the user wrote last, and how many messages are the user's.
fn texts(fields: &Fields) -> (Vec<&str>, Vec<&str>, usize) {
    let Some(messages) = fields.look("messages") else {
        let prompts = fields.look("prompt").map(text).unwrap_or_default();
        let last = prompts.last().copied().into_iter().collect();
        return (prompts, last, 1);
    };
    let (mut all, mut last, mut num_turns) = (Vec::new(), Vec::new(), 0);
    for message in messages.as_array().into_iter().flatten() {
        let own = message.get("content").map(text).unwrap_or_default();
        if message["role"] == "user" {
            last.clone_from(&own);
            num_turns += 1;
        }
        all.extend(own);
    }
    (all, last, num_turns)
}

/// A text, or those of a list of texts or of parts.
fn text(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => {
            let texts = list.iter().map(|item| item.get("text").unwrap_or(item));
            texts.filter_map(Value::as_str).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::routes::chat;

    fn fields(body: Value) -> Fields {
        match body {
            Value::Object(map) => Fields::of(map, chat::TABLES),
            _ => panic!("{body}"),
        }
    }

    #[test]
    fn texts_are_those_of_messages_and_parts_or_of_prompts() {
        let chat = fields(json!({"messages": [
            {"role": "system", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": null, "tool_calls": [{"function": {"arguments": "x"}}]},
            {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
            {"role": "tool", "content": "e"},
        ]}));
        assert_eq!(
            texts(&chat),
            (vec!["a", "b", "c", "d", "e"], vec!["c", "d"], 2)
        );
        let one = fields(json!({"prompt": "a"}));
        assert_eq!(texts(&one), (vec!["a"], vec!["a"], 1));
        let several = fields(json!({"prompt": ["a", "b"]}));
        assert_eq!(texts(&several), (vec!["a", "b"], vec!["b"], 1));
    }

    #[test]
    fn what_has_another_form_than_it_should_is_not_there() {
        for body in [
            json!({"messages": 5}),
            json!({"messages": [5, null, "x", [], {"role": "system"}, {"role": 1, "content": {}}]}),
            json!({"messages": []}),
        ] {
            assert_eq!(texts(&fields(body.clone())), (vec![], vec![], 0), "{body}");
        }
        for body in [json!({}), json!({"prompt": 5}), json!({"prompt": [1, 2]})] {
            assert_eq!(texts(&fields(body.clone())), (vec![], vec![], 1), "{body}");
        }
    }

    #[test]
    fn a_form_is_asked_for_by_any_of_the_fields_that_do_and_tools_are_those_that_may_be_called() {
        let tool = json!({"type": "function", "function": {"name": "f"}});
        for (body, is_structured, has_tools) in [
            (json!({}), false, false),
            (json!({"response_format": {"type": "text"}}), false, false),
            (
                json!({"response_format": {"type": "json_object"}}),
                true,
                false,
            ),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {}}}),
                true,
                false,
            ),
            (json!({"response_format": "json"}), false, false),
            (json!({"structured_outputs": {"regex": "a"}}), true, false),
            (
                json!({"structured_outputs": {"json_object": false, "disable_fallback": true}}),
                false,
                false,
            ),
            (json!({"structured_outputs": [1]}), false, false),
            (json!({"guided_choice": ["a"]}), true, false),
            (json!({"guided_json": {}}), true, false),
            (json!({"tools": []}), false, false),
            (json!({"tools": "f"}), false, false),
            (json!({"tools": [tool]}), false, true),
            (
                json!({"tools": [tool], "tool_choice": "none"}),
                false,
                false,
            ),
            (
                json!({"tools": [tool], "tool_choice": "required"}),
                false,
                true,
            ),
        ] {
            let fields = fields(body.clone());
            assert_eq!(output_format::is_asked(&fields), is_structured, "{body}");
            assert_eq!(tools::are_brought(&fields), has_tools, "{body}");
        }
    }
}
