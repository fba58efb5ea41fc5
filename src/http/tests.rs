//! The client against servers that are a few bytes on a socket.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What no test takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn client(url: &str) -> HttpClient {
    HttpClient::new(&options(url)).unwrap()
}

fn options(url: &str) -> HttpOptions<'_> {
    HttpOptions {
        url,
        api_key: None,
        user_agent: "test",
        connect_timeout: PATIENCE,
        max_idle: 4,
        idle_timeout: PATIENCE,
    }
}

/// Runs `server` on a thread, with its listener.
fn serve<T: Send + 'static>(
    server: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, spawn(move || server(listener)))
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Waits for the client to close the connection.
fn read_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Waits for the server without holding up the client, and for what it found.
async fn joined<T: Send + 'static>(server: JoinHandle<T>) -> T {
    let joining = tokio::task::spawn_blocking(|| server.join().unwrap());
    joining.await.unwrap()
}

async fn get(client: &HttpClient) -> Result<Vec<u8>, HttpError> {
    client.get("/").await?.body.collect(100).await
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let (url, server) = serve(|listener| {
        for _ in 0..2 {
            let mut stream = accept(&listener);
            read_head(&mut stream);
            let reply = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(reply).unwrap();
        }
    });
    let client = client(&url);
    for _ in 0..2 {
        assert_eq!(get(&client).await.unwrap(), b"ok");
    }
    joined(server).await;
}

#[tokio::test]
async fn a_kept_connection_that_closes_without_a_word_is_replaced_and_a_fresh_one_is_a_failure() {
    let (url, server) = serve(|listener| {
        // How many requests each connection answers before it closes on the next one.
        for answered in [1, 1, 0] {
            let mut stream = accept(&listener);
            for _ in 0..answered {
                read_head(&mut stream);
                stream.write_all(OK).unwrap();
            }
            read_head(&mut stream);
        }
    });
    let client = client(&url);
    for _ in 0..2 {
        assert_eq!(get(&client).await.unwrap(), b"ok");
    }
    let error = get(&client).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken(_)), "{error}");
    joined(server).await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_until_one_is_dropped_half_read() {
    let (url, server) = serve(|listener| {
        let mut stream = accept(&listener);
        for _ in 0..2 {
            let head = read_head(&mut stream);
            assert!(
                head.starts_with("get /team/v1/models http/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("authorization: bearer sesame\r\n"), "{head}");
            assert!(head.contains("host: 127.0.0.1"), "{head}");
            stream.write_all(OK).unwrap();
        }
        read_head(&mut stream);
        stream.write_all(&OK[..OK.len() - 1]).unwrap();
        read_end(&mut stream);
    });
    let url = format!("{url}/team/v1/");
    let client = HttpClient::new(&HttpOptions {
        api_key: Some("sesame"),
        ..options(&url)
    });
    let client = client.unwrap();
    for _ in 0..2 {
        let reply = client.get("/v1/models").await.unwrap();
        assert_eq!((reply.status, reply.content_type()), (200, None));
        reply.body.drain(PATIENCE).await;
    }
    let mut reply = client.get("/").await.unwrap();
    assert_eq!(reply.body.chunk().await, Some(Ok("o".into())));
    drop(reply);
    joined(server).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_so_are_those_idle_for_long() {
    for (max_idle, idle_timeout) in [(0, PATIENCE), (4, Duration::from_millis(10))] {
        let (url, server) = serve(|listener| {
            let mut stream = accept(&listener);
            read_head(&mut stream);
            stream.write_all(OK).unwrap();
            read_end(&mut stream);
        });
        let client = HttpClient::new(&HttpOptions {
            max_idle,
            idle_timeout,
            ..options(&url)
        });
        let client = client.unwrap();
        assert_eq!(get(&client).await.unwrap(), b"ok");
        // The client lives on: it is not its end that closes the connection.
        joined(server).await;
        drop(client);
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_the_bound_and_no_further() {
    let (url, server) = serve(|listener| {
        let mut stream = accept(&listener);
        for _ in 0..2 {
            read_head(&mut stream);
            stream.write_all(OK).unwrap();
        }
        read_end(&mut stream);
    });
    let client = client(&url);
    for (max_bytes, result) in [(2, Ok(b"ok".to_vec())), (1, Err(HttpError::TooLarge(1)))] {
        let body = client.get("/").await.unwrap().body;
        assert_eq!(body.collect(max_bytes).await, result);
    }
    joined(server).await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_no_server_and_one_that_says_nothing_is_given_up() {
    for (says, is_timeout) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false),
        (b"", true),
    ] {
        let (url, server) = serve(move |listener| {
            let mut stream = accept(&listener);
            stream.write_all(says).unwrap();
            while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
        });
        let timeout = match is_timeout {
            true => Duration::from_millis(50),
            false => PATIENCE,
        };
        let url = url.replace("http:", "https:");
        let client = HttpClient::new(&HttpOptions {
            connect_timeout: timeout,
            ..options(&url)
        });
        let error = get(&client.unwrap()).await.unwrap_err();
        match is_timeout {
            true => assert_eq!(error, HttpError::ConnectTimeout(timeout)),
            false => assert!(matches!(error, HttpError::Connect(_)), "{error}"),
        }
        joined(server).await;
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_of_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = get(&client(&url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect(_)), "{error}");
}

#[test]
fn a_key_that_no_header_may_have_is_refused_without_repeating_it() {
    let options = HttpOptions {
        api_key: Some("hush\n"),
        ..options("http://127.0.0.1")
    };
    let error = HttpClient::new(&options).err().unwrap();
    assert!(matches!(error, SetupError::Key));
    assert!(!format!("{error} {error:?}").contains("hush"));
}
