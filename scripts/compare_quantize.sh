#!/usr/bin/env bash
# Perplexity of `flambeau quantize` beside llama.cpp's own quantisation of the same file, and whether its programs read ours.
#
#   scripts/compare_quantize.sh LLAMA_BIN TEXT [MODEL]
#
# LLAMA_BIN is the folder with llama-quantize and llama-perplexity; TEXT a text of at least some thousand words; MODEL a card's id
# or a .gguf file (default: the default model, which is Q4_1 already). Both programs requantise it.
set -euo pipefail
cd "$(dirname "$0")/.."

llama=${1:?the folder with llama-quantize}
text=${2:?a text}
model=${3:-smollm2-135m-instruct}
flambeau=${FLAMBEAU:-target/release/flambeau}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH=$llama

source=$model
if [ ! -f "$source" ]; then
    source=$("$flambeau" models pull "$model" 2>/dev/null)
fi

perplexity() { # of a file, by flambeau
    "$flambeau" eval "$1" --text "$text" 2>/dev/null | sed -n 's/^perplexity \([0-9.]*\).*/\1/p'
}

echo "source: $(perplexity "$source")"
printf '%-6s %12s %12s %8s %22s %20s\n' type flambeau llama.cpp ratio "ours, by llama.cpp" "with --imatrix"
for pair in q8_0:Q8_0 q4_0:Q4_0 q4_k:Q4_K_M; do
    ours=$work/${pair%%:*}.gguf
    theirs=$work/${pair##*:}.gguf
    "$flambeau" quantize "$source" "$ours" --type "${pair%%:*}" >/dev/null 2>&1
    "$llama/llama-quantize" --allow-requantize "$source" "$theirs" "${pair##*:}" >/dev/null 2>&1
    a=$(perplexity "$ours")
    b=$(perplexity "$theirs")
    read_by_llama=$("$llama/llama-perplexity" -m "$ours" -f "$text" 2>&1 | sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p')
    c=-
    if [ "${pair%%:*}" != q8_0 ]; then
        "$flambeau" quantize "$source" "$ours" --type "${pair%%:*}" --imatrix README.md >/dev/null 2>&1
        c=$(perplexity "$ours")
    fi
    ratio=$(awk "BEGIN { printf \"%.4f\", $a / $b }")
    printf '%-6s %12s %12s %8s %22s %20s\n' "${pair%%:*}" "$a" "$b" "$ratio" "$read_by_llama" "$c"
done
