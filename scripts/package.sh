#!/usr/bin/env bash
# Makes the archives of a release: one program for the CPU, and one for GPUs, too.
#
#   scripts/package.sh [FOLDER] [cpu|cuda]
#
# Each archive (`flambeau-VERSION-TARGET[-cuda].tar.xz`) has the program, without the tables of its lines, and README, CHANGELOG, LICENSE
# and docs, and beside it lies its SHA-256. FOLDER is `dist` by default; without `cpu` or `cuda` both are made. The one for GPUs takes
# CUDA's compiler (`scripts/cuda_toolchain.sh`) to build, and nothing of CUDA to start.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    -h | --help)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        exit
        ;;
esac
folder=${1:-dist}
mkdir -p "$folder"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
target=$(rustc -vV | sed -n 's/^host: //p')
# As old as the last change, so that archives are equal, too.
time=$(git log -1 --format=%ct 2>/dev/null || echo 0)

package() {
    local name=flambeau-$version-$target$1
    shift
    cargo build --release --locked --quiet "$@"
    local built=${CARGO_TARGET_DIR:-target}/release/flambeau
    local stage
    stage=$(mktemp -d)
    mkdir "$stage/$name"
    cp "$built" README.md CHANGELOG.md LICENSE "$stage/$name"
    cp -r docs "$stage/$name"
    strip "$stage/$name/flambeau"
    # It starts, wherever there is no driver.
    "$stage/$name/flambeau" --version
    tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -c "$name" |
        xz -T1 -6 >"$folder/$name.tar.xz"
    (cd "$folder" && sha256sum "$name.tar.xz" >"$name.tar.xz.sha256")
    rm -r "$stage"
    printf '%s: %s bytes\n' "$folder/$name.tar.xz" "$(stat -c %s "$folder/$name.tar.xz")"
}

case "${2:-both}" in
    both | cpu) package '' ;;&
    both | cuda)
        eval "$(scripts/cuda_toolchain.sh)"
        package -cuda --features cuda
        ;;
    cpu) ;;
    *)
        echo "$2: cpu or cuda" >&2
        exit 1
        ;;
esac
