//! A real server on the loopback that speaks OpenAI's streaming protocol with scripted delays and faults.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Response, Uri};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, mpsc};

pub const ROLE: &str =
    r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
pub const TOKEN: &str = r#"{"choices":[{"delta":{"content":"é"},"finish_reason":null}]}"#;
pub const FINISH: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
pub const DONE: &str = "[DONE]";

/// A piece of a streamed reply.
#[derive(Clone)]
pub enum Step {
    Event(String),
    /// Bytes that are no whole event.
    Raw(&'static str),
    Wait(Duration),
    /// Waits until as many requests have come this far.
    Meet(Arc<Barrier>),
    /// Never ends; the client must give up.
    Hang,
    /// Breaks the connection in the middle of the body.
    Break,
}

/// A reply.
pub enum Answer {
    Stream(Vec<Step>),
    Other(u16, &'static str, &'static str),
}

pub fn event(data: impl ToString) -> Step {
    Step::Event(data.to_string())
}

pub fn wait(millis: u64) -> Step {
    Step::Wait(Duration::from_millis(millis))
}

pub fn usage(prompt_tokens: u64, completion_tokens: u64) -> Step {
    event(
        json!({"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}}),
    )
}

/// A complete reply of one token.
pub fn one_token() -> Vec<Step> {
    vec![
        event(ROLE),
        event(TOKEN),
        event(FINISH),
        usage(5, 1),
        event(DONE),
    ]
}

/// A request as it came.
pub struct Seen {
    pub path: String,
    pub key: Option<String>,
    pub peer: SocketAddr,
    pub body: Value,
}

/// What the server does, and what it was asked.
pub struct Server {
    answer: Box<dyn Fn(usize) -> Answer + Send + Sync>,
    pub seen: Mutex<Vec<Seen>>,
}

/// Starts a server that gives its n-th request `answer(n)`.
pub async fn serve(
    answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
) -> (Arc<Server>, String) {
    let server = Arc::new(Server {
        answer: Box::new(answer),
        seen: Mutex::default(),
    });
    let router = Router::new()
        .route(
            "/v1/models",
            get(async || axum::Json(json!({"data": [{"id": "first"}, {"id": "second"}]}))),
        )
        .route("/v1/chat/completions", post(handle))
        .route("/v1/completions", post(handle))
        .with_state(Arc::clone(&server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Else the kernel holds small writes back until the last one is acknowledged, for 40 ms and more.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    (server, url)
}

async fn handle(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let key = headers
        .get("authorization")
        .map(|key| key.to_str().unwrap().to_owned());
    let body = serde_json::from_slice(&body).unwrap();
    let index = {
        let mut seen = server.seen.lock().unwrap();
        seen.push(Seen {
            path: uri.path().to_owned(),
            key,
            peer,
            body,
        });
        seen.len() - 1
    };
    let (status, content_type, body) = match (server.answer)(index) {
        Answer::Stream(steps) => (200, "text/event-stream", stream(steps)),
        Answer::Other(status, content_type, text) => (status, content_type, Body::from(text)),
    };
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

fn stream(steps: Vec<Step>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for step in steps {
            let item = match step {
                Step::Event(data) => Ok(Bytes::from(format!("data: {data}\n\n"))),
                Step::Raw(text) => Ok(Bytes::from(text)),
                Step::Wait(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
                Step::Meet(barrier) => {
                    barrier.wait().await;
                    continue;
                }
                Step::Hang => return sender.closed().await,
                Step::Break => Err("scripted break"),
            };
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    Body::from_stream(Items(receiver))
}

struct Items(mpsc::Receiver<Result<Bytes, &'static str>>);

impl futures_util::Stream for Items {
    type Item = Result<Bytes, &'static str>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
