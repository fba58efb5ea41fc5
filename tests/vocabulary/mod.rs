//! The default model's tokenizer, from its file.

use flambeau::model::gguf::GgufFile;
use flambeau::text::{GgufVocab, Tokenizer};

use crate::common;

pub fn tokenizer() -> Tokenizer {
    let file = GgufFile::open(common::default_model()).unwrap();
    let metadata = file.metadata();
    let owned = |key: &str| {
        let list = metadata.get_str_array(key).unwrap();
        list.into_iter().map(str::to_owned).collect()
    };
    let vocab = GgufVocab {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens: owned("tokenizer.ggml.tokens"),
        token_types: metadata
            .opt_i32_array("tokenizer.ggml.token_type")
            .unwrap()
            .unwrap(),
        merges: owned("tokenizer.ggml.merges"),
        eos_id: metadata.opt_u32("tokenizer.ggml.eos_token_id").unwrap(),
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(vocab).unwrap()
}
