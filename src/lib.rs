//! flambeau: a self-hosted inference server for open models, one binary from HTTP to the kernels.

pub mod backend;
pub mod engine;
pub mod kv;
pub mod model;
pub mod ops;
pub mod request;
pub mod sample;
pub mod scheduler;
pub mod telemetry;
