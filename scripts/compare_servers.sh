#!/usr/bin/env bash
# Compares two running servers that speak OpenAI's protocol (flambeau, vLLM, SGLang, llama.cpp's …) under the same open-loop load.
#
#   scripts/compare_servers.sh URL_A URL_B [options]
#
# Rounds go to A and B in turns, the first of each pair changing; both servers of a pair get the same prompts at the same times, the next
# pair gets others. Prints requests within the objective a second (goodput), and percentiles of time to first token, inter-token latency
# and end-to-end time, with 95% intervals and the ratio A / B, and how much of a core the load generator itself took.
#
#   --rate R          requests a second [default: 1]
#   --requests N      requests a round [default: 60]
#   --rounds N        rounds on each server [default: 4]
#   --input-len N     words of a prompt [default: 128]
#   --output-len N    tokens of an answer, however it ends [default: 64]
#   --shared-prefix N words that all prompts begin with [default: 0]
#   --slo-ttft-ms X   the objective: time to first token [default: 1000]
#   --slo-tpot-ms X   and time per output token [default: 100]
#   --model-a NAME    the model to ask for [default: the server's first]
#   --model-b NAME
#   --api-key-a KEY   as bearer token; env:NAME takes it from the environment
#   --api-key-b KEY
#   --json FILE       where the figures go, with every request's
#
# Needs Python 3. FLAMBEAU names the program to load with [default: this repository's, built].
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case "${1:-}" in
    '' | -h | --help)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        [ -n "${1:-}" ]
        exit
        ;;
esac
if [ -z "${FLAMBEAU:-}" ]; then
    (cd "$here/.." && cargo build --release --locked --quiet)
    FLAMBEAU=$(cd "$here/.." && cargo metadata --format-version 1 --no-deps --locked |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/flambeau
fi
exec python3 "$here/compare_servers.py" "$FLAMBEAU" "$@"
