//! The command line: one file a subcommand.

pub mod models;
//! The command line: one module a subcommand. The only layer that may see all the others.

pub mod bench;
