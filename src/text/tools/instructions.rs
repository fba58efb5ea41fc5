//! Tools for models whose templates know none.

use serde_json::Value;

use crate::text::message::{Message, Role};
use crate::text::python;

/// `messages` with the tools told of in the system message, and calls and results spelt out in the text of theirs, as Hermes
/// models know it.
pub fn with_instructions(messages: Vec<Message>, tools: &[Value]) -> Vec<Message> {
    let mut all: Vec<Message> = messages.into_iter().map(spelt_out).collect();
    let list: Vec<String> = tools.iter().map(json).collect();
    let text = format!(
        "You can call functions. These are the functions, one a line between <tools> and </tools>:\n<tools>\n{}\n</tools>\n\
         To call one, answer with nothing but an object with its name and its arguments between <tool_call> and </tool_call>:\n\
         <tool_call>\n{{\"name\": \"the function's name\", \"arguments\": {{\"an argument\": \"its value\"}}}}\n</tool_call>",
        list.join("\n")
    );
    match all.first_mut() {
        Some(first) if first.role == Role::System => {
            first.content = format!("{}\n\n{text}", first.content);
        }
        _ => all.insert(0, Message::new(Role::System, text)),
    }
    all
}

/// `message` with its calls, or the result that it is, spelt out in its text.
pub fn spelt_out(mut message: Message) -> Message {
    for call in std::mem::take(&mut message.tool_calls) {
        let (name, arguments) = (
            json(&call.function.name.into()),
            json(&call.function.arguments),
        );
        if !message.content.is_empty() {
            message.content.push('\n');
        }
        message.content.push_str(&format!(
            "<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>"
        ));
    }
    if message.role == Role::Tool {
        message.role = Role::User;
        message.content = format!("<tool_response>\n{}\n</tool_response>", message.content);
        message.tool_call_id = None;
    }
    message
}

/// As models were trained on JSON.
fn json(value: &Value) -> String {
    python::dumps(value, None).expect("JSON values always serialise: this is a bug")
}
