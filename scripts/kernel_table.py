#!/usr/bin/env python3
"""Writes the table of kernels in kernels/README.md: what an op must move and compute, the time that takes at least on an H100, and what
its kernel takes of a multiprocessor, by kernels/RESOURCES.md.

Usage: python scripts/kernel_table.py             to write it
       python scripts/kernel_table.py --check     to compare what is written
       python scripts/kernel_table.py --resources FILE [--check]
           to take RESOURCES.md from what a build has found, or (--check) to compare the architectures that were built with it
"""

import argparse
import pathlib
import re
import sys

KERNELS = pathlib.Path(__file__).parent.parent / "kernels"

# An H100 SXM: NVIDIA's data sheet, bf16 without sparsity. Per multiprocessor: the CUDA programming guide, compute capability 9.0.
BANDWIDTH, FLOPS = 3.35e12, 989e12
REGISTERS, SHARED, THREADS, BLOCKS = 65536, 228 << 10, 2048, 32

# Shapes of Llama 3 8B; the last weights of a step are those of one layer.
H, I, HEADS, KV_HEADS, D, VOCAB, EXPERTS = 4096, 14336, 32, 8, 128, 128256, 128
ROWS, PROMPT, CONTEXT = 64, 2048, 8192


def attention(rows, contexts, unit_bytes):
    """Bytes and operations of single rows over their contexts."""
    kv = contexts * rows * KV_HEADS * 2 * (D * unit_bytes + (4 if unit_bytes == 1 else 0))
    return kv + rows * HEADS * D * 4, rows * contexts * HEADS * D * 4


def linear(rows, n, k, bits):
    return n * k * bits / 8 + rows * (k + n) * 2, 2 * rows * n * k


def prompt(rows):
    """Causal: a row sees half of them on average."""
    return rows * KV_HEADS * 4 * D + rows * HEADS * D * 4, rows * rows / 2 * HEADS * D * 4


# Kernel, threads, dynamic shared memory, the case, and its bytes and operations.
ATTENTION_SHARED = 64 * (D + 8) * 2 * 3
TABLE = [
    ("attention_bf16_bf16_128", 128, ATTENTION_SHARED, f"{ROWS} rows, {CONTEXT} tokens each, split", attention(ROWS, CONTEXT, 2)),
    ("attention_bf16_int8_128", 128, 64 * (D + 8) * 2 * 2 + 2 * 64 * (D + 4), "the same, int8 cache", attention(ROWS, CONTEXT, 1)),
    ("attention_bf16_bf16_128", 128, ATTENTION_SHARED + 64 * D * 4, f"a prompt of {PROMPT}, whole", prompt(PROMPT)),
    ("attention_merge_bf16", 128, 0, f"{ROWS} rows, {CONTEXT // 256} spans", (ROWS * HEADS * (D + 4) * 4 * CONTEXT / 256, 2 * ROWS * HEADS * D * CONTEXT / 256)),
    ("linear_bf16_8", 256, 0, f"1 row, [{H}, {H}]", linear(1, H, H, 16)),
    ("linear_q4_min_8", 256, 0, f"1 row, [{H}, {H}], 4 bits", linear(1, H, H, 5)),
    ("linear_fp8_8", 256, 0, f"1 row, [{H}, {H}], FP8", linear(1, H, H, 9)),
    ("linear_bf16_32", 256, 0, f"32 rows, [{2 * I}, {H}]", linear(32, 2 * I, H, 16)),
    ("linear_bf16_many", 256, 3 * 128 * 144, f"{PROMPT} rows, [{2 * I}, {H}]", linear(PROMPT, 2 * I, H, 16)),
    ("linear_q4_min_many", 256, 3 * 128 * 144, f"{PROMPT} rows, [{2 * I}, {H}], 4 bits", linear(PROMPT, 2 * I, H, 5)),
    ("rope_store_bf16_bf16", 128, 0, f"{ROWS} rows", (ROWS * (HEADS + 2 * KV_HEADS) * D * 4, ROWS * (HEADS + KV_HEADS) * D * 3)),
    ("add_rms_norm_bf16", 256, 0, f"{ROWS} rows of {H}", (ROWS * H * 12, ROWS * H * 4)),
    ("gated_activation_bf16", 256, 0, f"{ROWS} rows of {I}", (ROWS * I * 6, ROWS * I * 8)),
    ("embedding_tiles_bf16", 256, 0, f"{ROWS} rows of {H}", (ROWS * H * (16 * 2 + 4), ROWS * H)),
    ("place_drawn", 256, 0, f"{ROWS} rows", (ROWS * 16, 0)),
    ("gather_rows", 256, 0, f"{ROWS} rows of {H}", (ROWS * H * 8, 0)),
    ("sample", 512, 0, f"{ROWS} rows of {VOCAB}, no filter", (ROWS * VOCAB * 4, ROWS * VOCAB * 12)),
    ("softcap", 256, 0, f"{ROWS} rows of {VOCAB}", (ROWS * VOCAB * 8, ROWS * VOCAB * 6)),
    ("add_low_rank_bf16", 256, 0, f"{ROWS} rows, rank 16, [{H}, {H}]", (16 * 2 * H * 2 + ROWS * H * 6, 2 * ROWS * 16 * 2 * H)),
    ("route", 128, 0, f"{ROWS} rows, 8 of {EXPERTS} experts", (ROWS * EXPERTS * 4, ROWS * EXPERTS * 10)),
    ("combine_experts_bf16", 256, 0, f"{ROWS} rows of {H}, 8 experts", (ROWS * H * 2 * 9, ROWS * H * 16)),
]


