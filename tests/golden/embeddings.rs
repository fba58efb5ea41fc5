//! all-MiniLM-L6-v2 against the token ids and vectors that `transformers` gives for it.

use flambeau::backend::cpu::Cpu;
use flambeau::hub::{Card, Hub, HubConfig, TextProgress};
use flambeau::model::Embedder;
use flambeau::text::EncoderTokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    text: String,
    token_ids: Vec<u32>,
    vector: Vec<f32>,
}

#[test]
fn embeddings_are_those_of_transformers() {
    let hub = Hub::new(HubConfig::from_env().unwrap());
    let card = Card::find("all-minilm-l6-v2").unwrap();
    let folder = hub.fetch(card, &mut TextProgress::stderr()).unwrap().path;
    let json = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let tokenizer = EncoderTokenizer::from_json(&json).unwrap();
    let embedder = Embedder::load(&folder, Cpu::new(2).unwrap()).unwrap();
    assert_eq!(embedder.config().window, card.context_length as usize);
    assert_eq!(embedder.num_bytes() as u64, card.memory["as_it_is"]);
    let cases = include_str!("../data/embeddings/minilm.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    for case in &cases {
        let ids = tokenizer.framed(&tokenizer.encode(&case.text).unwrap());
        assert_eq!(ids, case.token_ids, "{}", case.text);
        let vector = &embedder.embed(&[&ids]).unwrap()[0];
        assert_eq!(vector.len(), case.vector.len());
        for (got, want) in vector.iter().zip(&case.vector) {
            assert!((got - want).abs() < 1e-5, "{}: {got} {want}", case.text);
        }
    }
}
