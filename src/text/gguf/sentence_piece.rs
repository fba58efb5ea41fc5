//! SentencePiece's BPE: merges from scores, and scores from merges.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokenizers::models::bpe::Merges;
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};

use super::{GgufVocab, NORMAL};
use crate::text::bpe::BpeParts;
use crate::text::error::TokenizerError;
use crate::text::special::AddedTokens;
use crate::text::token_table::Spelling;
use crate::text::tokenizer::Tokenizer;

/// Builds the tokenizer of a `llama` vocabulary.
pub(super) fn tokenizer(mut vocab: GgufVocab) -> Result<Tokenizer, TokenizerError> {
    if vocab.scores.len() != vocab.tokens.len() {
        let problem = format!(
            "{} scores for {} tokens",
            vocab.scores.len(),
            vocab.tokens.len()
        );
        return Err(TokenizerError::field("tokenizer.ggml.scores", problem));
    }
    let add_space_prefix = vocab.add_space_prefix.unwrap_or(true);
    let table = vocab.table(Spelling::SentencePiece);
    let added = vocab.added_tokens();
    let ends = vocab.ends(true, add_space_prefix);
    let merges = merges_from_scores(&vocab);
    let unk_token = vocab.unk_id.map(|id| vocab.tokens[id as usize].clone());
    let bpe = BpeParts {
        merges,
        vocab: std::mem::take(&mut vocab.tokens)
            .into_iter()
            .zip(0..)
            .collect(),
        merges_field: "tokenizer.ggml.scores",
        unk_token,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
    };
    let bpe = bpe.build(&added)?;
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if add_space_prefix {
        steps.push(Prepend::new("▁".to_owned()).into());
    }
    let replace = Replace::new(" ", "▁")
        .map_err(|e| TokenizerError::field("tokenizer.ggml.model", e.to_string()))?;
    steps.push(replace.into());
    let normalizer = Sequence::new(steps).into();
    let added = AddedTokens::new(added)?;
    Ok(Tokenizer::assemble(
        Some(normalizer),
        None,
        bpe,
        added,
        table,
        ends,
    ))
}

/// Whether merges make a piece.
fn is_made(vocab: &GgufVocab, id: usize) -> bool {
    vocab.kind(id) == NORMAL
}

/// The merges that give SentencePiece's result: every split of a piece into two pieces,
/// by descending score of the whole, then by ids.
pub(super) fn merges_from_scores(vocab: &GgufVocab) -> Merges {
    let pieces = || {
        (0u32..)
            .zip(&vocab.tokens)
            .filter(|&(id, _)| is_made(vocab, id as usize))
    };
    let ids: HashMap<&str, u32> = pieces().map(|(id, piece)| (piece.as_str(), id)).collect();
    let mut merges: Vec<(f32, u32, u32, u32)> = Vec::new();
    for (id, piece) in pieces() {
        let score = vocab.scores[id as usize];
        for (cut, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(cut);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                merges.push((score, id, left, right));
            }
        }
    }
    merges.sort_unstable_by(|a, b| {
        let by_score = b.0.total_cmp(&a.0);
        by_score.then_with(|| (a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
    });
    let text = |id: u32| vocab.tokens[id as usize].clone();
    merges
        .into_iter()
        .map(|(_, _, left, right)| (text(left), text(right)))
        .collect()
}

/// Gives the pieces of `vocab`, whose tokens and types are known, scores from which just these merges follow: the earlier a
/// piece is first made, the higher.
///
/// # Errors
/// If no scores do so: the merges are not a SentencePiece model's.
pub(super) fn score(vocab: &mut GgufVocab, merges: &Merges) -> Result<(), TokenizerError> {
    let ids: HashMap<&str, usize> = (vocab.tokens.iter().enumerate())
        .filter(|&(id, _)| is_made(vocab, id))
        .map(|(id, piece)| (piece.as_str(), id))
        .collect();
    let mut scores = vec![None; vocab.tokens.len()];
    let mut num_made = 0;
    let mut wanted: HashSet<(String, String)> = HashSet::new();
    let mut is_in_order = true;
    for (left, right) in merges {
        // What has another piece as a part or a whole is never met.
        let parts = [left.as_str(), right.as_str()].map(|part| ids.contains_key(part));
        let whole = ids.get(format!("{left}{right}").as_str());
        if let (Some(&whole), [true, true]) = (whole, parts) {
            wanted.insert((left.clone(), right.clone()));
            match scores[whole] {
                None => {
                    scores[whole] = Some(-(num_made as f32));
                    num_made += 1;
                }
                // Another way to make the piece; which of them comes first is up to the converter.
                Some(score) => is_in_order &= score == -((num_made - 1) as f32),
            }
        }
    }
    let lowest = -(num_made as f32);
    vocab.scores = (scores.into_iter().enumerate())
        .map(|(id, score)| match is_made(vocab, id) {
            true => score.unwrap_or(lowest),
            false => 0.0,
        })
        .collect();
    let follow: HashSet<_> = merges_from_scores(vocab).into_iter().collect();
    if is_in_order && follow == wanted {
        return Ok(());
    }
    Err(TokenizerError::field(
        "tokenizer.json: model.merges",
        "do not follow from an order of the pieces, which GGUF files have for such vocabularies",
    ))
}

/// Whether a `tokenizer.json` puts a space before a text, if what it does before the merges is what readers of GGUF files do for
/// SentencePiece models. There a space comes before every text between special tokens, as in SentencePiece itself; a
/// `Metaspace`'s, which may come before the first only and never before another space, is taken for it as converters do.
pub(super) fn has_space_prefix(normalizer: &Value, pre_tokenizer: &Value) -> Option<bool> {
    let is_replace = |step: &Value| {
        step["type"] == "Replace" && step["pattern"]["String"] == " " && step["content"] == "▁"
    };
    let is_prepend = |step: &Value| step["type"] == "Prepend" && step["prepend"] == "▁";
    // Gemma's, which meets no spaces any more.
    let splits_nothing = pre_tokenizer.is_null()
        || pre_tokenizer["type"] == "Split" && pre_tokenizer["pattern"]["String"] == " ";
    match normalizer["normalizers"].as_array().map(Vec::as_slice) {
        Some([first, second]) if splits_nothing && is_prepend(first) && is_replace(second) => {
            Some(true)
        }
        None if splits_nothing && is_replace(normalizer) => Some(false),
        None if normalizer.is_null()
            && pre_tokenizer["type"] == "Metaspace"
            && pre_tokenizer["replacement"] == "▁"
            && pre_tokenizer["split"] == false =>
        {
            Some(
                pre_tokenizer["prepend_scheme"] != "never"
                    && pre_tokenizer["add_prefix_space"] != false,
            )
        }
        _ => None,
    }
}
