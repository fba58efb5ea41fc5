//! The student's folder: weights, configuration, tokenizer, and how it is sampled.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::text::replace;
use crate::backend::cpu::Cpu;
use crate::cli::load;
use crate::cli::opened::Opened;
use crate::model::distill::{Student, student_config, write_weights};
use crate::text::Tokenizer;

/// What a student has from its teacher's folder as it is.
const COPIED: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.model",
    "LICENSE",
];

/// Writes all files; `config.json`, without which it is no model's folder, last.
pub(super) fn write(
    folder: &Path,
    opened: &Opened,
    student: &Student,
    tokenizer: &Tokenizer,
    kept: &[usize],
    cpu: &Cpu,
) -> anyhow::Result<()> {
    let path = |name: &str| folder.join(name);
    let own = match opened.checkpoint.metadata() {
        None => {
            let teacher = &opened.source.path;
            for name in COPIED.iter().filter(|name| teacher.join(name).exists()) {
                fs::copy(teacher.join(name), path(name)).with_context(|| (*name).to_owned())?;
            }
            let file = teacher.join("config.json");
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            Some(serde_json::from_slice(&bytes).with_context(|| file.display().to_string())?)
        }
        Some(metadata) => {
            let vocabulary = load::vocabulary(metadata)?;
            let template = metadata.opt_str("tokenizer.chat_template")?;
            let files = vocabulary.to_json(template)?;
            write_json(&path("tokenizer.json"), &files.tokenizer)?;
            write_json(&path("tokenizer_config.json"), &files.config)?;
            write_json(
                &path("generation_config.json"),
                &generation(opened, tokenizer),
            )?;
            None
        }
    };
    write_weights(student, &path("model.safetensors"))?;
    let tensors = opened.checkpoint.tensors();
    let config = student_config(own, tensors, &opened.config, kept, cpu)?;
    write_json(&path("config.json"), &config)
}

/// Where answers end, and how the teacher's card samples them.
fn generation(opened: &Opened, tokenizer: &Tokenizer) -> Value {
    let mut json = json!({ "eos_token_id": tokenizer.eos_ids() });
    if let Some(bos) = tokenizer.bos_id() {
        json["bos_token_id"] = bos.into();
    }
    let Some(card) = opened.source.card else {
        return json;
    };
    let sampling = &card.sampling;
    // As people write it, and not as float64 has it.
    let number = |value: f32| value.to_string().parse::<f64>().ok();
    for (key, value) in [
        ("temperature", sampling.temperature.and_then(number)),
        ("top_p", sampling.top_p.and_then(number)),
        (
            "repetition_penalty",
            sampling.repetition_penalty.and_then(number),
        ),
    ] {
        if let Some(value) = value {
            json["do_sample"] = true.into();
            json[key] = value.into();
        }
    }
    if let Some(top_k) = sampling.top_k {
        json["top_k"] = top_k.into();
    }
    json
}

fn write_json(path: &Path, json: &Value) -> anyhow::Result<()> {
    replace(path, &serde_json::to_vec_pretty(json)?)
}
