#!/usr/bin/env bash
# Compares flambeau with llama.cpp's llama-server on the same files: same machine, same load, in turns.
#
#   scripts/compare_llama_server.sh LLAMA_SERVER [options] [MODEL.gguf | FOLDER]...
#
# LLAMA_SERVER is the path of a llama-server binary with its libraries in the same folder, and llama-quantize beside it when
# files have to be made. Without models it takes the default model in Q4_K_M, Q8_0, Q4_1 and Q4_0, and a model of random
# weights with the dimensions of Llama-3.2-1B in Q4_K_M and Q8_0. It makes the files that are missing in the work folder.
#
#   --runs N        runs of every measurement on each server [default: 5]
#   --threads N     threads for each server [default: 2]
#   --only TEXT     only the files with TEXT in their name
#   --work-dir DIR  where files are made and kept [default: a temporary folder, removed at the end]
#   --json FILE     where the figures go [default: compare_llama_server.json]
#   --sweep         measure llama-server alone with many clients and several batch sizes, to choose from
#
# Needs Python 3; the package gguf too, to make the random model (scripts/make_random_gguf.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit "$1"; }
fail() { echo "compare_llama_server: $*" >&2; exit 1; }

server= only= work= options=() given=()
while (($#)); do
    case $1 in
        -h | --help) usage 0 ;;
        --runs | --threads | --json | --only | --work-dir)
            (($# > 1)) || fail "$1 needs a value"
            case $1 in
                --only) only=$2 ;;
                --work-dir) work=$2 ;;
                *) options+=("$1" "$2") ;;
            esac
            shift 2 ;;
        --sweep) options+=("$1"); shift ;;
        -*) fail "unknown option $1; --help lists them" ;;
        *) if [[ -z $server ]]; then server=$1; else given+=("$1"); fi; shift ;;
    esac
done
[[ -n $server ]] || usage 1 >&2
[[ -x $server ]] || fail "$server is not a program"
server=$(realpath "$server")

if [[ -z $work ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
(cd "$here/.." && cargo build --release --locked --quiet)
flambeau=$(cd "$here/.." && cargo metadata --format-version 1 --no-deps --locked |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/flambeau

# quantize FROM TYPE TO: makes TO unless it is there; its name appears only when it is whole.
quantize() {
    [[ -e $3 ]] && return
    local tool
    tool=$(dirname "$server")/llama-quantize
    [[ -x $tool ]] || fail "$tool is not there, so $3 cannot be made"
    echo "making $3" >&2
    LD_LIBRARY_PATH=$(dirname "$server") "$tool" --allow-requantize "$1" "$3.part" "$2" >"$work/quantize.log" 2>&1 ||
        fail "llama-quantize failed: $(tail -n 3 "$work/quantize.log")"
    mv "$3.part" "$3"
}

is_wanted() { [[ -z $only || $1 == *"$only"* ]]; }

files=()
if ((${#given[@]})); then
    for path in "${given[@]}"; do
        if [[ -d $path ]]; then
            for file in "$path"/*.gguf; do is_wanted "$(basename "$file")" && files+=("$file"); done
        else
            is_wanted "$(basename "$path")" && files+=("$path")
        fi
    done
else
    default=$("$flambeau" models pull smollm2-135m-instruct 2>/dev/null) ||
        fail "the default model is not there; flambeau models pull smollm2-135m-instruct says why"
    for type in Q4_K_M Q8_0 Q4_1 Q4_0; do
        name=SmolLM2-135M-Instruct.$type.gguf
        is_wanted "$name" || continue
        if [[ $type == Q4_1 ]]; then
            files+=("$default")
        else
            quantize "$default" "$type" "$work/$name"
            files+=("$work/$name")
        fi
    done
    random=$work/random-1b
    for type in Q4_K_M Q8_0; do
        is_wanted "random-1b.$type.gguf" || continue
        if [[ ! -e $random.Q8_0.gguf ]]; then
            echo "making $random.Q8_0.gguf" >&2
            "$here/make_random_gguf.py" "$default" "$random.Q8_0.gguf.part"
            mv "$random.Q8_0.gguf.part" "$random.Q8_0.gguf"
        fi
        quantize "$random.Q8_0.gguf" "$type" "$random.$type.gguf"
        files+=("$random.$type.gguf")
    done
fi
((${#files[@]})) || fail "no file to compare"
python3 "$here/compare_llama_server.py" "${options[@]}" --work-dir "$work" "$flambeau" "$server" "${files[@]}"
