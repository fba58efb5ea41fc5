use super::super::test_vocab::byte_level_vocab;
use super::super::tokenizer::Specials;
use super::*;
use serde_json::json;

/// The vocabulary of `byte_level_vocab`, as the JSON file of the same tokenizer.
fn byte_level_json() -> Value {
    let vocab = byte_level_vocab();
    let ordinary = vocab
        .token_types
        .iter()
        .take_while(|&&kind| kind == 1)
        .count();
    let added: Vec<Value> = (ordinary..vocab.tokens.len())
        .map(|id| json!({"id": id, "content": vocab.tokens[id], "special": vocab.token_types[id] == 3}))
        .collect();
    let entries: serde_json::Map<String, Value> = (0..ordinary)
        .map(|id| (vocab.tokens[id].clone(), json!(id)))
        .collect();
    json!({
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "x"},
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": entries, "merges": vocab.merges},
    })
}

/// The shape of Mistral's and Llama 2's files.
fn sentence_piece_json() -> Value {
    let mut vocab = serde_json::Map::new();
    for token in ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁ab"] {
        let id = vocab.len();
        vocab.insert(token.into(), json!(id));
    }
    for byte in 0..=255 {
        let id = vocab.len();
        vocab.insert(format!("<0x{byte:02X}>"), json!(id));
    }
    json!({
        "added_tokens": [
            {"id": 0, "content": "<unk>", "special": true},
            {"id": 1, "content": "<s>", "special": true},
            {"id": 2, "content": "</s>", "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": [["a", "b"], ["▁", "ab"]]},
    })
}

fn load(json: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_json(json.to_string().as_bytes(), None)
}

#[test]
fn the_json_and_the_gguf_of_a_vocabulary_give_the_same_ids() {
    let json = load(&byte_level_json()).unwrap();
    let gguf = Tokenizer::from_gguf(byte_level_vocab()).unwrap();
    let text = "hello hehe 42 <|im_end|> <think> é\n";
    for mode in [Specials::Plain, Specials::Parse] {
        let ids = json.encode(text, mode).unwrap();
        assert_eq!(ids, gguf.encode(text, mode).unwrap());
        assert_eq!(json.detokenise(&ids, false), text);
    }
    assert_eq!(json.vocab_size(), gguf.vocab_size());
}

#[test]
fn a_sentence_piece_file_prefixes_only_the_start_of_the_text() {
    let tokenizer = load(&sentence_piece_json()).unwrap();
    let ids = tokenizer.encode_prompt("ab</s>ab é").unwrap();
    let texts: Vec<String> = ids[..5]
        .iter()
        .map(|&id| tokenizer.token_text(id))
        .collect();
    assert_eq!(texts, ["<s>", " ab", "</s>", "ab", " "]);
    assert_eq!(tokenizer.detokenise(&ids, true), "abab é");
}

#[test]
fn the_config_decides_over_the_post_processor() {
    let json = sentence_piece_json().to_string();
    let config = json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": false, "add_eos_token": true});
    let tokenizer =
        Tokenizer::from_json(json.as_bytes(), Some(config.to_string().as_bytes())).unwrap();
    assert_eq!(tokenizer.encode_prompt("ab").unwrap(), [7, 2]);
    assert_eq!(tokenizer.eos_ids(), [2]);
    let config = json!({"eos_token": "</x>"}).to_string();
    let error = Tokenizer::from_json(json.as_bytes(), Some(config.as_bytes())).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("tokenizer_config.json: eos_token: \"</x>\"")
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut json = byte_level_json();
    json["model"] = json!({"type": "Unigram", "vocab": [["a", 0.0]]});
    assert!(
        load(&json)
            .unwrap_err()
            .to_string()
            .contains("model.type: \"Unigram\"")
    );
    let mut json = byte_level_json();
    json["model"]["end_of_word_suffix"] = json!("</w>");
    assert!(
        load(&json)
            .unwrap_err()
            .to_string()
            .contains("model.end_of_word_suffix")
    );
    let mut json = byte_level_json();
    json["decoder"] = Value::Null;
    json["pre_tokenizer"] = json!({"type": "Whitespace"});
    assert!(
        load(&json)
            .unwrap_err()
            .to_string()
            .contains("decoder: neither")
    );
}

#[test]
fn malformed_files_are_errors_that_name_the_place() {
    let error = Tokenizer::from_json(b"{\"model\": {", None)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("tokenizer.json: EOF"), "{error}");
    let mut json = byte_level_json();
    json["model"]["merges"] = json!([["h", "h"]]);
    assert!(
        load(&json)
            .unwrap_err()
            .to_string()
            .contains("model.merges[0]")
    );
    let mut json = byte_level_json();
    json["model"]["vocab"]["he"] = json!(u32::MAX);
    assert!(
        load(&json)
            .unwrap_err()
            .to_string()
            .contains("\"he\" has id 4294967295")
    );
    let mut json = byte_level_json();
    json["model"]["unk_token"] = json!("<nope>");
    assert!(
        load(&json)
            .unwrap_err()
            .to_string()
            .contains("model.unk_token")
    );
}
