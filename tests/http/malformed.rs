//! Bodies that are no JSON, and bytes that are no HTTP: an error, and the server serves on.

use insta::assert_snapshot;
use serde_json::json;

use super::client::within;
use super::redact::pretty;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

async fn serves_on(server: &Server) {
    let body = json!({"prompt": "Hi", "max_tokens": 2});
    let reply = server.post(COMPLETIONS, body).await;
    assert_eq!(reply.json()["choices"][0]["text"], "Hi");
    within(server.engine.drained()).await;
}

/// Sends bytes as they are; the status, if the server answers at all before it closes.
async fn raw(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut client = server.connect().await;
    client.write(bytes).await.unwrap();
    client.reply().await.ok().map(|reply| reply.status())
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    [
        format!("POST {COMPLETIONS} HTTP/1.1\r\nhost: test\r\n{headers}\r\n").as_bytes(),
        body,
    ]
    .concat()
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_a_400_that_says_where() {
    let server = Setup::echo().start().await;
    let mut lines = String::new();
    for path in [CHAT, COMPLETIONS, "/tokenize", "/detokenize"] {
        lines.clear();
        for body in [
            "",
            "{",
            "[]",
            "null",
            "5",
            "\"a\"",
            "{\"prompt\": \"a\",}",
            "{\"prompt\": 'a'}",
            "{\"prompt\": \"a\"} x",
            "{\"prompt\": \"\\ud800\"}",
            "{\"temperature\": NaN}",
            "{\"temperature\": Infinity}",
            "{\"temperature\": -Infinity}",
            "{\"temperature\": 1e999}",
            "{\"temperature\": 01}",
            "// a comment\n{}",
            "{\"temperature\": 0, \"temperature\": 2}",
        ] {
            let reply = server.post(path, body).await;
            assert_eq!(reply.status(), 400, "{body}");
            let json = reply.json();
            assert_eq!(json["error"]["param"], json!(null));
            lines.push_str(&format!(
                "{body}\n    {}\n",
                json["error"]["message"].as_str().unwrap()
            ));
        }
        assert_snapshot!("no_json", lines);
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let server = Setup::echo().start().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [10_000, 300_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let bodies = [
                nested.clone(),
                format!("{{\"prompt\": {nested}}}"),
                open.repeat(depth),
            ];
            for body in bodies.iter().filter(|body| body.len() <= 2 << 20) {
                let reply = server.post(COMPLETIONS, body).await;
                assert_eq!(reply.status(), 400);
                let message = reply.json()["error"]["message"].take();
                // A body that is a list to begin with is not followed to its depths.
                let why = match body.starts_with('[') {
                    true => "must be a JSON object",
                    false => "recursion limit",
                };
                assert!(message.as_str().unwrap().contains(why), "{message}");
            }
        }
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_a_400() {
    let server = Setup::echo().start().await;
    for body in [
        &b"{\"prompt\": \"\xff\"}"[..],
        b"\xff\xfe{\0}\0",
        b"{\"prompt\": \"\xed\xa0\x80\"}",
    ] {
        let headers = format!("content-length: {}\r\n", body.len());
        assert_eq!(raw(&server, &post(&headers, body)).await, Some(400));
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let server = Setup::echo().start().await;
    let of_length = |length: usize| format!("{{\"prompt\": \"a\"}}{}", " ".repeat(length - 15));
    assert_eq!(
        server.post(COMPLETIONS, of_length(2 << 20)).await.status(),
        200
    );
    let reply = server.post(COMPLETIONS, of_length((2 << 20) + 1)).await;
    assert_eq!(reply.status(), 413);
    assert_snapshot!("too_large", pretty(reply.json()));
    serves_on(&server).await;
}

#[tokio::test]
async fn a_body_whose_announced_length_is_over_the_limit_is_refused_unread() {
    let server = Setup::echo().start().await;
    for length in ["2097153", "1099511627776", "9223372036854775808"] {
        let headers = format!("content-length: {length}\r\n");
        assert_eq!(
            raw(&server, &post(&headers, b"{")).await,
            Some(413),
            "{length}"
        );
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn an_endless_chunked_body_is_a_413() {
    let server = Setup::echo().start().await;
    let chunk = [b"10000\r\n", " ".repeat(0x10000).as_bytes(), b"\r\n"].concat();
    let mut client = server.connect().await;
    client
        .write(&post("transfer-encoding: chunked\r\n", b""))
        .await
        .unwrap();
    // 32 chunks are the limit; the server may close before the last ones are written.
    for _ in 0..33 {
        if client.write(&chunk).await.is_err() {
            break;
        }
    }
    assert_eq!(client.reply().await.unwrap().status(), 413);
    serves_on(&server).await;
}

#[tokio::test]
async fn what_is_no_http_is_refused_or_closed() {
    let server = Setup::echo().start().await;
    let long = format!("x-long: {}\r\ncontent-length: 0\r\n", "x".repeat(1 << 20));
    let many: String = (0..1000).map(|i| format!("x-{i}: 1\r\n")).collect();
    for request in [
        b"\r\n\r\n\r\nnonsense\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /\0health HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nbad header\r\n\r\n".to_vec(),
        post("content-length: ten\r\n", b"{}"),
        post("content-length: -1\r\n", b"{}"),
        post("content-length: 2\r\ncontent-length: 3\r\n", b"{}"),
        post("content-length: 18446744073709551614\r\n", b"{}"),
        post("content-length: 99999999999999999999999\r\n", b"{}"),
        post("transfer-encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", b"ffffffffffffffffff\r\n"),
        post(&long, b""),
        post(&many, b""),
    ] {
        let status = raw(&server, &request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
        assert!(
            status.is_none_or(|status| (400..600).contains(&status)),
            "{status:?} for {shown:?}"
        );
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn a_body_shorter_than_announced_never_reaches_the_engine() {
    let server = Setup::echo().start().await;
    let client = server.connect().await;
    let bytes = post("content-length: 100\r\n", br#"{"prompt": "a"}"#);
    client.write(&bytes).await.unwrap();
    drop(client);
    serves_on(&server).await;
    let requests = server.metric(&Server::outcome("cancelled")).await;
    assert_eq!(requests, 0.0);
}
