//! HTTP/1.1 on a bare socket, so that malformed requests, slow readers and disconnects are real.
#![allow(dead_code)] // The tests and the bench each use their own part.
#![allow(clippy::unwrap_used)] // A response that is no HTTP fails the test.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What no step of a test takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `future`, but not forever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing happened")
}

/// One connection; dropping it closes the socket.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// The body of an event stream that is read but not split into events yet.
    events: Vec<u8>,
}

/// Status and headers of a response; names are in lower case.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            events: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            within(self.stream.writable()).await?;
            match self.stream.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a request.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.write(&[request.as_bytes(), body].concat()).await
    }

    /// Waits for the status line and the headers.
    pub async fn head(&mut self) -> io::Result<Head> {
        let end = self.find(b"\r\n\r\n").await?;
        let text: Vec<u8> = self.received.drain(..end + 4).collect();
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        };
        Ok(Head {
            status: status.unwrap().parse().unwrap(),
            headers: lines.map(header).collect(),
        })
    }

    /// Waits for a whole response.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let head = self.head().await?;
        let mut body = Vec::new();
        match head.header("content-length") {
            Some(length) => {
                let length = length.parse().unwrap();
                self.fill(length).await?;
                body.extend(self.received.drain(..length));
            }
            None => {
                while let Some(chunk) = self.chunk().await? {
                    body.extend(chunk);
                }
            }
        }
        Ok(Reply { head, body })
    }

    /// The next chunk of a chunked body; `None` at its end.
    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let end = self.find(b"\r\n").await?;
        let line = std::str::from_utf8(&self.received[..end]).unwrap();
        let length = usize::from_str_radix(line, 16).unwrap();
        self.fill(end + 2 + length + 2).await?;
        let chunk: Vec<u8> = self.received.drain(..end + 2 + length + 2).collect();
        Ok((length > 0).then(|| chunk[end + 2..end + 2 + length].to_vec()))
    }

    /// The next server-sent event or comment, without the blank line after it; `None` at the end of the stream.
    pub async fn event(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = position(&self.events, b"\n\n") {
                let event: Vec<u8> = self.events.drain(..end + 2).collect();
                return Ok(Some(
                    String::from_utf8(event).unwrap().trim_end().to_owned(),
                ));
            }
            match self.chunk().await? {
                Some(chunk) => self.events.extend(chunk),
                None => {
                    assert!(self.events.is_empty(), "the last event is cut short");
                    return Ok(None);
                }
            }
        }
    }

    /// The rest of an event stream.
    pub async fn events(&mut self) -> io::Result<Vec<String>> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Waits until the server closes the connection; what it still sends is dropped.
    pub async fn closed(&mut self) {
        while self.read().await.is_ok() {}
    }

    async fn find(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match position(&self.received, bytes) {
                Some(at) => return Ok(at),
                None => self.read().await?,
            }
        }
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.received.len() < length {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            within(self.stream.readable()).await?;
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
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
