//! The smallest vocabulary that can say everything.
#![allow(dead_code)] // Each test binary uses its own part.
#![allow(clippy::unwrap_used)] // A test may panic.

use flambeau::text::{GgufVocab, Tokenizer};

/// The ids 0 to 255 are the bytes; then come these.
pub const IM_START: u32 = 257;
pub const IM_END: u32 = 258;
pub const VOCAB_SIZE: u32 = 259;

/// Byte-level with the tokens of ChatML; a token's id is its byte.
pub fn tokenizer() -> Tokenizer {
    Tokenizer::from_gguf(vocab()).unwrap()
}

/// What a file says of it.
pub fn vocab() -> GgufVocab {
    // GPT-2's spelling of bytes: what prints stands for itself, the rest follows from 256 on.
    let mut unprintable = 0x100..;
    let spell = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => char::from_u32(unprintable.next().unwrap()).unwrap(),
    };
    let mut tokens: Vec<String> = (0..=255).map(spell).map(String::from).collect();
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(String::from));
    let mut token_types = vec![1; 256];
    token_types.extend([3, 3, 3]);
    GgufVocab {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens,
        token_types,
        bos_id: Some(IM_START),
        eos_id: Some(IM_END),
        add_bos: Some(false),
        ..GgufVocab::default()
    }
}
