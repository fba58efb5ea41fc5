//! What `transformers` renders (tests/data/templates, by scripts/make_template_fixtures.py): the default model's template, and
//! templates of our own in the formats of others, with tools, calls, thoughts and continued messages.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::chat::encode_chat;
use super::message::{Conversation, Message};
use super::template::ChatTemplate;
use super::test_vocab::byte_level;
use super::tools::{ToolFormat, ToolStyle};

#[derive(Deserialize)]
struct Case {
    template: String,
    name: String,
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Value>,
    add_generation_prompt: Option<bool>,
    #[serde(default)]
    continue_final_message: bool,
    #[serde(default)]
    kwargs: Map<String, Value>,
    prompt: String,
}

fn template(name: &str) -> ChatTemplate {
    let source = match name {
        "smollm2" => include_str!("../../tests/data/golden/smollm2_chat_template.jinja"),
        "hermes" => include_str!("../../tests/data/templates/hermes.jinja"),
        "llama3" => include_str!("../../tests/data/templates/llama3.jinja"),
        "mistral" => include_str!("../../tests/data/templates/mistral.jinja"),
        other => panic!("no template {other}"),
    };
    ChatTemplate::new(Some(source), Some("<s>"), Some("</s>")).unwrap()
}

#[test]
fn prompts_are_those_of_transformers() {
    let cases = include_str!("../../tests/data/templates/cases.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 48);
    let tokenizer = byte_level();
    for case in cases {
        let conversation = Conversation {
            messages: case.messages,
            tools: case.tools,
            add_generation_prompt: case.add_generation_prompt.unwrap_or(true),
            continue_final_message: case.continue_final_message,
            kwargs: case.kwargs,
        };
        let prompt = encode_chat(&tokenizer, &template(&case.template), &conversation);
        let prompt =
            prompt.unwrap_or_else(|error| panic!("{}, {}: {error}", case.template, case.name));
        assert_eq!(prompt.text, case.prompt, "{}, {}", case.template, case.name);
    }
}

#[test]
fn how_a_model_calls_tools_shows_in_its_template() {
    for (name, format, is_in_template) in [
        ("smollm2", ToolFormat::Hermes, false),
        ("hermes", ToolFormat::Hermes, true),
        ("llama3", ToolFormat::Llama3, true),
        ("mistral", ToolFormat::Mistral, true),
    ] {
        let style = ToolStyle {
            format,
            is_in_template,
        };
        assert_eq!(ToolStyle::of(&template(name)), Some(style), "{name}");
    }
    let unknown = ChatTemplate::new(
        Some("{% for tool in tools %}<function=x>{% endfor %}"),
        None,
        None,
    );
    assert_eq!(ToolStyle::of(&unknown.unwrap()), None);
}
