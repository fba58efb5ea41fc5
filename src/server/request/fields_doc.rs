//! `docs/api-fields.md`, written from the tables that requests are checked against, so that the two cannot differ.

use std::fmt::Write as _;
use std::path::Path;

use super::fields::{Field, Support};
use super::{anthropic, embeddings, generate, output_format, responses};
use crate::server::routes::{adapters, chat, completions, tokenize};

const PREAMBLE: &str = "# Request fields\n\n\
    What each endpoint does with each field it knows. Any other field is a 400 that names the nearest known one; `null`\n\
    counts as absent everywhere. Fields that are not honoured are accepted at values that ask for nothing, or where there is nothing\n\
    to do about them.\n\n\
    This file is written by a test from the server's own tables: `UPDATE_DOCS=1 cargo test --release --lib api_fields`.\n";

fn section(title: &str, tables: &[&[Field]]) -> String {
    let mut text = format!("\n## {title}\n\n| field | |\n|---|---|\n");
    let mut fields: Vec<&Field> = tables.iter().copied().flatten().collect();
    fields.sort_by_key(|(name, _)| *name);
    for (name, support) in fields {
        let what = match support {
            Support::Honoured(_) => "honoured".to_owned(),
            Support::Required(_) => "required".to_owned(),
            Support::Hint(why) => format!("accepted: {why}"),
            Support::Only([]) => "refused: not supported yet".to_owned(),
            Support::Only(neutral) => format!("accepted only as `{}`", neutral.join("` or `")),
        };
        writeln!(text, "| `{name}` | {what} |").unwrap();
    }
    text
}

#[test]
fn the_api_fields_in_the_docs_are_the_ones_that_are_checked() {
    let written = [
        PREAMBLE.to_owned(),
        section("POST /v1/chat/completions", chat::TABLES),
        section(
            "POST /v1/completions",
            &[generate::SHARED, output_format::FIELDS, completions::FIELDS],
        ),
        section("POST /v1/embeddings", &[embeddings::FIELDS]),
        section("POST /v1/responses", &[responses::FIELDS]),
        section(
            "POST /v1/messages",
            &[anthropic::PROMPT, anthropic::GENERATE],
        ),
        section("POST /v1/messages/count_tokens", &[anthropic::PROMPT]),
        section("POST /tokenize", tokenize::TABLES),
        section("POST /detokenize", &[tokenize::DETOKENIZE]),
        section("POST /v1/load_lora_adapter", &[adapters::LOAD]),
        section("POST /v1/unload_lora_adapter", &[adapters::UNLOAD]),
    ]
    .concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api-fields.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == written,
        "docs/api-fields.md is out of date: run it with UPDATE_DOCS=1"
    );
}
