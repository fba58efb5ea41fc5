//! Timeouts, cancellation, and answers that are none.

use std::time::{Duration, Instant};

use flambeau::remote::{RemoteConfig, RemoteError, RemoteModel, Wait};
use serde_json::json;

use super::upstream::*;

/// A timeout that is meant to pass.
const SHORT: Duration = Duration::from_millis(60);

#[tokio::test]
async fn a_server_that_gives_no_token_is_given_up_and_told() {
    // One sends nothing, one a head, and one says that it is there, again and again.
    let there = vec![raw(b": waiting\n\n"); 3];
    let acts = [
        vec![Act::Hang],
        vec![head(), event(ROLE), Act::Hang],
        [vec![head()], there, vec![Act::Hang]].concat(),
    ];
    for acts in acts {
        let mut upstream = Upstream::start(move |_| acts.clone()).await;
        let model = RemoteModel::new(RemoteConfig {
            first_token_timeout: SHORT,
            max_retries: 5,
            ..config(&upstream.url)
        });
        let start = Instant::now();
        match chat(&model.unwrap()).await.unwrap_err() {
            RemoteError::Timeout { what, after } => {
                assert_eq!((what, after), (Wait::FirstToken, SHORT));
            }
            other => panic!("{other}"),
        }
        assert!(start.elapsed() >= SHORT);
        assert_eq!((upstream.closed().await, upstream.num_asked()), (0, 1));
    }
}

#[tokio::test]
async fn retries_take_no_longer_than_the_first_token_may() {
    let upstream = Upstream::start(|_| response(503, "retry-after: 2\r\n", "")).await;
    let model = RemoteModel::new(RemoteConfig {
        first_token_timeout: SHORT,
        max_retries: 5,
        ..config(&upstream.url)
    });
    let error = chat(&model.unwrap()).await.unwrap_err();
    // Another tier is asked at once, and knows why.
    let retry_after = match error {
        RemoteError::Unavailable { retry_after, .. } => retry_after,
        other => panic!("{other}"),
    };
    assert_eq!(retry_after, Some(Duration::from_secs(2)));
    assert_eq!(upstream.num_asked(), 1);
}

#[tokio::test]
async fn a_server_that_stops_between_two_chunks_is_given_up_also_by_a_reader_of_little_patience() {
    for is_patient in [true, false] {
        let mut upstream = Upstream::start(|_| vec![head(), event(A), Act::Hang]).await;
        let model = RemoteModel::new(RemoteConfig {
            idle_timeout: SHORT,
            ..config(&upstream.url)
        });
        let mut stream = chat(&model.unwrap()).await.unwrap();
        assert_eq!(within(stream.next()).await.unwrap().unwrap().text, "a");
        let start = Instant::now();
        let failed = loop {
            let patience = if is_patient { PATIENCE } else { SHORT / 10 };
            if let Ok(next) = tokio::time::timeout(patience, stream.next()).await {
                break next.unwrap().unwrap_err();
            }
        };
        match failed {
            RemoteError::Timeout { what, after } => {
                assert_eq!((what, after), (Wait::NextChunk, SHORT));
            }
            other => panic!("{other}"),
        }
        assert!(start.elapsed() >= SHORT);
        assert!(stream.next().await.is_none());
        assert_eq!(upstream.closed().await, 0);
    }
}

