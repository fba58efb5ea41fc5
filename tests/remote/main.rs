//! Remote models against real sockets: an [`upstream`] does byte by byte what a test says, and tells what it saw. No test
//! sleeps; times are lower bounds, and the short ones are those of servers that never answer.

#![allow(clippy::unwrap_used)]

mod answers;
mod failures;
mod retries;
mod upstream;
