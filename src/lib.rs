//! flambeau: a self-hosted inference server for open models, one binary from HTTP to the kernels.

pub mod cli;
