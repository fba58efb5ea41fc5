use proptest::prelude::*;

use super::*;

const HERMES: Marks = Marks {
    may_think: true,
    is_thinking: false,
    tools: Some(ToolFormat::Hermes),
};

/// Pieces of a kind joined.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), piece) {
            (Some(Piece::Content(last)), Piece::Content(text))
            | (Some(Piece::Reasoning(last)), Piece::Reasoning(text))
            | (Some(Piece::Arguments(last)), Piece::Arguments(text)) => last.push_str(&text),
            (_, piece) => all.push(piece),
        }
    }
    all
}

fn split<'a>(marks: Marks, parts: impl IntoIterator<Item = &'a str>) -> Vec<Piece> {
    let (mut splitter, mut pieces) = (Splitter::new(marks), Vec::new());
    for part in parts {
        splitter.push(part, &mut pieces);
    }
    splitter.finish(&mut pieces);
    joined(pieces)
}

fn content(text: &str) -> Piece {
    Piece::Content(text.into())
}

fn thought(text: &str) -> Piece {
    Piece::Reasoning(text.into())
}

fn call(name: &str, arguments: &str) -> [Piece; 2] {
    [Piece::Call(name.into()), Piece::Arguments(arguments.into())]
}

const ONE: &str = "{\"name\": \"f\", \"arguments\": {\"a\": \"}<\\\"{\"}}";

#[test]
fn thoughts_content_and_calls_are_told_apart() {
    let text = format!(
        "<think>\nhm, <b>\n</think>\n\nLook:\n<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{{\"arguments\": {{}}, \"name\": \"g\"}}\n</tool_call>"
    );
    let [name, arguments] = call("f", "{\"a\": \"}<\\\"{\"}");
    let [second, nothing] = call("g", "{}");
    let expected = [
        thought("hm, <b>"),
        content("Look:"),
        name,
        arguments,
        second,
        nothing,
    ];
    assert_eq!(split(HERMES, [text.as_str()]), expected);
}

#[test]
fn each_format_is_read() {
    let of = |tools| Marks {
        tools: Some(tools),
        ..Marks::default()
    };
    let llama = "{\"name\": \"f\", \"parameters\": {\"a\": 1}}";
    for text in [llama.to_owned(), format!("<|python_tag|>{llama}")] {
        assert_eq!(
            split(of(ToolFormat::Llama3), [text.as_str()]),
            call("f", "{\"a\": 1}")
        );
    }
    let two = format!("{llama}; {llama}");
    assert_eq!(split(of(ToolFormat::Llama3), [two.as_str()]).len(), 4);
    let mistral = "So: [TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": [1]}]";
    let pieces = split(of(ToolFormat::Mistral), [mistral]);
    let [a, b] = call("f", "{}");
    let [c, d] = call("g", "[1]");
    assert_eq!(pieces, [content("So:"), a, b, c, d]);
}

#[test]
fn a_prompt_may_have_begun_the_thoughts() {
    let marks = Marks {
        may_think: true,
        is_thinking: true,
        tools: None,
    };
    assert_eq!(
        split(marks, ["\nhm\n</think>\n\nyes"]),
        [thought("hm"), content("yes")]
    );
    assert_eq!(split(marks, ["cut short "]), [thought("cut short")]);
}

#[test]
fn what_is_no_call_is_text() {
    for text in [
        "<tool_call>\nnothing like it",
        "<tool_call>\n{\"name\": 1, \"x\": 2}",
        "<tool_call>{}",
        "a < b <tool",
        "<thin air",
        " plain",
    ] {
        let said: String = split(HERMES, [text])
            .into_iter()
            .map(|piece| match piece {
                Piece::Content(text) => text,
                other => panic!("{text}: {other:?}"),
            })
            .collect();
        let without_mark = text.strip_prefix("<tool_call>").unwrap_or(text);
        assert_eq!(said.trim(), without_mark.trim());
    }
    assert_eq!(
        split(Marks::default(), ["<think>a</think>"]),
        [content("<think>a</think>")]
    );
}

proptest! {
    #[test]
    fn where_text_is_cut_changes_nothing(
        parts in prop::collection::vec(
            prop::sample::select(vec!["<think>", "</think>", "<tool_call>", "</tool_call>", ONE, "\n", " ", "a", "<", "{", "}", "\"", "é", "[TOOL_CALLS]", "[", ",", ";", "<|python_tag|>"]), 0..12),
        cuts in prop::collection::vec(0usize..200, 0..20),
        format in prop::sample::select(vec![None, Some(ToolFormat::Hermes), Some(ToolFormat::Llama3), Some(ToolFormat::Mistral)]),
        may_think in any::<bool>(),
    ) {
        let text = parts.concat();
        let marks = Marks { may_think, is_thinking: false, tools: format };
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < text.len() && text.is_char_boundary(cut)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut start = 0;
        let pieces: Vec<&str> = cuts.iter().map(|&cut| {
            let piece = &text[start.min(cut)..cut];
            start = cut;
            piece
        }).collect();
        prop_assert_eq!(split(marks, pieces), split(marks, [text.as_str()]));
    }
}
