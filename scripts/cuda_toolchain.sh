#!/usr/bin/env bash
# Prints the environment that building for GPUs needs, to be evaluated:  eval "$(scripts/cuda_toolchain.sh)"
# It is the machine's own toolkit where there is one (CUDA 12 or 13: $CUDA_HOME, the path, or /usr/local/cuda), else NVIDIA's compiler
# from the Python package index, about 600 MB, kept in a folder of the user's cache. It needs no GPU, no driver and no root.
# With --is-there it prints nothing and says by its status whether there is one without fetching.
set -euo pipefail

is_fit() { "$1/bin/nvcc" --version 2>/dev/null | grep -Eq 'release 1[23]\.'; }

home=''
in_path="$(command -v nvcc || true)"
for folder in "${CUDA_HOME:-}" "${in_path%/bin/nvcc}" /usr/local/cuda; do
    if [ -n "$folder" ] && is_fit "$folder"; then
        home="$folder"
        break
    fi
done

# One release for all parts. A newer one's PTX would be refused by drivers of the 580 series.
packages='nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85 nvidia-curand==10.4.0.35 nvidia-cuda-nvrtc==13.0.88'
cache="${XDG_CACHE_HOME:-$HOME/.cache}/flambeau-cuda"
if [ "${1:-}" = --is-there ]; then
    [ -n "$home" ] || [ "$(cat "$cache/installed.txt" 2>/dev/null)" = "$packages" ]
    exit
fi

if [ -z "$home" ]; then
    if [ "$(cat "$cache/installed.txt" 2>/dev/null)" != "$packages" ]; then
        mkdir -p "$cache"
        python3 -m venv "$cache/python" >&2
        # shellcheck disable=SC2086 # a list of words
        "$cache/python/bin/pip" install --quiet --disable-pip-version-check $packages >&2
        printf '%s' "$packages" >"$cache/installed.txt"
    fi
    home="$(echo "$cache"/python/lib/python3*/site-packages/nvidia/cu13)"
    is_fit "$home" || { echo "cuda_toolchain.sh: $home holds no compiler that runs" >&2; exit 1; }
fi

cat <<END
export CUDA_HOME='$home'
export PATH='$home/bin':"\$PATH"
END
