#!/usr/bin/env bash
# Everything that must hold before a change lands; CI runs exactly this.
# Needs Rust (rust-toolchain.toml says which), a C compiler, and, the first time, a network for the crates and the
# default model (98 MB, kept in the user's cache). What else it checks with, it passes over where it is not there: a C++ compiler,
# CUDA's, Python, Node.js.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# With a C++ compiler, the kernels of GPUs run on the CPU.
features=()
if command -v c++ >/dev/null; then
    features=(--features kernel-shim)
elif [ "${FLAMBEAU_KERNELS:-}" = required ]; then
    echo 'there is no C++ compiler for the kernels' >&2
    exit 1
fi

step format
cargo fmt --all --check

step clippy
cargo clippy --release --all-targets --locked "${features[@]}" -- -D warnings

step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps --locked --quiet

step tests
cargo test --release --locked "${features[@]}"

# The one that the tests have built.
program="${CARGO_TARGET_DIR:-target}/release/flambeau-tested"
cp "${CARGO_TARGET_DIR:-target}/release/flambeau" "$program"

step kernels for GPUs
if [ "${FLAMBEAU_KERNELS:-}" = required ] || scripts/cuda_toolchain.sh --is-there; then
    scripts/check_cuda.sh
else
    echo 'there is no CUDA compiler; skipped (scripts/check_cuda.sh fetches one)'
fi

step pairs of questions
if command -v python3 >/dev/null; then
    python3 scripts/make_semantic_pairs.py --check
else
    echo 'there is no Python; skipped'
fi

step clients
FLAMBEAU="$program" scripts/check_clients.sh

step licences and advisories
if command -v cargo-deny >/dev/null; then
    cargo deny --locked check licenses bans sources
else
    echo 'cargo-deny is not installed; skipped (cargo install cargo-deny)'
fi
