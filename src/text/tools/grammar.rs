//! The grammar of an answer that may call tools, in Lark's notation: names among those there are, arguments of their schemas.

use serde_json::{Value, json};

use super::ToolFormat;
use crate::text::grammar::Rule;

/// Who decides whether a tool is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The model.
    Auto,
    /// Nobody: at least one is.
    Required,
    /// Nobody: this one is, once.
    Named(String),
}

/// What calls an answer may have.
#[derive(Clone, Debug)]
pub struct ToolRules {
    /// Names, and the schemas of their arguments, which are objects.
    pub functions: Vec<(String, Value)>,
    /// Who decides.
    pub choice: Choice,
    /// Whether there may be several.
    pub is_parallel: bool,
}

impl ToolRules {
    /// The grammar for calls spelt as `format`. `marker` is the id of the token that begins calls where a special token does.
    pub fn rule(&self, format: ToolFormat, marker: Option<u32>) -> Rule {
        let wanted = |name: &String| match &self.choice {
            Choice::Named(only) => name == only,
            Choice::Auto | Choice::Required => true,
        };
        let functions: Vec<&(String, Value)> = self
            .functions
            .iter()
            .filter(|(name, _)| wanted(name))
            .collect();
        let key = match format {
            ToolFormat::Llama3 => "parameters",
            ToolFormat::Hermes | ToolFormat::Mistral => "arguments",
        };
        let mut grammar = self.start(format, marker);
        let names: Vec<String> = (0..functions.len()).map(|i| format!("call_{i}")).collect();
        grammar.push_str(&format!("call: {}\n", names.join(" | ")));
        for (i, (name, schema)) in functions.into_iter().enumerate() {
            let head = format!("{{\"name\": {}, \"{key}\": ", Value::from(name.as_str()));
            grammar.push_str(&format!(
                "call_{i}: {} arguments_{i} \"}}\"\n",
                quoted(&head)
            ));
            grammar.push_str(&format!("arguments_{i}: %json {}\n", compact(schema)));
        }
        Rule::Lark(grammar)
    }

    fn start(&self, format: ToolFormat, marker: Option<u32>) -> String {
        let may_repeat = self.is_parallel && !matches!(self.choice, Choice::Named(_));
        let is_free = self.choice == Choice::Auto;
        match format {
            ToolFormat::Hermes => {
                let one = "\"\\n\" call \"\\n</tool_call>\"";
                let calls = match may_repeat {
                    true => format!("{one} (\"\\n<tool_call>\" {one})*"),
                    false => one.to_owned(),
                };
                match is_free {
                    // Text, and calls where the text comes to one.
                    true => format!(
                        "start: TEXT | begin {calls}\nbegin[lazy]: /(.|\\n)*<tool_call>/\nTEXT: /(.|\\n)*/\n"
                    ),
                    false => format!("start: \"<tool_call>\" {calls}\n"),
                }
            }
            ToolFormat::Llama3 => {
                let calls = match may_repeat {
                    true => "call (\"; \" call)*",
                    false => "call",
                };
                let tag = marker.map(|id| format!("<[{id}]>? ")).unwrap_or_default();
                match is_free {
                    true => {
                        format!(
                            "start: TEXT | {tag}{calls}\nTEXT: /\\s*([^{{<\\s](.|\\n)*|<([^|](.|\\n)*)?)?/\n"
                        )
                    }
                    false => format!("start: {calls}\n"),
                }
            }
            ToolFormat::Mistral => {
                let calls = match may_repeat {
                    true => "\"[\" call (\", \" call)* \"]\"",
                    false => "\"[\" call \"]\"",
                };
                let tag = match marker {
                    Some(id) => format!("<[{id}]>"),
                    None => "\"[TOOL_CALLS]\"".to_owned(),
                };
                match (is_free, marker) {
                    (true, Some(_)) => format!("start: TEXT ({tag} {calls})?\nTEXT: /(.|\\n)*/\n"),
                    (true, None) => format!(
                        "start: TEXT | begin {calls}\nbegin[lazy]: /(.|\\n)*\\[TOOL_CALLS\\]/\nTEXT: /(.|\\n)*/\n"
                    ),
                    (false, _) => format!("start: {tag} {calls}\n"),
                }
            }
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A schema whose answers stand on one line, as models write arguments.
fn compact(schema: &Value) -> String {
    let mut schema = schema.clone();
    schema["x-guidance"] = json!({
        "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "
    });
    schema.to_string()
}
