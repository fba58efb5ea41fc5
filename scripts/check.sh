#!/usr/bin/env bash
# Everything that must hold before a change lands; CI runs exactly this.
# Needs Rust (rust-toolchain.toml says which), a C compiler, and, the first time, a network for the crates and the
# default model (98 MB, kept in the user's cache).
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step format
cargo fmt --all --check

step clippy
cargo clippy --release --all-targets --locked -- -D warnings

step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps --locked --quiet

step tests
cargo test --release --locked

step clients
# The program that the tests have built.
FLAMBEAU="${CARGO_TARGET_DIR:-target}/release/flambeau" scripts/check_clients.sh

step licences and advisories
if command -v cargo-deny >/dev/null; then
    cargo deny --locked check licenses bans sources
else
    echo 'cargo-deny is not installed; skipped (cargo install cargo-deny)'
fi
