use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::remote::RemoteUsage;

type Outcome = (Vec<RemoteDelta>, Result<(), String>);

fn read<'a>(num_choices: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut reader, mut deltas) = (AnswerReader::new(num_choices), VecDeque::new());
    let mut result = Ok(());
    for chunk in chunks {
        result = reader.push(chunk, &mut deltas);
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| reader.end());
    (deltas.into(), result.map_err(|error| error.to_string()))
}

/// The deltas of events, whose answer is complete.
fn deltas(num_choices: usize, events: &[Value]) -> Vec<RemoteDelta> {
    let (deltas, result) = outcome(num_choices, events);
    assert_eq!(result, Ok(()));
    deltas
}

fn outcome(num_choices: usize, events: &[Value]) -> Outcome {
    let frame = |event: &Value| match event {
        Value::String(text) => format!("data: {text}\n\n"),
        event => format!("data: {event}\n\n"),
    };
    let text: String = events.iter().map(frame).collect();
    read(num_choices, [text.as_bytes()])
}

fn says(delta: Value) -> Value {
    json!({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": null, "logprobs": null}], "new": {}})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn content(choice: usize, text: &str) -> RemoteDelta {
    RemoteDelta {
        choice,
        pieces: vec![Piece::Content(text.into())],
        text: text.into(),
        ..RemoteDelta::default()
    }
}

fn finished(choice: usize, finish: RemoteFinish) -> RemoteDelta {
    RemoteDelta {
        choice,
        finish: Some(finish),
        ..RemoteDelta::default()
    }
}

#[test]
fn a_chat_is_thoughts_content_and_a_reason_to_end() {
    let read = deltas(
        1,
        &[
            says(json!({"role": "assistant", "content": ""})),
            says(json!({"reasoning_content": "hm", "reasoning": "hm"})),
            says(json!({"reasoning_content": "", "reasoning": "ah"})),
            says(json!({"content": "é", "refusal": null, "tool_calls": null})),
            json!({"type": "ping"}),
            finish("stop"),
            json!("[DONE]"),
            json!("no JSON"),
        ],
    );
    let thought = |text: &str| RemoteDelta {
        pieces: vec![Piece::Reasoning(text.into())],
        ..RemoteDelta::default()
    };
    assert_eq!(
        read,
        [
            thought("hm"),
            thought("ah"),
            content(0, "é"),
            finished(0, RemoteFinish::Stop)
        ]
    );
}

#[test]
fn choices_are_told_apart_and_each_ends_once() {
    let text = |index: usize, text: &str, finish: Value| json!({"index": index, "text": text, "finish_reason": finish});
    let read = deltas(
        2,
        &[
            json!({"choices": [text(1, "b", json!(null)), text(0, "a", json!("length"))]}),
            json!({"choices": [text(0, "too late", json!("stop"))]}),
            json!({"choices": [text(1, "", json!("abort"))]}),
        ],
    );
    let ended = RemoteDelta {
        finish: Some(RemoteFinish::Length),
        ..content(0, "a")
    };
    assert_eq!(
        read,
        [content(1, "b"), ended, finished(1, RemoteFinish::Other)]
    );
}

#[test]
fn usage_is_taken_in_wherever_it_stands() {
    let usage = |prompt: u64, completion: u64, cached: u64| RemoteUsage {
        prompt,
        completion,
        cached,
    };
    let mut with_usage = says(json!({"content": "a"}));
    with_usage["usage"] = json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6});
    let read = deltas(
        1,
        &[
            with_usage,
            finish("tool_calls"),
            json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4}}}),
            json!("[DONE]"),
        ],
    );
    let usages: Vec<_> = read.iter().map(|delta| delta.usage).collect();
    assert_eq!(usages, [Some(usage(5, 1, 0)), None, Some(usage(5, 2, 4))]);
    assert!(read[1].finish == Some(RemoteFinish::ToolCalls) && !read[2].is_answer());
}

#[test]
fn calls_end_with_their_choice() {
    let part = |index: usize, name: Value, arguments: &str| {
        says(
            json!({"tool_calls": [{"index": index, "id": "i", "type": "function",
            "function": {"name": name, "arguments": arguments}}]}),
        )
    };
    let read = deltas(
        1,
        &[
            part(0, json!("a"), ""),
            part(1, json!("b"), "{"),
            part(0, json!(null), "{}"),
            part(1, json!(null), "}"),
            finish("tool_calls"),
        ],
    );
    let pieces: Vec<_> = read.into_iter().flat_map(|delta| delta.pieces).collect();
    let arguments = |text: &str| Piece::Arguments(text.into());
    assert_eq!(
        pieces,
        [
            Piece::Call("a".into()),
            arguments("{}"),
            Piece::Call("b".into()),
            arguments("{"),
            arguments("}")
        ]
    );
}

