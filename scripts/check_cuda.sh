#!/usr/bin/env bash
# The kernels compiled for GPUs, and the code for them: no warning, and no more registers, shared memory or spills than written in
# kernels/RESOURCES.md. Then the program with them. Compiles for sm_80 and sm_90, and for all architectures when kernels have changed since that last passed here.
# Needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

environment="$(scripts/cuda_toolchain.sh)"
eval "$environment"
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target"
target="$(cd "$target" && pwd)"

kernels="$({ find kernels -type f -name '*.cu*' -o -path kernels/build.rs | sort | xargs cat; cat kernels/RESOURCES.md; nvcc --version; } | sha256sum)"
passed="$target/kernels-passed.txt"
if [ "$(cat "$passed" 2>/dev/null)" = "$kernels" ]; then
    export FLAMBEAU_CUDA_ARCHS=80,90
fi

export FLAMBEAU_KERNEL_RESOURCES="$target/kernel-resources.md"
cargo clippy --release --locked --features cuda --all-targets -- -D warnings
if nvcc --version | grep -q 'release 13\.0'; then
    python3 scripts/kernel_table.py --check --resources "$FLAMBEAU_KERNEL_RESOURCES"
else
    echo 'kernels/RESOURCES.md is of CUDA 13.0; not compared with another compiler'
fi
# The program starts wherever it is, says what it finds, and serves: without a driver on the CPU.
cargo build --release --locked --features cuda
"$target/release/flambeau" doctor
log="$(mktemp)"
"$target/release/flambeau" serve --port 0 >/dev/null 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null; rm -f "$log"' EXIT
for _ in $(seq 600); do
    url="$(sed -n 's/.* on \(http:[^;]*\);.*/\1/p' "$log")"
    [ -z "$url" ] || break
    kill -0 "$server"
    sleep 0.2
done
curl --fail --silent --show-error --max-time 120 "$url/v1/completions" -H 'Content-Type: application/json' \
    -d '{"prompt": "The capital of France is", "max_tokens": 2, "temperature": 0}' | grep -F ' Paris.'
printf '%s' "$kernels" >"$passed"
