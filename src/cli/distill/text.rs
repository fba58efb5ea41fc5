//! The text as tokens: of files, and on disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use crate::cli::opened::tokens_of;
use crate::text::Tokenizer;

/// The tokens of the files, one after the other.
pub(super) fn read(paths: &[PathBuf], tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
    let mut tokens = Vec::new();
    for path in paths {
        tokens.extend(tokens_of(path, tokenizer).context("--text")?);
    }
    Ok(tokens)
}

/// What tells one text from another, for people too; without any it is the teacher's.
pub(super) fn digest(tokens: Option<&[u32]>) -> String {
    let Some(tokens) = tokens else {
        return "the teacher's own".into();
    };
    let hash: String = Sha256::digest(bytes(tokens))
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{} tokens, SHA-256 {hash}…", tokens.len())
}

/// Writes the file as a whole.
pub(super) fn save(tokens: &[u32], path: &Path) -> anyhow::Result<()> {
    replace(path, &bytes(tokens))
}

/// What [`save`] wrote.
pub(super) fn load(path: &Path) -> anyhow::Result<Vec<u32>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let (tokens, _) = bytes.as_chunks::<4>();
    Ok(tokens
        .iter()
        .map(|token| u32::from_le_bytes(*token))
        .collect())
}

/// Writes a file so that at any time it is the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::File::open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| path.display().to_string())
}

fn bytes(tokens: &[u32]) -> Vec<u8> {
    tokens
        .iter()
        .flat_map(|token| token.to_le_bytes())
        .collect()
}