def read(text):
    """Rows by kernel and architecture."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[1].isdigit():
            rows[cells[0], int(cells[1])] = tuple(int(cell) for cell in cells[2:])
    return rows


def blocks_per_multiprocessor(threads, registers, shared):
    # Registers are given to warps in units of 256, and a block's shared memory has a kilobyte of its own.
    by_registers = REGISTERS // (-(-registers * 32 // 256) * 256 * threads // 32)
    return min(BLOCKS, THREADS // threads, by_registers, SHARED // (shared + 1024))


def number(value, units):
    for unit, name in units:
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return "0"


def table(resources):
    bytes_of = lambda n: number(n, [(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")])
    flop_of = lambda n: number(n, [(1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1, "FLOP")])
    lines = ["| kernel | case | must move | must compute | floor on an H100 | bound by | registers | warps of 64 | measured |", "|" + "---|" * 9]
    for kernel, threads, dynamic, case, (num_bytes, flops) in TABLE:
        registers, static, *_ = resources[kernel, 90]
        warps = blocks_per_multiprocessor(threads, registers, static + dynamic) * threads // 32
        by_bytes, by_flops = num_bytes / BANDWIDTH, flops / FLOPS
        floor = f"{max(by_bytes, by_flops) * 1e6:.3g} µs"
        bound = "memory" if by_bytes >= by_flops else "arithmetic"
        lines.append(f"| {kernel} | {case} | {bytes_of(num_bytes)} | {flop_of(flops)} | {floor} | {bound} | {registers} | {warps} | not yet on hardware |")
    return "\n".join(lines) + "\n"


def differences(built, known):
    """What a build has found that is not as it is written, for the architectures that were built."""
    architectures = {architecture for _, architecture in built}
    for key in sorted({*built, *(key for key in known if key[1] in architectures)}):
        if built.get(key) != known.get(key):
            yield f"{key[0]}, sm_{key[1]}: written {known.get(key)}, found {built.get(key)} (registers, shared memory, spill stores, spill loads)"


def write(path, text):
    """Not where nothing changes: what is newer is compiled again."""
    if path.read_text() != text:
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--resources", type=pathlib.Path)
    arguments = parser.parse_args()
    path, readme = KERNELS / "RESOURCES.md", KERNELS / "README.md"
    if arguments.resources:
        built = arguments.resources.read_text()
        if arguments.check:
            wrong = list(differences(read(built), read(path.read_text())))
            if wrong:
                sys.exit("kernels/RESOURCES.md is not what the compiler says:\n" + "\n".join(wrong) + "\nscripts/kernel_table.py --resources takes it over")
        else:
            head = "# What kernels take of a multiprocessor\n\nBy `ptxas` of CUDA 13.0; `scripts/check_cuda.sh` compares it.\n\n"
            write(path, head + built)
    resources = read(path.read_text())
    # Products and attention live in registers: a spill there is a defect.
    spilled = [key for key, (_, _, *spills) in resources.items() if any(spills) and key[0].startswith(("attention", "linear"))]
    if spilled:
        sys.exit(f"spills: {spilled}")
    text = readme.read_text()
    new = re.sub(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", lambda _: table(resources), text, flags=re.S)
    if arguments.check and new != text:
        sys.exit("kernels/README.md has another table than scripts/kernel_table.py gives")
    write(readme, new)


main()
