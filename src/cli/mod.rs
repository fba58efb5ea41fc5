//! The command line: one module a subcommand. The only layer that may see all the others.

pub mod bench;
pub mod models;
