//! A model that another server serves, by OpenAI's protocol: a running vLLM, llama-server, another flambeau.
//!
//! [`RemoteModel`] asks, [`RemoteStream`] is the answer as it comes.
//!
//! Invariants:
//! - A request is with one server at most, and once at most: it is asked again only after an attempt of which nothing
//!   of the answer has come, and whose connection is closed.
//! - Dropping a future or a stream closes the connection under it, by which the other server knows that nobody waits.
//! - Text is passed on as it comes. Only tool calls that come mixed up are held until their turn.
//! - What a server sends is bounded where it is kept, and what is wrong with it is an error, never a panic.
//! - The key is in no `Debug` and in no error, also where the other server repeats it.

mod answer;
mod calls;
mod chunk;
mod delta;
mod error;
mod model;
mod retry;
mod stream;

pub use delta::{RemoteDelta, RemoteFinish, RemoteUsage};
pub use error::{RemoteError, Wait};
pub use model::{RemoteConfig, RemoteModel};
pub use stream::RemoteStream;
