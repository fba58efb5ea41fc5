//! An HTTP/1.1 client of one server, and the parser of the event streams that it answers with.
//!
//! Invariants:
//! - A connection serves one request until its reply has been read to the end; whoever drops the request or the reply
//!   before that closes it, which tells the server that nobody waits any more.
//! - No redirects, no proxies, no cookies: what is asked is asked of the server that was named.
//! - What one reply can take of memory is bounded, and so are the connections that are kept.
//! - The key is in no error.

mod body;
mod client;
mod connect;
mod endpoint;
mod error;
mod pool;
mod sse;
#[cfg(test)]
mod tests;

pub use body::{Reply, ReplyBody};
pub use client::{HttpClient, HttpOptions};
pub use error::{HttpError, SetupError, excerpt};
pub use sse::{SseError, SseEvent, SseParser};
