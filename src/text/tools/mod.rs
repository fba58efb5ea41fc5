//! Tools: how a model is told of them, how it calls them, and how a call is read while it is being written.
//!
//! How a model calls tools shows in its chat template. One whose template knows no tools is told of them in a system message,
//! and calls them as Hermes models do.

mod call;
mod grammar;
mod instructions;

pub(super) use call::{CallEvent, CallReader};
pub use grammar::{Choice, ToolRules};
pub use instructions::{spelt_out, with_instructions};

use super::template::ChatTemplate;

/// How calls are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`, once for each call (Hermes, Qwen).
    Hermes,
    /// `{"name": …, "parameters": {…}}` as the whole answer (Llama 3).
    Llama3,
    /// `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]` (Mistral).
    Mistral,
}

/// How a model calls tools, and whether its template tells it of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolStyle {
    /// How it spells calls.
    pub format: ToolFormat,
    /// Whether the template shows tools, or somebody else has to.
    pub is_in_template: bool,
}

impl ToolStyle {
    /// What a template says of it; `None` where it shows tools in a form that is not known here.
    pub fn of(template: &ChatTemplate) -> Option<Self> {
        let source = template.source();
        let has = |text: &str| source.contains(text);
        let format = if has("[TOOL_CALLS]") && !has("[ARGS]") {
            ToolFormat::Mistral
        } else if has("<tool_call>") && !has("<function=") && !has("<arg_key>") {
            ToolFormat::Hermes
        } else if has("<|python_tag|>") || (has("<|start_header_id|>") && has("\"parameters\"")) {
            ToolFormat::Llama3
        } else if has("tools") {
            return None;
        } else {
            return Some(Self {
                format: ToolFormat::Hermes,
                is_in_template: false,
            });
        };
        Some(Self {
            format,
            is_in_template: true,
        })
    }
}
