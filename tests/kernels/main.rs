//! The kernels of GPUs on the CPU, each against its naive reference.
//!
//! The shim that runs them checks every access to memory and every barrier, runs threads in shuffled orders, and fills shared
//! memory with what is not a number; so a kernel that passes reads and writes nothing but its own, whatever the order.

mod attention;
mod blas;
mod cache;
mod driver;
mod embedding;
mod experts;
mod fragments;
mod glu;
mod linear;
mod rms_norm;
mod rope_store;
mod sample;
mod shim;
#[path = "../shim_card/mod.rs"]
mod shim_card;
mod small;
mod values;
