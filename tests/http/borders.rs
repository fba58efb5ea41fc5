//! Text does not depend on where tokens cut it: every byte here is a token.

use serde_json::json;

use super::redact::{data, pieces};
use super::server::{COMPLETIONS, Server, Setup};

/// Streams `answer`, cut into bytes, and checks that the answer in one piece says the same. Returns the pieces and
/// the reason of the end.
async fn stream(
    server: &Server,
    answer: &[u8],
    stop: &[&str],
    include_stop: bool,
) -> (Vec<String>, String) {
    let body = json!({"prompt": answer, "max_tokens": answer.len(), "stop": stop,
        "include_stop_str_in_output": include_stop});
    let whole = server.post(COMPLETIONS, &body).await.json()["choices"][0].take();
    let mut streamed = body;
    streamed["stream"] = true.into();
    let events = server.events(COMPLETIONS, &streamed).await;
    let pieces = pieces(&events);
    assert_eq!(pieces.concat(), whole["text"]);
    let last = data(&events[events.len() - 2]).unwrap();
    let reason = last["choices"][0]["finish_reason"].as_str().unwrap();
    assert_eq!(reason, whole["finish_reason"]);
    (pieces, reason.to_owned())
}

#[tokio::test]
async fn a_character_is_never_split() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, "né日🔥!".as_bytes(), &[], false).await;
    assert_eq!(pieces, ["n", "é", "日", "🔥", "!"]);
    assert_eq!(reason, "length");
}

#[tokio::test]
async fn bytes_that_are_no_text_become_replacement_characters() {
    let server = Setup::echo().start().await;
    for (answer, text) in [
        (&b"a\xf0\x9f\x94"[..], "a\u{fffd}"),
        (b"\xff\xfeb", "\u{fffd}\u{fffd}b"),
        (b"\xe6\x97x", "\u{fffd}x"),
    ] {
        let (pieces, _) = stream(&server, answer, &[], false).await;
        assert_eq!(pieces.concat(), text);
    }
}

#[tokio::test]
async fn a_stop_string_across_tokens_ends_the_answer_before_it() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, b"one END two", &["END"], false).await;
    assert_eq!(pieces, ["o", "n", "e", " "]);
    assert_eq!(reason, "stop");
}

#[tokio::test]
async fn a_stop_string_is_part_of_the_answer_when_asked_for() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, b"one END two", &["END"], true).await;
    assert_eq!(pieces.concat(), "one END");
    assert_eq!(reason, "stop");
}

#[tokio::test]
async fn what_only_began_like_a_stop_string_is_given_out() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, b"ENDE ENEND", &["ENDED", "ENDING"], false).await;
    assert_eq!(pieces.concat(), "ENDE ENEND");
    assert_eq!(reason, "length");
}

#[tokio::test]
async fn the_first_of_several_stop_strings_counts() {
    let server = Setup::echo().start().await;
    let (pieces, _) = stream(&server, "ab日本cd".as_bytes(), &["cd", "本", "zz"], false).await;
    assert_eq!(pieces.concat(), "ab日");
}

#[tokio::test]
async fn a_stop_string_that_ends_with_the_last_token_counts_as_stop() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, b"one END", &["END"], false).await;
    assert_eq!(
        (pieces.concat().as_str(), reason.as_str()),
        ("one ", "stop")
    );
}

#[tokio::test]
async fn a_stop_string_at_the_start_leaves_an_empty_answer() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, b"END", &["END"], false).await;
    assert_eq!((pieces.concat().as_str(), reason.as_str()), ("", "stop"));
}

#[tokio::test]
async fn a_stop_string_counts_where_the_last_character_is_cut_short() {
    let server = Setup::echo().start().await;
    let (pieces, reason) = stream(&server, b"a\xf0\x9f", &["\u{fffd}"], false).await;
    assert_eq!((pieces.concat().as_str(), reason.as_str()), ("a", "stop"));
}
