//! flambeau: a self-hosted inference server for open models, one binary from HTTP to the kernels.

pub mod backend;
pub mod cli;
pub mod config;
pub mod constraint;
pub mod engine;
pub mod gateway;
pub mod http;
pub mod hub;
pub mod kv;
pub mod model;
pub mod ops;
pub mod remote;
pub mod request;
pub mod sample;
pub mod scheduler;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod text;