#[test]
fn done_ends_what_has_no_reason_to_end() {
    let read = deltas(1, &[says(json!({"content": "a"})), json!("[DONE]")]);
    assert_eq!(read, [content(0, "a"), finished(0, RemoteFinish::Other)]);
}

#[test]
fn what_breaks_off_or_is_no_answer_is_an_error_after_what_came() {
    let a = says(json!({"content": "a"}));
    for (num_choices, events, names) in [
        (1, vec![a.clone()], "broke off"),
        (2, vec![a.clone(), finish("stop")], "broke off"),
        (
            2,
            vec![a.clone(), finish("stop"), json!("[DONE]")],
            "1 choices, not 2",
        ),
        (1, vec![a.clone(), json!("{")], "malformed"),
        (1, vec![a.clone(), says(json!({"content": 3}))], "malformed"),
        (
            1,
            vec![a.clone(), json!({"choices": [{"index": 1, "delta": {}}]})],
            "a choice 1",
        ),
        (
            1,
            vec![a.clone(), json!({"choices": [{"index": -1}]})],
            "malformed",
        ),
        (
            1,
            vec![a.clone(), json!({"error": {"message": "gone"}})],
            "failed: gone",
        ),
    ] {
        let (deltas, result) = outcome(num_choices, &events);
        assert_eq!(deltas[0], content(0, "a"));
        let error = result.unwrap_err();
        assert!(error.contains(names), "{error}");
    }
    for (text, names) in [
        ("event: error\ndata: gone\n\n", "failed: gone"),
        (
            "event: error\ndata: {\"error\":\"gone\"}\n\n",
            "failed: gone",
        ),
        ("data: [DONE]\n\n", "0 choices"),
        ("", "broke off"),
    ] {
        let error = read(1, [text.as_bytes()]).1.unwrap_err();
        assert!(error.contains(names), "{error}");
    }
}

#[test]
fn a_whole_body_is_an_answer_too() {
    let body = json!({"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": {
        "role": "assistant", "content": "a", "reasoning_content": "hm", "tool_calls": [
            {"id": "1", "function": {"name": "f", "arguments": "{}"}},
            {"id": "2", "function": {"name": "g", "arguments": "{}"}}]}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    let (mut reader, mut deltas) = (AnswerReader::new(1), VecDeque::new());
    reader
        .whole(body.to_string().as_bytes(), &mut deltas)
        .unwrap();
    assert_eq!((deltas.len(), deltas[0].text.as_str()), (1, "a"));
    assert_eq!(deltas[0].pieces.len(), 6);
    assert!(deltas[0].finish.is_some() && deltas[0].usage.is_some());
    for (body, names) in [
        (&b"{}"[..], "0 choices"),
        (b"<html>", "malformed"),
        (b"\xff", "malformed"),
        (br#"{"error":{"message":"gone"}}"#, "gone"),
    ] {
        let error = AnswerReader::new(1).whole(body, &mut deltas);
        assert!(error.unwrap_err().to_string().contains(names), "{body:?}");
    }
}

#[test]
fn as_many_choices_are_awaited_as_were_asked_for() {
    for (body, expected) in [
        (json!({}), 1),
        (json!({"n": 3}), 3),
        (json!({"n": null, "prompt": [1, 2, 3]}), 1),
        (json!({"n": 2, "prompt": ["a", "b"]}), 4),
        (json!({"prompt": [[1], [2], [3]]}), 3),
        (json!({"n": u64::MAX, "prompt": ["a", "b"]}), usize::MAX),
    ] {
        assert_eq!(num_choices(body.as_object().unwrap()), expected, "{body}");
    }
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_deltas(
        events in prop::collection::vec(
            prop::sample::select(vec![
                r#"{"choices":[{"delta":{"content":"é火🔥"}}]}"#,
                r#"{"choices":[{"index":1,"delta":{"reasoning":"🔥"}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"g","arguments":"{}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"},{"index":1,"finish_reason":"length"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
                r#"{"error":"gone"}"#, "[DONE]", "{", "\r: ping\r\r",
            ]), 0..12),
        end in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)
    ) {
        let text: String = events.iter().map(|event| format!("data: {event}{end}{end}")).collect();
        let bytes = text.as_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let whole = read(2, [bytes]);
        prop_assert_eq!(&read(2, at.windows(2).map(|w| &bytes[w[0]..w[1]])), &whole);
        prop_assert_eq!(&read(2, bytes.chunks(1)), &whole);
    }
}
