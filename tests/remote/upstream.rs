//! An HTTP/1.1 server on the loopback whose every byte is scripted.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flambeau::remote::{RemoteConfig, RemoteDelta, RemoteError, RemoteModel, RemoteStream};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What no step of a test takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const A: &str = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
pub const B: &str = r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}"#;
pub const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
pub const FINISH: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
pub const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
pub const DONE: &str = "[DONE]";

/// What the server does next.
#[derive(Clone)]
pub enum Act {
    Send(Vec<u8>),
    /// Waits until the test says so.
    Wait(Arc<Notify>),
    /// Waits for the client to close the connection.
    Hang,
    Close,
}

/// A request as it came.
#[derive(Debug)]
pub struct Seen {
    /// The request line and the headers, in lower case but for the first line.
    pub head: String,
    pub body: Value,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

/// What the server was asked.
pub struct Upstream {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    closed: UnboundedReceiver<usize>,
}

/// The head of a stream of events.
pub fn head() -> Act {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    Act::Send(head.into())
}

/// Bytes of a stream, written at once.
pub fn raw(bytes: &[u8]) -> Act {
    let size = format!("{:x}\r\n", bytes.len());
    Act::Send([size.as_bytes(), bytes, b"\r\n"].concat())
}

pub fn event(data: &str) -> Act {
    raw(format!("data: {data}\n\n").as_bytes())
}

/// The end of a stream.
pub fn end() -> Act {
    Act::Send(b"0\r\n\r\n".into())
}

/// A stream of these events, with its end.
pub fn stream(events: &[&str]) -> Vec<Act> {
    let events = events.iter().map(|data| event(data));
    [head()].into_iter().chain(events).chain([end()]).collect()
}

/// A complete answer: `a`.
pub fn answer() -> Vec<Act> {
    stream(&[ROLE, A, FINISH, USAGE, DONE])
}

/// A whole response; `headers` end in line ends.
pub fn response(status: u16, headers: &str, body: &str) -> Vec<Act> {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\n\r\n{body}");
    vec![Act::Send(text.into())]
}

impl Upstream {
    /// A server that does `acts(n)` for the n-th request that asks to generate.
    pub async fn start(acts: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (closes, closed) = unbounded_channel();
        let seen = Arc::new(Mutex::default());
        tokio::spawn(accept(listener, Arc::clone(&seen), Arc::new(acts), closes));
        Self { url, seen, closed }
    }

    pub fn model(&self) -> RemoteModel {
        RemoteModel::new(config(&self.url)).unwrap()
    }

    /// How often it was asked to generate.
    pub fn num_asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until a connection is closed by the client, and says which.
    pub async fn closed(&mut self) -> usize {
        within(self.closed.recv()).await.unwrap()
    }
}

type Acts = dyn Fn(usize) -> Vec<Act> + Send + Sync;

async fn accept(
    listener: TcpListener,
    seen: Arc<Mutex<Vec<Seen>>>,
    acts: Arc<Acts>,
    closes: UnboundedSender<usize>,
) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (seen, acts, closes) = (Arc::clone(&seen), Arc::clone(&acts), closes.clone());
        tokio::spawn(async move {
            serve(stream, connection, &seen, &*acts, &closes).await;
        });
    }
}

/// Serves one connection until either side closes it.
async fn serve(
    stream: TcpStream,
    connection: usize,
    seen: &Mutex<Vec<Seen>>,
    acts: &Acts,
    closes: &UnboundedSender<usize>,
) {
    let mut socket = Socket {
        stream,
        received: Vec::new(),
    };
    while let Ok((head, body)) = socket.request().await {
        let acts = match head.starts_with("POST") {
            true => {
                let mut seen = seen.lock().unwrap();
                seen.push(Seen {
                    head,
                    body,
                    connection,
                });
                acts(seen.len() - 1)
            }
            false => response(200, "", r#"{"data":[{"id":"first"},{"id":"second"}]}"#),
        };
        for act in acts {
            match act {
                // Whether anybody reads it is seen when the next request is read.
                Act::Send(bytes) => drop(socket.write(&bytes).await),
                Act::Wait(notify) => notify.notified().await,
                Act::Hang => while socket.read().await.is_ok() {},
                Act::Close => return,
            }
        }
    }
    // The test may have ended.
    let _ = closes.send(connection);
}

struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Socket {
    /// The next request; an error where the client closed the connection.
    async fn request(&mut self) -> io::Result<(String, Value)> {
        let end = loop {
            match self.received.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read().await?,
            }
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let headers = headers.to_lowercase();
        let length = headers
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| {
                let digits = rest.split("\r\n").next().unwrap();
                digits.parse().unwrap()
            });
        while self.received.len() < length {
            self.read().await?;
        }
        let body: Vec<u8> = self.received.drain(..length).collect();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok((format!("{line}\r\n{headers}"), body))
    }

    async fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.received.extend_from_slice(&buffer[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits for `future`, but not forever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    (tokio::time::timeout(PATIENCE, future).await).expect("nothing happened")
}

pub fn config(url: &str) -> RemoteConfig {
    RemoteConfig {
        url: url.to_owned(),
        model: Some("m".into()),
        api_key: Some("sesame".into()),
        connect_timeout: PATIENCE,
        first_token_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        max_retries: 0,
    }
}

/// Asks for a chat.
pub async fn chat(model: &RemoteModel) -> Result<RemoteStream, RemoteError> {
    within(model.chat(body(json!({"messages": []})))).await
}

pub fn body(body: Value) -> Map<String, Value> {
    serde_json::from_value(body).unwrap()
}

/// All that still comes.
pub async fn rest(stream: &mut RemoteStream) -> Vec<Result<RemoteDelta, RemoteError>> {
    let mut all = Vec::new();
    while let Some(delta) = within(stream.next()).await {
        all.push(delta);
    }
    assert!(within(stream.next()).await.is_none(), "it has ended twice");
    all
}

/// The text of what comes, which has no error in it.
pub async fn text(stream: &mut RemoteStream) -> String {
    let all = rest(stream).await;
    all.into_iter().map(|delta| delta.unwrap().text).collect()
}
