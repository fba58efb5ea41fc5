//! A tiny HTTP/1.1 server on the loopback: one thread and one request a connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The start of `Range: bytes=START-…`.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .split('-')
            .next()?
            .parse()
            .ok()
    }
}

/// What the server answers.
#[derive(Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    sent: Option<usize>,
    hang: bool,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            ..Reply::default()
        }
    }

    pub fn body(body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status: 200,
            body: body.into(),
            ..Reply::default()
        }
    }

    /// The file, or the part of it that the request's range asks for.
    pub fn file(bytes: &[u8], request: &Request) -> Reply {
        let Some(start) = request.range_start() else {
            return Reply::body(bytes);
        };
        if start >= bytes.len() {
            return Reply::status(416);
        }
        let end = request
            .header("range")
            .and_then(|r| r.rsplit('-').next()?.parse().ok())
            .unwrap_or(bytes.len() - 1);
        let range = format!("bytes {start}-{end}/{}", bytes.len());
        Reply {
            status: 206,
            body: bytes[start..=end].into(),
            ..Reply::default()
        }
        .with("content-range", &range)
    }

    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends only so many bytes of the body, then closes.
    pub fn cut_after(mut self, bytes: usize) -> Reply {
        self.sent = Some(bytes);
        self
    }

    /// Keeps the connection open and silent after what is sent.
    pub fn hang(mut self) -> Reply {
        self.hang = true;
        self
    }
}

/// A running server; it ends with the process.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (requests.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || answer(stream, &log, &*handler));
            }
        });
        Server { url, requests }
    }

    /// The requests so far whose path ends with `suffix`.
    pub fn requests(&self, suffix: &str) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.path.ends_with(suffix))
            .cloned()
            .collect()
    }
}

fn answer(mut stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &dyn Fn(&Request) -> Reply) {
    let mut lines = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ")
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
        })
        .collect();
    let request = Request {
        method,
        path,
        headers,
    };
    log.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    reply
        .headers
        .iter()
        .for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    head += &format!("content-length: {}\r\n\r\n", reply.body.len());
    let body = if request.method == "HEAD" {
        &[]
    } else {
        &reply.body[..reply.sent.unwrap_or(reply.body.len())]
    };
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
    if sent.is_ok() && reply.hang {
        // Blocks until the client gives up and closes.
        let _ = BufReader::new(stream).read_until(0, &mut Vec::new());
    }
}