#[tokio::test]
async fn whoever_leaves_closes_the_connection() {
    let mut upstream = Upstream::start(|n| match n {
        0 => vec![head(), event(A), Act::Hang],
        _ => vec![Act::Hang],
    })
    .await;
    let model = upstream.model();
    let stream = chat(&model).await.unwrap();
    drop(stream);
    assert_eq!(upstream.closed().await, 0);
    // Somebody who has not got anything yet.
    let waiting = tokio::spawn(async move { chat(&model).await });
    within(async {
        while upstream.num_asked() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    waiting.abort();
    assert_eq!(upstream.closed().await, 1);
}

#[tokio::test]
async fn a_refusal_carries_what_the_server_says_without_the_key() {
    let said = json!({"error": {"message": "sesame may not have n", "param": "n", "code": null}});
    let upstream = Upstream::start(move |n| match n {
        0 => response(400, "", &said.to_string()),
        1 => stream(&[r#"{"error":{"message":"sesame is over","code":402}}"#]),
        2 => stream(&[A, "sesame"]),
        _ => vec![
            Act::Send(b"HTTP/1.1 403 F\r\ncontent-length: 9\r\n\r\nhalf".into()),
            Act::Close,
        ],
    })
    .await;
    let model = upstream.model();
    match chat(&model).await.unwrap_err() {
        RemoteError::Refused {
            status,
            message,
            param,
        } => assert_eq!(
            (status, &*message, param.as_deref()),
            (400, "[key] may not have n", Some("n"))
        ),
        other => panic!("{other}"),
    }
    let mut errors = vec![chat(&model).await.unwrap_err()];
    let mut stream = chat(&model).await.unwrap();
    errors.extend(rest(&mut stream).await.into_iter().filter_map(Result::err));
    errors.push(chat(&model).await.unwrap_err());
    assert_eq!(errors.len(), 3);
    for (error, says) in errors.iter().zip(["HTTP 402", "malformed", "HTTP 403"]) {
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            !format!("{error} {error:?}").contains("sesame"),
            "{error:?}"
        );
    }
    let shown = format!("{model:?} {stream:?} {:?}", config(&upstream.url));
    assert!(
        !shown.contains("sesame") && shown.contains(&upstream.url),
        "{shown}"
    );
}

#[tokio::test]
async fn garbage_is_an_error_and_half_an_event_none_of_the_answer() {
    let half = &A[..A.len() / 2];
    let half = raw(format!("data: {half}").as_bytes());
    for (acts, says) in [
        (
            vec![Act::Send(b"\x00garbage\r\n\r\n".into()), Act::Close],
            "broke off",
        ),
        (vec![head(), event(A), half, end()], "broke off"),
        (
            vec![head(), event(A), raw(b"data: \xff\n\n"), end()],
            "UTF-8",
        ),
        (vec![head(), event(A), event("garbage"), end()], "malformed"),
        (
            vec![head(), event(A), Act::Send(b"zz\r\n".into()), Act::Close],
            "broke off",
        ),
        (
            response(200, "content-type: text/html\r\n", "<html>"),
            "malformed",
        ),
        (response(200, "", "{}"), "malformed"),
    ] {
        let upstream = Upstream::start(move |_| acts.clone()).await;
        let error = match chat(&upstream.model()).await {
            Err(error) => error,
            Ok(mut stream) => {
                let mut all = rest(&mut stream).await;
                assert_eq!(all.len(), 2, "{all:?}");
                let error = all.pop().unwrap().unwrap_err();
                assert_eq!(all.pop().unwrap().unwrap().text, "a");
                error
            }
        };
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn an_endless_event_is_an_error_before_it_fills_the_memory() {
    let upstream = Upstream::start(|_| {
        let mib = raw(&vec![b'x'; 1 << 20]);
        [vec![head(), event(A)], vec![mib; 17], vec![Act::Hang]].concat()
    })
    .await;
    let mut stream = chat(&upstream.model()).await.unwrap();
    let all = rest(&mut stream).await;
    assert!(matches!(all[1], Err(RemoteError::Malformed(_))), "{all:?}");
}

#[test]
fn what_cannot_be_asked_is_refused_when_it_is_configured() {
    for (url, key) in [
        ("example.org/v1", "k"),
        ("http://me:hush@example.org", "k"),
        ("http://example.org", "hush\n"),
    ] {
        let error = RemoteModel::new(RemoteConfig {
            api_key: Some(key.into()),
            ..config(url)
        });
        let error = error.unwrap_err();
        assert!(matches!(error, RemoteError::Setup(_)));
        assert!(!format!("{error} {error:?}").contains("hush"));
    }
}
