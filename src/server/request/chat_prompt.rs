//! What a chat's prompt is made of: messages, tools, thoughts, and the template's variables.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::conversation;
use super::fields::{Field, Fields, NEVER, Support::Honoured, Support::Only, Support::Required};
use super::form::Form::Bool;
use super::form::OBJECT;
use super::output_format::Asked;
use super::thinking::{self, Thinking};
use super::tools::{self, Tools};
use crate::server::error::ApiError;
use crate::server::state::ServedModel;
use crate::text::{
    ChatTemplate, Conversation, Marks, Prompt, ToolFormat, ToolStyle, encode_chat, spelt_out,
    with_instructions,
};

/// What a chat cannot be without.
pub(crate) const MESSAGES: &[Field] = &[("messages", Required(conversation::MESSAGES))];

/// The other fields of this file.
pub(crate) const FIELDS: &[Field] = &[
    ("add_generation_prompt", Honoured(Bool)),
    ("continue_final_message", Honoured(Bool)),
    ("chat_template_kwargs", Honoured(OBJECT)),
    ("documents", Only(&["[]"])),
    ("chat_template", NEVER),
    ("mm_processor_kwargs", NEVER),
    ("media_io_kwargs", NEVER),
];

/// Variables that are the server's to set.
const OWN_VARIABLES: &[&str] = &[
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
    "bos_token",
    "eos_token",
];

/// A chat before its prompt is rendered.
pub(crate) struct ChatPrompt {
    pub conversation: Conversation,
    pub tools: Option<Tools>,
    pub thinking: Thinking,
    style: Option<ToolStyle>,
}

impl ChatPrompt {
    /// Takes the fields of this file, of tools and of thoughts.
    pub fn take(fields: &mut Fields, model: &ServedModel) -> Result<Self, ApiError> {
        let template = template(model)?;
        let mut messages = conversation::messages(fields)?;
        let tools = tools::take(fields)?;
        let continues = fields.opt("continue_final_message")?.unwrap_or(false);
        let generates = fields.opt("add_generation_prompt")?;
        if continues && generates == Some(true) {
            let message = "continue_final_message goes on with the last message, add_generation_prompt begins a new one: send one";
            return Err(ApiError::field("continue_final_message", message));
        }
        let mut kwargs: Map<String, Value> =
            fields.opt("chat_template_kwargs")?.unwrap_or_default();
        if let Some(name) = kwargs
            .keys()
            .find(|name| OWN_VARIABLES.contains(&name.as_str()))
        {
            let param = format!("chat_template_kwargs.{name}");
            let message = format!("{param} is set by the server");
            return Err(ApiError::field(param, message));
        }
        let thinking = thinking::take(fields, template, &model.tokenizer, &mut kwargs)?;
        let style = ToolStyle::of(template);
        let mut shown = Vec::new();
        match (&tools, style) {
            (Some(_), None) => {
                let message =
                    "the model's chat template calls tools in a form that is not supported";
                return Err(ApiError::field("tools", message));
            }
            (Some(tools), Some(style)) if style.is_in_template => shown = tools.list.clone(),
            (Some(tools), Some(_)) => messages = with_instructions(messages, &tools.list),
            (None, Some(style)) if !style.is_in_template => {
                messages = messages.into_iter().map(spelt_out).collect();
            }
            (None, _) => {}
        }
        Ok(Self {
            conversation: Conversation {
                messages,
                tools: shown,
                add_generation_prompt: generates.unwrap_or(!continues),
                continue_final_message: continues,
                kwargs,
            },
            tools,
            thinking,
            style,
        })
    }

    /// Characters of the messages, for the log.
    pub fn num_chars(&self) -> usize {
        let messages = self.conversation.messages.iter();
        messages
            .map(|message| message.content.chars().count())
            .sum()
    }

    /// Renders and tokenises off the async threads: long prompts take milliseconds.
    pub async fn encode(&self, model: &Arc<ServedModel>) -> Result<Prompt, ApiError> {
        let num_bytes = self
            .conversation
            .messages
            .iter()
            .map(|message| message.content.len());
        model.check_prompt_bytes(num_bytes.sum(), "messages")?;
        let (model, conversation) = (Arc::clone(model), self.conversation.clone());
        let encode = move || -> Result<Prompt, ApiError> {
            Ok(encode_chat(
                &model.tokenizer,
                template(&model)?,
                &conversation,
            )?)
        };
        tokio::task::spawn_blocking(encode)
            .await
            .map_err(|_| ApiError::internal("the chat template panicked"))?
    }

    /// What marks an answer to `prompt` may have.
    pub fn marks(&self, prompt: &Prompt) -> Marks {
        let end = prompt.text.trim_end();
        let thinks = self.thinking.tokens.is_some();
        // A message that is continued may be in the middle of them, or past them.
        let last = self.conversation.messages.last();
        let last = last.filter(|_| self.conversation.continue_final_message);
        let continued = last.map_or("", |message| message.content.as_str());
        let is_within = continued.rfind("<think>") > continued.rfind("</think>");
        let is_past = continued.contains("</think>") && !is_within;
        Marks {
            may_think: thinks && !end.ends_with("</think>") && !is_past,
            is_thinking: thinks && (end.ends_with("<think>") || is_within),
            tools: self.format(),
        }
    }

    fn format(&self) -> Option<ToolFormat> {
        self.tools.as_ref()?;
        self.style.map(|style| style.format)
    }

    /// What an answer that may call tools looks like.
    pub fn tool_rule(&self, model: &ServedModel) -> Option<Asked> {
        let (tools, format) = (self.tools.as_ref()?, self.format()?);
        let marker = match format {
            ToolFormat::Hermes => None,
            ToolFormat::Llama3 => Some("<|python_tag|>"),
            ToolFormat::Mistral => Some("[TOOL_CALLS]"),
        };
        let marker = marker.and_then(|text| model.tokenizer.token_id(text));
        let marker = marker.filter(|&id| model.tokenizer.is_special(id));
        Some(Asked {
            param: "tools".into(),
            rule: tools.rules.rule(format, marker),
        })
    }
}

fn template(model: &ServedModel) -> Result<&ChatTemplate, ApiError> {
    let template = model.chat_template.as_ref();
    template.map_err(|why| ApiError::field("messages", why.clone()))
}
