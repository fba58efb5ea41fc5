//! Small hand-made vocabularies for the tests of this module.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::gguf::GgufVocab;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;

/// All bytes, a few merges, ChatML tokens (control) and `<think>` (user-defined).
pub(super) fn byte_level_vocab() -> GgufVocab {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut tokens: Vec<String> = alphabet.into_iter().map(String::from).collect();
    tokens.extend(["he", "ll", "Ġhe"].map(String::from));
    let mut token_types = vec![1; tokens.len()];
    let first = u32::try_from(tokens.len()).unwrap();
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"].map(String::from));
    token_types.extend([3, 3, 3, 4]);
    GgufVocab {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens,
        token_types,
        merges: ["h e", "l l", "Ġ he"].map(String::from).into(),
        bos_id: Some(first + 1),
        eos_id: Some(first + 2),
        unk_id: Some(first),
        add_bos: Some(false),
        ..GgufVocab::default()
    }
}

/// `byte_level_vocab`, loaded.
pub(super) fn byte_level() -> Tokenizer {
    Tokenizer::from_gguf(byte_level_vocab()).unwrap()
}

/// `<unk> <s> </s>`, the byte tokens and a few scored pieces.
pub(super) fn sentence_piece_vocab(add_space_prefix: bool) -> GgufVocab {
    let mut vocab = GgufVocab {
        model: "llama".into(),
        bos_id: Some(1),
        eos_id: Some(2),
        unk_id: Some(0),
        add_space_prefix: Some(add_space_prefix),
        ..GgufVocab::default()
    };
    let mut push = |token: String, kind: i32, score: f32| {
        vocab.tokens.push(token);
        vocab.token_types.push(kind);
        vocab.scores.push(score);
    };
    push("<unk>".into(), 2, 0.0);
    push("<s>".into(), 3, 0.0);
    push("</s>".into(), 3, 0.0);
    for byte in 0..=255u8 {
        push(format!("<0x{byte:02X}>"), 6, 0.0);
    }
    for (rank, piece) in ["ab", "bc", "▁ab", "abc", "▁", "a", "b", "c"]
        .iter()
        .enumerate()
    {
        push(piece.to_string(), 1, -(rank as f32));
    }
    vocab
}

/// `sentence_piece_vocab`, loaded.
pub(super) fn sentence_piece(add_space_prefix: bool) -> Tokenizer {
    Tokenizer::from_gguf(sentence_piece_vocab(add_space_prefix)).unwrap()
}

/// Plain ChatML.
pub(super) fn chatml() -> ChatTemplate {
    let source = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}\
                  {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    ChatTemplate::new(Some(source), None, None).unwrap()
}
