//! API keys: every route but `/health` and `/ready` needs one, when any is configured.

use flambeau::server::ApiKey;
use insta::assert_snapshot;

use super::redact::pretty;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

const ROUTES: [(&str, &str); 11] = [
    ("POST", CHAT),
    ("POST", COMPLETIONS),
    ("GET", "/v1/models"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("GET", "/metrics"),
    ("GET", "/version"),
    // Nor does anybody learn without a key what there is.
    ("GET", "/no/such/path"),
    ("GET", CHAT),
    ("DELETE", "/metrics"),
    ("GET", "//metrics"),
];

async fn two_keys() -> Server {
    let mut setup = Setup::echo();
    setup.options.api_keys = vec![ApiKey::new("one", "key-1"), ApiKey::new("two", "key-2")];
    setup.start().await
}

async fn status(server: &Server, method: &str, path: &str, authorization: Option<&str>) -> u16 {
    let headers: Vec<_> = authorization
        .map(|value| ("authorization", value))
        .into_iter()
        .collect();
    let mut client = server.connect().await;
    client.send(method, path, &headers, b"{").await.unwrap();
    client.reply().await.unwrap().status()
}

#[tokio::test]
async fn every_route_but_health_and_ready_needs_a_key() {
    let server = two_keys().await;
    for (method, path) in ROUTES {
        for wrong in [
            None,
            Some("Bearer key-3"),
            Some("Bearer "),
            Some("Bearer key-1 key-2"),
            Some("Bearer key-"),
            Some("Bearer KEY-1"),
            Some("key-1"),
            Some("Basic key-1"),
            Some("Bearer"),
        ] {
            let status = status(&server, method, path, wrong).await;
            assert_eq!(status, 401, "{method} {path} with {wrong:?}");
        }
    }
    for path in ["/health", "/ready"] {
        assert_eq!(status(&server, "GET", path, None).await, 200);
        assert_eq!(
            status(&server, "GET", path, Some("Bearer key-3")).await,
            200
        );
    }
}

#[tokio::test]
async fn every_configured_key_opens_every_route() {
    let server = two_keys().await;
    for (method, path) in ROUTES {
        for key in ["Bearer key-1", "bearer key-2"] {
            let expected = match (method, path) {
                ("GET", "/v1/models" | "/metrics" | "/version") => 200,
                ("GET", "/no/such/path" | "//metrics") => 404,
                ("POST", _) => 400,
                _ => 405,
            };
            assert_eq!(
                status(&server, method, path, Some(key)).await,
                expected,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_missing() {
    let server = two_keys().await;
    let reply = server.get("/metrics").await;
    assert_eq!(reply.head.header("www-authenticate"), Some("Bearer"));
    let mut client = server.connect().await;
    let wrong = [("authorization", "Bearer key-3")];
    client.send("GET", "/metrics", &wrong, b"").await.unwrap();
    let unknown = client.reply().await.unwrap();
    assert_snapshot!([pretty(reply.json()), pretty(unknown.json())].join("\n"));
}
