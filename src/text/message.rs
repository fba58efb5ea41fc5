//! The messages of a conversation, as the chat template sees them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who speaks. A closed set, because templates build special tokens from it (`<|` + role + `|>`):
/// a role of the client's choosing could name any special token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the operator or application.
    System,
    /// Instructions of the application, in the newer naming.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One message: its text is ordinary text, whatever it spells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; may be empty beside tool calls.
    pub content: String,
    /// The participant's name, which some templates show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the model thought before it said that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The tools that the model called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool's result answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A call of a tool in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its name, by which a result refers to it.
    pub id: String,
    /// Always `function`.
    pub r#type: String,
    /// What was called.
    pub function: FunctionCall,
}

/// A function and what it is called with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// An object, as templates expect it; on the wire it is JSON in a string.
    pub arguments: Value,
}

impl Message {
    /// A message that is nothing but text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
            reasoning_content: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }
}

/// What a chat template is given to write a prompt of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conversation {
    /// What was said.
    pub messages: Vec<Message>,
    /// The tools that may be called, as `{"type": "function", "function": {…}}`.
    pub tools: Vec<Value>,
    /// Whether the prompt ends where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Whether the last message is unfinished, so that the prompt ends within it.
    pub continue_final_message: bool,
    /// More variables of the template.
    pub kwargs: Map<String, Value>,
}

impl Conversation {
    /// Messages without tools, up to where the answer begins.
    pub fn new(messages: Vec<Message>) -> Self {
        Self {
            messages,
            tools: Vec::new(),
            add_generation_prompt: true,
            continue_final_message: false,
            kwargs: Map::new(),
        }
    }
}
