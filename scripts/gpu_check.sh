#!/usr/bin/env bash
# Checks and measures a GPU, with one program and no network: each kernel against the CPU, equal rows whatever shares the batch, models of
# random weights whole, and then how fast kernels and models are (`flambeau doctor --gpu --measure`).
#
#   scripts/gpu_check.sh [PROGRAM] [FOLDER]
#
# PROGRAM is a `flambeau` for GPUs, as in the archive of scripts/package.sh [default: built here, for which CUDA's compiler must be there].
# Results go to FOLDER [default: benches/results]: `CARD-DATE.json` and `.txt`, with card, driver and commit. With NVIDIA's compute-sanitizer
# the checks run under it first. ORDINAL in the environment names the card [default: 0]. Fails if anything is wrong.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
case "${1:-}" in
    -h | --help)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        exit
        ;;
esac
program=${1:-}
folder=${2:-$here/benches/results}
ordinal=${ORDINAL:-0}
if [ -z "$program" ]; then
    cd "$here"
    eval "$(scripts/cuda_toolchain.sh)"
    cargo build --release --locked --features cuda
    program=${CARGO_TARGET_DIR:-target}/release/flambeau
fi
mkdir -p "$folder"
card=cuda$ordinal
driver=unknown
if command -v nvidia-smi >/dev/null; then
    card=$(nvidia-smi --id="$ordinal" --query-gpu=name --format=csv,noheader | tr -cs 'A-Za-z0-9\n' '-')
    driver=$(nvidia-smi --id="$ordinal" --query-gpu=driver_version --format=csv,noheader)
fi
result=$folder/$card-$(date -u +%Y-%m-%d)
{
    echo "driver $driver, commit $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%FT%TZ)"
    if command -v compute-sanitizer >/dev/null; then
        echo 'under compute-sanitizer:'
        timeout 240 compute-sanitizer --error-exitcode 1 "$program" doctor --gpu "$ordinal" | tail -3
    fi
    "$program" doctor --gpu "$ordinal" --measure --json "$result.json"
} 2>&1 | tee "$result.txt"
