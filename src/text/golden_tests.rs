//! The reference prompts of the default model (tests/data/golden).
//!
//! Only texts are compared: the vocabulary is in the model file. Whoever compares ids: the long file's
//! have one `\n\n` before a digit as two tokens, where this model's tokenizer has one (digits are
//! split off first), so they are one id more; its log-probabilities are those of the ids it lists.

use serde::Deserialize;

use super::message::{Conversation, Message};
use super::template::ChatTemplate;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Message>,
    prompt: String,
}

#[test]
fn the_template_of_the_default_model_renders_the_reference_prompts() {
    let source = include_str!("../../tests/data/golden/smollm2_chat_template.jinja");
    let template =
        ChatTemplate::new(Some(source), Some("<|im_start|>"), Some("<|im_end|>")).unwrap();
    let files = [
        include_str!("../../tests/data/golden/smollm2_q4_1_reference.json"),
        include_str!("../../tests/data/golden/smollm2_q4_1_reference_long.json"),
    ];
    let mut num_cases = 0;
    for file in files {
        for case in serde_json::from_str::<Golden>(file).unwrap().cases {
            assert_eq!(
                template.render(&Conversation::new(case.messages)).unwrap(),
                case.prompt
            );
            num_cases += 1;
        }
    }
    assert_eq!(num_cases, 13);
}
