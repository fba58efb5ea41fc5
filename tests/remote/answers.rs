//! What is asked, and what comes of it.

use std::sync::Arc;

use flambeau::remote::{RemoteConfig, RemoteFinish, RemoteModel, RemoteUsage};
use flambeau::text::Piece;
use serde_json::json;
use tokio::sync::Notify;

use super::upstream::*;

#[tokio::test]
async fn a_request_goes_as_it_is_but_for_model_and_stream() {
    let upstream = Upstream::start(|_| answer()).await;
    let asked = json!({"model": "here", "messages": [{"role": "user", "content": "é"}], "seed": 7,
        "stream": false, "stream_options": {"continuous_usage_stats": true}});
    let sent = json!({"model": "m", "messages": [{"role": "user", "content": "é"}], "seed": 7,
        "stream": true, "stream_options": {"continuous_usage_stats": true, "include_usage": true}});
    let model = upstream.model();
    let mut stream = within(model.chat(body(asked))).await.unwrap();
    assert_eq!(text(&mut stream).await, "a");
    let mut stream = within(model.complete(body(json!({"prompt": "é"}))))
        .await
        .unwrap();
    assert_eq!(text(&mut stream).await, "a");
    within(model.probe()).await.unwrap();
    let seen = upstream.seen.lock().unwrap();
    for (seen, path) in seen
        .iter()
        .zip(["chat/completions", "completions", "chat/completions"])
    {
        let line = format!("POST /v1/{path} HTTP/1.1\r\n");
        assert!(seen.head.starts_with(&line), "{}", seen.head);
        assert!(
            seen.head.contains("\r\nauthorization: bearer sesame\r\n"),
            "{}",
            seen.head
        );
    }
    assert_eq!(seen[0].body, sent);
    assert_eq!(
        seen[1].body,
        json!({"prompt": "é", "model": "m", "stream": true, "stream_options": {"include_usage": true}})
    );
    assert_eq!(seen[2].body["max_tokens"], 1);
}

#[tokio::test]
async fn without_a_name_the_first_model_listed_is_asked_for_until_it_is_gone() {
    let upstream = Upstream::start(|n| match n {
        1 => response(404, "", r#"{"error":{"message":"no such model"}}"#),
        _ => answer(),
    })
    .await;
    let model = RemoteModel::new(RemoteConfig {
        model: None,
        ..config(&upstream.url)
    });
    let model = model.unwrap();
    for n in 0..3 {
        assert_eq!(chat(&model).await.is_ok(), n != 1);
    }
    for seen in upstream.seen.lock().unwrap().iter() {
        assert_eq!(seen.body["model"], "first");
    }
}

#[tokio::test]
async fn every_piece_is_passed_on_before_the_next_one_is_there() {
    let go = Arc::new(Notify::new());
    let wait = Act::Wait(Arc::clone(&go));
    let upstream = Upstream::start(move |_| {
        let [a, b, finish] = [A, B, FINISH].map(event);
        vec![
            head(),
            event(ROLE),
            a,
            wait.clone(),
            b,
            wait.clone(),
            finish,
            wait.clone(),
            event(USAGE),
            event(DONE),
            end(),
        ]
    })
    .await;
    let mut stream = chat(&upstream.model()).await.unwrap();
    for text in ["a", "b"] {
        let delta = within(stream.next()).await.unwrap().unwrap();
        assert_eq!((&*delta.text, delta.finish), (text, None));
        assert_eq!(delta.pieces, [Piece::Content(text.into())]);
        go.notify_one();
    }
    let delta = within(stream.next()).await.unwrap().unwrap();
    assert_eq!(delta.finish, Some(RemoteFinish::Stop));
    go.notify_one();
    let usage = rest(&mut stream).await.pop().unwrap().unwrap().usage;
    let expected = RemoteUsage {
        prompt: 3,
        completion: 1,
        cached: 0,
    };
    assert_eq!(usage, Some(expected));
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_nothing() {
    let go = Arc::new(Notify::new());
    let wait = Act::Wait(Arc::clone(&go));
    let upstream = Upstream::start(move |_| {
        let half = B.len() / 2;
        let (first, second) = B.split_at(half);
        vec![
            head(),
            event(A),
            raw(format!("data: {first}").as_bytes()),
            wait.clone(),
            raw(format!("{second}\n\n").as_bytes()),
            event(FINISH),
            event(DONE),
            end(),
        ]
    })
    .await;
    let mut stream = chat(&upstream.model()).await.unwrap();
    assert_eq!(within(stream.next()).await.unwrap().unwrap().text, "a");
    for _ in 0..3 {
        tokio::select! {
            biased;
            delta = stream.next() => panic!("{delta:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    go.notify_one();
    assert_eq!(text(&mut stream).await, "b");
}

#[tokio::test]
async fn characters_and_events_may_be_cut_anywhere() {
    let fire = r#"{"choices":[{"index":0,"delta":{"content":"é火🔥"}}]}"#;
    let events = format!(": hello\r\n\r\ndata: {fire}\r\n\r\ndata: {FINISH}\n\ndata: {DONE}\n\n");
    let upstream = Upstream::start(move |_| {
        let bytes = events.as_bytes().chunks(1).map(raw);
        [head()].into_iter().chain(bytes).chain([end()]).collect()
    })
    .await;
    let mut stream = chat(&upstream.model()).await.unwrap();
    assert_eq!(text(&mut stream).await, "é火🔥");
}

#[tokio::test]
async fn a_whole_answer_instead_of_a_stream_is_taken() {
    let body = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant",
        "content": "whole"}, "finish_reason": "length"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    let upstream = Upstream::start(move |_| {
        response(200, "content-type: application/json\r\n", &body.to_string())
    })
    .await;
    let mut stream = chat(&upstream.model()).await.unwrap();
    let all = rest(&mut stream).await;
    let delta = all.into_iter().next().unwrap().unwrap();
    assert_eq!(
        (&*delta.text, delta.finish),
        ("whole", Some(RemoteFinish::Length))
    );
    assert_eq!(delta.usage.unwrap().completion, 2);
}

#[tokio::test]
async fn an_answer_without_done_is_complete_once_it_has_ended() {
    // One closes the connection, one ends the body, and one does neither.
    for last in [Act::Close, end(), Act::Hang] {
        let upstream = Upstream::start(move |_| {
            vec![head(), event(A), event(FINISH), event(USAGE), last.clone()]
        })
        .await;
        let mut stream = chat(&upstream.model()).await.unwrap();
        let all = rest(&mut stream).await;
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn an_answer_read_to_its_end_leaves_its_connection_to_the_next() {
    let upstream = Upstream::start(|_| answer()).await;
    let model = upstream.model();
    // The end of the body is read beside, so the next request may come too early for it, but not each of them.
    within(async {
        loop {
            let body = body(json!({"messages": []}));
            let mut stream = model.clone().chat(body).await.unwrap();
            rest(&mut stream).await;
            let seen = upstream.seen.lock().unwrap();
            if seen[seen.len() - 1].connection < seen.len() - 1 {
                break;
            }
        }
    })
    .await;
}

#[test]
fn its_futures_go_from_thread_to_thread() {
    fn is_send<T: Send>(_: &T) {}
    fn has_send_futures(model: &RemoteModel, stream: &mut flambeau::remote::RemoteStream) {
        is_send(&model.chat(body(json!({}))));
        is_send(&model.complete(body(json!({}))));
        is_send(&model.probe());
        is_send(&stream.next());
    }
    let _ = has_send_futures;
}
