//! When a request is sent again, and when it is not.

use flambeau::remote::{RemoteConfig, RemoteError, RemoteModel};

use super::upstream::*;

fn retrying(url: &str, max_retries: u32) -> RemoteModel {
    RemoteModel::new(RemoteConfig {
        max_retries,
        ..config(url)
    })
    .unwrap()
}

#[tokio::test]
async fn what_fails_before_the_first_piece_is_asked_again() {
    for failing in [
        vec![Act::Close],
        response(502, "", ""),
        response(503, "retry-after: 0\r\n", "loading"),
        response(504, "retry-after: soon\r\n", ""),
        response(429, "", "{}"),
        vec![head(), event(ROLE), Act::Close],
        stream(&[ROLE]),
    ] {
        let upstream = Upstream::start(move |n| match n {
            0 => failing.clone(),
            _ => answer(),
        })
        .await;
        let mut stream = chat(&retrying(&upstream.url, 1)).await.unwrap();
        assert_eq!(text(&mut stream).await, "a");
        assert_eq!(upstream.num_asked(), 2);
    }
}

#[tokio::test]
async fn it_is_asked_as_often_as_allowed_and_the_last_failure_counts() {
    for (max_retries, num_asked) in [(0, 1), (2, 3)] {
        let upstream = Upstream::start(|n| response(502 + (n as u16 % 3), "", "down")).await;
        let error = chat(&retrying(&upstream.url, max_retries))
            .await
            .unwrap_err();
        assert_eq!(upstream.num_asked(), num_asked);
        match error {
            RemoteError::Unavailable {
                status, message, ..
            } => assert_eq!((status, &*message), (501 + num_asked as u16, "down")),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_the_server_decided_is_not_asked_again() {
    for acts in [
        response(400, "", "no"),
        response(401, "", "no"),
        response(404, "", "no"),
        response(500, "", "no"),
        response(307, "location: /v1\r\n", ""),
        response(200, "content-type: text/html\r\n", "<html>"),
        stream(&[ROLE, r#"{"error":{"message":"out of memory"}}"#]),
        stream(&["{"]),
    ] {
        let upstream = Upstream::start(move |_| acts.clone()).await;
        chat(&retrying(&upstream.url, 5)).await.unwrap_err();
        assert_eq!(upstream.num_asked(), 1);
    }
}

#[tokio::test]
async fn nothing_is_asked_again_after_the_first_piece() {
    let upstream = Upstream::start(|_| vec![head(), event(A), Act::Close]).await;
    let mut stream = chat(&retrying(&upstream.url, 5)).await.unwrap();
    let all = rest(&mut stream).await;
    assert_eq!(all[0].as_ref().unwrap().text, "a");
    assert!(matches!(all[1], Err(RemoteError::Broken(_))), "{all:?}");
    assert_eq!((all.len(), upstream.num_asked()), (2, 1));
}

#[tokio::test]
async fn a_busy_server_that_asks_for_patience_is_left_alone() {
    let body = r#"{"error":{"message":"slow down"}}"#;
    let upstream = Upstream::start(move |_| response(429, "retry-after: 60\r\n", body)).await;
    match chat(&retrying(&upstream.url, 5)).await.unwrap_err() {
        RemoteError::Busy {
            message,
            retry_after,
        } => assert_eq!(
            (&*message, retry_after.unwrap().as_secs()),
            ("slow down", 60)
        ),
        other => panic!("{other}"),
    }
    assert_eq!(upstream.num_asked(), 1);
}

#[tokio::test]
async fn one_that_asks_for_a_second_is_given_it() {
    let upstream = Upstream::start(|n| match n {
        0 => response(429, "retry-after: 1\r\n", "{}"),
        _ => answer(),
    })
    .await;
    let start = std::time::Instant::now();
    let mut stream = chat(&retrying(&upstream.url, 1)).await.unwrap();
    assert!(start.elapsed().as_secs() >= 1);
    assert_eq!(text(&mut stream).await, "a");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for model in [Some("m".to_owned()), None] {
        let model = RemoteModel::new(RemoteConfig {
            model,
            max_retries: 1,
            ..config(&url)
        });
        let error = chat(&model.unwrap()).await.unwrap_err();
        assert!(matches!(error, RemoteError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn an_attempt_that_failed_is_over_before_the_next_begins() {
    let mut upstream = Upstream::start(|n| match n {
        0 => vec![head(), event(ROLE), raw(b"data: \xff\n\n"), Act::Hang],
        _ => vec![head(), Act::Hang],
    })
    .await;
    let error = chat(&retrying(&upstream.url, 1)).await.unwrap_err();
    assert!(matches!(error, RemoteError::Malformed(_)), "{error}");
    assert_eq!((upstream.closed().await, upstream.num_asked()), (0, 1));
}
