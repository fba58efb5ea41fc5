//! The text side of a model: tokenizer and chat template, from a GGUF file, or from the files of a folder.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::hub::{Card, Task};
use crate::model::gguf::Metadata;
use crate::text::{ChatTemplate, GgufVocab, Tokenizer};

/// The tokenizer of `folder` (tokenizer.json, tokenizer_config.json), else the one inside the model's file.
pub fn tokenizer(
    metadata: Option<Metadata<'_>>,
    folder: Option<&Path>,
) -> anyhow::Result<Tokenizer> {
    let folder = match (folder, metadata) {
        (Some(folder), _) => folder,
        (None, Some(metadata)) => return Ok(Tokenizer::from_gguf(vocabulary(metadata)?)?),
        (None, None) => anyhow::bail!("the model has no tokenizer; give one with --tokenizer DIR"),
    };
    let json = read(&folder.join("tokenizer.json"))?;
    let config_path = folder.join("tokenizer_config.json");
    let config = config_path
        .exists()
        .then(|| read(&config_path))
        .transpose()?;
    Ok(Tokenizer::from_json(&json, config.as_deref())?)
}

/// The template in `file`, else the one of the tokenizer's folder, else the model's own.
pub fn chat_template(
    metadata: Option<Metadata<'_>>,
    tokenizer: &Tokenizer,
    file: Option<&Path>,
    folder: Option<&Path>,
) -> anyhow::Result<Result<ChatTemplate, String>> {
    let from_folder = folder.map(template_of_folder).transpose()?.flatten();
    let source = match file {
        Some(file) => Some(
            String::from_utf8(read(file)?)
                .with_context(|| format!("{}: not UTF-8", file.display()))?,
        ),
        None => match from_folder {
            Some(source) => Some(source),
            None => {
                let own = metadata.map(|metadata| metadata.opt_str("tokenizer.chat_template"));
                own.transpose()?.flatten().map(str::to_owned)
            }
        },
    };
    let text = |id: Option<u32>| id.map(|id| tokenizer.token_text(id));
    let (bos, eos) = (text(tokenizer.bos_id()), text(tokenizer.eos_id()));
    match ChatTemplate::new(source.as_deref(), bos.as_deref(), eos.as_deref()) {
        Ok(template) => Ok(Ok(template)),
        // A base model is served all the same; a chat request to it says what is missing.
        Err(error) if source.is_none() => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a card that is for something else than `flag` serves, before it is fetched.
pub(super) fn check_task(flag: &str, spec: &str, task: Task) -> anyhow::Result<()> {
    match Card::find(spec).map(|card| card.task) {
        Some(Task::Embed) if task == Task::Generate => {
            anyhow::bail!("{flag}: {spec} does not generate text; --embedding-model serves it")
        }
        Some(Task::Generate) if task == Task::Embed => {
            anyhow::bail!("{flag}: {spec} is no embedding model; --model serves it")
        }
        _ => Ok(()),
    }
}

/// `chat_template` of tokenizer_config.json, or chat_template.jinja, where newer folders keep it.
pub(super) fn template_of_folder(folder: &Path) -> anyhow::Result<Option<String>> {
    let jinja = folder.join("chat_template.jinja");
    if jinja.exists() {
        return Ok(Some(
            String::from_utf8(read(&jinja)?)
                .with_context(|| format!("{}: not UTF-8", jinja.display()))?,
        ));
    }
    let path = folder.join("tokenizer_config.json");
    if !path.exists() {
        return Ok(None);
    }
    let config: TokenizerConfig = serde_json::from_slice(&read(&path)?)
        .with_context(|| format!("{}: chat_template", path.display()))?;
    Ok(match config.chat_template {
        Some(Templates::One(source)) => Some(source),
        Some(Templates::Named(list)) => list
            .into_iter()
            .find(|entry| entry.name == "default")
            .map(|entry| entry.template),
        None => None,
    })
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
}

/// A model may bring one template or several by name, of which `default` is for chat.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// The keys `tokenizer.ggml.*`.
pub fn vocabulary(metadata: Metadata<'_>) -> anyhow::Result<GgufVocab> {
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
    Ok(GgufVocab {
        name: metadata.opt_str("general.name")?.map(str::to_owned),
        model: metadata
            .get_str("tokenizer.ggml.model")
            .context("the file has no tokenizer; give one with --tokenizer DIR")?
            .to_owned(),
        pre: metadata.opt_str("tokenizer.ggml.pre")?.map(str::to_owned),
        tokens: owned(metadata.get_str_array("tokenizer.ggml.tokens")?),
        token_types: metadata
            .opt_i32_array("tokenizer.ggml.token_type")?
            .unwrap_or_default(),
        scores: metadata
            .opt_f32_array("tokenizer.ggml.scores")?
            .unwrap_or_default(),
        merges: metadata
            .opt_str_array("tokenizer.ggml.merges")?
            .map(owned)
            .unwrap_or_default(),
        bos_id: metadata.opt_u32("tokenizer.ggml.bos_token_id")?,
        eos_id: metadata.opt_u32("tokenizer.ggml.eos_token_id")?,
        eot_id: metadata.opt_u32("tokenizer.ggml.eot_token_id")?,
        unk_id: metadata.opt_u32("tokenizer.ggml.unknown_token_id")?,
        add_bos: metadata.opt_bool("tokenizer.ggml.add_bos_token")?,
        add_eos: metadata.opt_bool("tokenizer.ggml.add_eos_token")?,
        add_space_prefix: metadata.opt_bool("tokenizer.ggml.add_space_prefix")?,
    })
}
