//! Chat templates: Jinja as Hugging Face renders it.
//!
//! Blocks are trimmed, undefined values are lenient, loop controls and Python's string and dict methods
//! exist, `raise_exception`, `strftime_now` and a Python-like `tojson` are added, `{% generation %}` is
//! transparent. A render has a fixed budget of work, so no template runs for ever.

use std::borrow::Cow;
use std::error::Error as StdError;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::error::TemplateError;
use super::message::Conversation;
use super::{python, strftime};

const NAME: &str = "chat_template";
/// minijinja's fuel: about one an instruction and one for 64 bytes of text. Long conversations take well
/// under a million; all of it is a second or so.
const FUEL: u64 = 50_000_000;

/// What `raise_exception` was called with.
#[derive(Debug, Error)]
#[error("{0}")]
struct Raised(String);

/// The variables of a render.
#[derive(Serialize)]
struct Context<'a> {
    #[serde(flatten)]
    kwargs: &'a Map<String, Value>,
    messages: &'a Value,
    add_generation_prompt: bool,
    /// Hugging Face passes `tools` and `documents` as None when there are none.
    tools: Option<&'a [Value]>,
    documents: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    bos_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eos_token: Option<&'a str>,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// Compiles `source`. `bos_token` and `eos_token` are the tokens' texts, undefined to the template if
    /// `None`. A model without a template and a template that does not compile are errors.
    pub fn new(
        source: Option<&str>,
        bos_token: Option<&str>,
        eos_token: Option<&str>,
    ) -> Result<Self, TemplateError> {
        let source = source.ok_or(TemplateError::Missing)?;
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(syntax_error)?);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", python::tojson);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, "raise_exception")
                    .with_source(Raised(message)))
            },
        );
        environment.add_function("strftime_now", |format: &str| {
            strftime::strftime(format, jiff::Timestamp::now())
                .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
        });
        let without_generation = generation_as_if(source).into_owned();
        environment
            .add_template_owned(NAME, without_generation)
            .map_err(syntax_error)?;
        Ok(Self {
            environment,
            source: source.to_owned(),
            bos_token: bos_token.map(str::to_owned),
            eos_token: eos_token.map(str::to_owned),
        })
    }

    /// The text of a conversation.
    ///
    /// Message texts stand in it as they are: to turn them into tokens safely use
    /// [`encode_chat`](super::encode_chat).
    pub fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let messages = serde_json::to_value(&conversation.messages).map_err(|error| {
            TemplateError::Render {
                line: 0,
                problem: error.to_string(),
            }
        })?;
        self.render_values(
            conversation,
            &messages,
            &conversation.tools,
            &conversation.kwargs,
        )
    }

    /// As [`ChatTemplate::render`], with other values in the place of the conversation's own.
    pub(super) fn render_values(
        &self,
        conversation: &Conversation,
        messages: &Value,
        tools: &[Value],
        kwargs: &Map<String, Value>,
    ) -> Result<String, TemplateError> {
        let context = Context {
            kwargs,
            messages,
            add_generation_prompt: conversation.add_generation_prompt,
            tools: (!tools.is_empty()).then_some(tools),
            documents: (),
            bos_token: self.bos_token.as_deref(),
            eos_token: self.eos_token.as_deref(),
        };
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(Serde(context)))
            .map_err(render_error)
    }

    /// The source as given.
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn syntax_error(error: Error) -> TemplateError {
    TemplateError::Syntax {
        line: error.line().unwrap_or(0),
        problem: describe(&error),
    }
}

fn render_error(error: Error) -> TemplateError {
    let mut source: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return TemplateError::Raised(message.clone());
        }
        source = cause.source();
    }
    TemplateError::Render {
        line: error.line().unwrap_or(0),
        problem: describe(&error),
    }
}

