//! Structured output: what a request asks an answer to look like, compiled to a constraint on its tokens.
//!
//! Compiling has limits in size, depth and work, so that no schema holds up anybody else; what does not fit them, or uses what
//! is not supported, is an error that names the place. Compiled grammars are kept, since clients send the same few again and
//! again.

mod culprit;
mod parts;
mod spelling;
mod vocabulary;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use thiserror::Error;

use spelling::Spelling;

use super::tokenizer::Tokenizer;
use crate::constraint::{Constraint, ConstraintError, TokenMask};

/// Bytes of a schema or grammar.
const MAX_BYTES: usize = 256 << 10;
/// Levels of a schema.
const MAX_DEPTH: usize = 64;
/// Compiled grammars kept.
const MAX_KEPT: usize = 32;

/// What an answer is to look like.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// A JSON value of this schema.
    JsonSchema(Value),
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this grammar, in Lark's notation as llguidance reads it.
    Lark(String),
}

impl Rule {
    /// Any JSON object.
    pub fn json_object() -> Self {
        Self::JsonSchema(json!({"type": "object"}))
    }
}

/// A rule that cannot be followed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct GrammarError {
    /// Where in a schema, as `.properties.a.items`; empty for all of it.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl GrammarError {
    fn whole(message: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            message: message.into(),
        }
    }
}

/// Compiles rules for one vocabulary.
pub struct Grammars {
    factory: ParserFactory,
    spelling: Spelling,
    kept: Mutex<Vec<(Rule, Matcher)>>,
}

impl Grammars {
    /// For the tokens of `tokenizer`; takes a good part of a second for large vocabularies.
    ///
    /// # Errors
    /// If the vocabulary has no token that ends an answer, or cannot be indexed.
    pub fn new(tokenizer: &Arc<Tokenizer>) -> Result<Self, GrammarError> {
        let vocabulary = vocabulary::index(tokenizer)?;
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&vocabulary, InferenceCapabilities::default(), &slices)
                .map_err(|error| GrammarError::whole(error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            max_grammar_size: 200_000,
            max_lexer_states: 50_000,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(Self {
            factory,
            spelling: Spelling::new(tokenizer),
            kept: Mutex::default(),
        })
    }

    /// Compiles `rule`, or finds it compiled. Takes milliseconds, a few hundred at most.
    ///
    /// # Errors
    /// If the rule is malformed, unsupported, without any answer, or costs more than it may.
    pub fn compile(&self, rule: &Rule) -> Result<Box<dyn Constraint>, GrammarError> {
        if let Some(matcher) = self.find(rule) {
            return Ok(Box::new(Guided(matcher)));
        }
        let matcher = self.build(rule)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(0, (rule.clone(), matcher.deep_clone()));
        kept.truncate(MAX_KEPT);
        drop(kept);
        Ok(Box::new(Guided(matcher)))
    }

    /// Whether `rule` could be followed; it is not kept.
    ///
    /// # Errors
    /// As [`Grammars::compile`].
    pub fn check(&self, rule: &Rule) -> Result<(), GrammarError> {
        self.build(rule).map(drop)
    }

    fn find(&self, rule: &Rule) -> Option<Matcher> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let i = kept.iter().position(|(known, _)| known == rule)?;
        kept[..=i].rotate_right(1);
        Some(kept[0].1.deep_clone())
    }

    fn build(&self, rule: &Rule) -> Result<Matcher, GrammarError> {
        if let Some(c) = self.spelling.missing(rule) {
            let code = u32::from(c);
            let message = format!("no tokens of the model spell {c:?} (U+{code:04X})");
            return Err(GrammarError::whole(message));
        }
        match rule {
            Rule::JsonSchema(schema) => {
                culprit::check_limits(schema)?;
                self.build_schema(schema)
                    .map_err(|message| self.blame(schema, message))
            }
            // Digits and letters are those of ASCII, as in schemas.
            Rule::Regex(regex) => self.build_text(regex, |regex| {
                let regex = llguidance::regex_to_lark(regex, "dw");
                TopLevelGrammar::from_lark(format!("start: /{regex}/"))
            }),
            Rule::Lark(grammar) => {
                self.build_text(grammar, |text| TopLevelGrammar::from_lark(text.into()))
            }
            Rule::Choice(texts) if texts.is_empty() => {
                Err(GrammarError::whole("there is nothing to choose from"))
            }
            Rule::Choice(texts) => {
                let quoted: Result<Vec<_>, _> = texts.iter().map(serde_json::to_string).collect();
                let quoted = quoted.map_err(|error| GrammarError::whole(error.to_string()))?;
                let grammar = format!("start: {}", quoted.join(" | "));
                self.build_text(&grammar, |text| TopLevelGrammar::from_lark(text.into()))
            }
        }
    }

    fn build_text(
        &self,
        text: &str,
        grammar: impl Fn(&str) -> TopLevelGrammar,
    ) -> Result<Matcher, GrammarError> {
        if text.len() > MAX_BYTES {
            let message = format!(
                "it has {} bytes; at most {MAX_BYTES} are allowed",
                text.len()
            );
            return Err(GrammarError::whole(message));
        }
        self.matcher(grammar(text)).map_err(GrammarError::whole)
    }

    /// Compiles a schema. White space stands where people put it, and not without end: a space, or a new line and its indentation.
    fn build_schema(&self, schema: &Value) -> Result<Matcher, String> {
        let mut schema = match schema {
            // The options below stand in an object.
            Value::Bool(true) => json!({}),
            Value::Object(_) => schema.clone(),
            _ => return Err("a schema is an object".into()),
        };
        parts::bound_formats(&mut schema);
        schema["x-guidance"] = json!({"whitespace_pattern": " |\\n[ \\t]{0,40}"});
        self.matcher(TopLevelGrammar::from_json_schema(schema))
    }

    fn matcher(&self, grammar: TopLevelGrammar) -> Result<Matcher, String> {
        let build = || {
            let parser = self.factory.create_parser(grammar);
            let mut matcher = Matcher::new(parser);
            // The first mask tells whether there is any answer at all.
            let mask = matcher.compute_mask().map_err(|error| error.to_string())?;
            match mask.num_set() == 0 {
                true => Err("nothing can be answered that fits it".to_owned()),
                false => Ok(matcher),
            }
        };
        catch_unwind(AssertUnwindSafe(build))
            .unwrap_or_else(|_| Err("it cannot be compiled".to_owned()))
    }

    /// The smallest part of the schema that cannot be compiled by itself, either.
    fn blame(&self, schema: &Value, message: String) -> GrammarError {
        let fails = |part: &Value| self.build_schema(part).err();
        let (path, message) = culprit::smallest(schema, message, fails);
        GrammarError {
            path,
            message: culprit::first_line(&message),
        }
    }
}

/// A compiled grammar on its way through one answer.
struct Guided(Matcher);

impl Constraint for Guided {
    fn mask(&mut self) -> Result<TokenMask, ConstraintError> {
        let mask = self.0.compute_mask_or_eos().map_err(|error| {
            let message = culprit::first_line(&error.to_string());
            ConstraintError::Rule(match message.as_str() {
                "NoExtensionBias" => "no token of the model goes on with it".into(),
                _ => message,
            })
        })?;
        Ok(TokenMask::new(mask.into()))
    }

    fn accept(&mut self, token_id: u32) -> Result<(), ConstraintError> {
        self.0
            .consume_token(token_id)
            .map_err(|error| ConstraintError::Failed(culprit::first_line(&error.to_string())))
    }

    fn boxed_clone(&self) -> Box<dyn Constraint> {
        Box::new(Self(self.0.deep_clone()))
    }
}