fn describe(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// `source` with the tags `{% generation %}` and `{% endgeneration %}`, which mark what the assistant
/// wrote and print it as it is, turned into an `if` that is always true.
fn generation_as_if(source: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed("");
    let mut done = 0;
    for (open, _) in source.match_indices("{%") {
        let after = &source[open + 2..];
        let body = after.trim_start_matches(['-', '+']).trim_start();
        let Some((tag, keyword)) = [("endgeneration", "endif"), ("generation", "if true")]
            .into_iter()
            .find(|(tag, _)| body.starts_with(tag))
        else {
            continue;
        };
        let rest = body[tag.len()..]
            .trim_start()
            .trim_start_matches(['-', '+']);
        if rest.starts_with("%}") {
            let start = source.len() - body.len();
            let out = out.to_mut();
            out.push_str(&source[done..start]);
            out.push_str(keyword);
            done = start + tag.len();
        }
    }
    if done == 0 {
        return Cow::Borrowed(source);
    }
    out.to_mut().push_str(&source[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, Role};
    use super::*;

    fn render(source: &str, contents: &[&str]) -> Result<String, TemplateError> {
        let messages: Vec<Message> = contents
            .iter()
            .map(|&content| Message::new(Role::User, content))
            .collect();
        ChatTemplate::new(Some(source), Some("<s>"), None)?.render(&Conversation::new(messages))
    }

    #[test]
    fn a_model_without_a_template_is_an_error_that_names_the_flag() {
        let error = ChatTemplate::new(None, None, None).unwrap_err();
        assert!(error.to_string().contains("--chat-template"));
    }

    #[test]
    fn a_bad_template_is_an_error_at_load_with_its_line() {
        let error = ChatTemplate::new(Some("a\nb\n{% for %}"), None, None).unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
    }

    #[test]
    fn an_exception_raised_by_the_template_carries_its_message() {
        let source = "{% macro check(m) %}{{ raise_exception('roles must alternate: ' + m.role) }}{% endmacro %}\
                      {% for m in messages %}{{ check(m) }}{% endfor %}";
        match render(source, &["a"]).unwrap_err() {
            TemplateError::Raised(message) => assert_eq!(message, "roles must alternate: user"),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_failure_while_rendering_names_the_line() {
        let error = render("a\n{{ messages[0].nope.deeper }}", &["a"]).unwrap_err();
        assert!(
            matches!(error, TemplateError::Render { line: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn blocks_are_trimmed_and_undefined_is_empty() {
        let source = "{% for m in messages %}\n    {% if true %}\n{{ m.content }}{{ m.nope }}\n    {% endif %}\n{% endfor %}\nend\n";
        assert_eq!(render(source, &["a", "b"]).unwrap(), "a\nb\nend");
    }

    #[test]
    fn the_idioms_of_hugging_face_templates_work() {
        let cases = [
            (
                "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m['content'] }}{% endfor %}",
                "a ",
            ),
            ("{{ messages[1].content.strip().upper() }}", "B"),
            ("{{ messages[0].get('name', 'nobody') }}", "nobody"),
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "2",
            ),
            (
                "{{ 'x</think>y'.split('</think>')[-1].lstrip('\\n') }}",
                "y",
            ),
            (
                "{% if tools is not none %}tools{% endif %}{{ messages[1:] | length }}",
                "1",
            ),
            (
                "{{ bos_token }}{{ eos_token is defined }}{{ add_generation_prompt }}",
                "<s>FalseTrue",
            ),
            (
                "{{ {'a': ['<b>', 1.0], 'c': none} | tojson }}",
                r#"{"a": ["<b>", 1.0], "c": null}"#,
            ),
            (
                "{{ {'a': [1]} | tojson(indent=1) }}",
                "{\n \"a\": [\n  1\n ]\n}",
            ),
            ("{{ '<&>' }}", "<&>"),
            (
                "{%- if strftime_now is defined %}{{ strftime_now('%Y') | length }}{% endif %}",
                "4",
            ),
            (
                "{{ messages[0].content is string }}{{ messages is iterable }}",
                "TrueTrue",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(
                render(source, &["a ", " b "]).unwrap(),
                expected,
                "{source}"
            );
        }
    }

    #[test]
    fn the_generation_tag_prints_what_it_encloses() {
        let source = "a\n  {%- generation -%}  {{ messages[0].content }}\n{% endgeneration %}\nb{% if generation %}{% endif %}";
        assert_eq!(render(source, &["x"]).unwrap(), "ax\nb");
    }

    #[test]
    fn an_endless_template_runs_out_of_fuel() {
        let source =
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        let error = render(source, &[]).unwrap_err();
        assert!(error.to_string().contains("fuel"), "{error}");
    }
}
