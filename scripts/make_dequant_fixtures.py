#!/usr/bin/env python3
"""Writes tests/data/dequant.txt: blocks of every supported ggml type and what the `gguf` package decodes them to.

Usage: pip install gguf numpy; python scripts/make_dequant_fixtures.py > tests/data/dequant.txt
An argument gives the number of random blocks a type (default 1) for a longer check. The seed is fixed, so the output
only changes with the package's arithmetic. Besides random blocks there is one with all quants at their maximum and a
subnormal scale. Lines: type id, encoded bytes in hex, big-endian bits of the f32s in hex.
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, quants

# Byte offsets of the halves (scales, minima) in a block; every other byte is arbitrary bits.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.IQ4_NL: [0],
    T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: [],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}  # fmt: skip
SUBNORMAL_HALF = bytes([0x2D, 0x80])


def blocks(ty, count, rng):
    size = GGML_QUANT_SIZES[ty][1]
    data = rng.integers(0, 256, (count + 1, size), dtype=np.uint8)
    data[count] = 255
    for at in HALVES[ty]:
        scales = rng.normal(0, 0.1, count).astype("<f2")
        data[:count, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
        data[count, at : at + 2] = np.frombuffer(SUBNORMAL_HALF, np.uint8)
    return data.reshape(-1)


def floats(ty):
    values = np.array([0.0, -0.0, 1.0, -2.5, 1 / 3, 65504.0, 6.1e-5, 5.97e-8, np.inf, -np.inf])
    match ty:
        case T.F32:
            return values.astype("<f4").view(np.uint8)
        case T.F16:
            return values.astype("<f2").view(np.uint8)
        case T.F64:
            return values.astype("<f8").view(np.uint8)
        case T.BF16:
            return np.ascontiguousarray(values.astype("<f4").view("<u2")[1::2]).view(np.uint8)


def decode(ty, data):
    # The package leaves doubles to numpy.
    return data.view("<f8").astype(np.float32) if ty == T.F64 else quants.dequantize(data, ty)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("# made by scripts/make_dequant_fixtures.py")
    for ty in sorted([*HALVES, T.F32, T.F16, T.F64, T.BF16]):
        data = blocks(ty, count, np.random.default_rng(int(ty))) if ty in HALVES else floats(ty)
        print(int(ty), data.tobytes().hex(), decode(ty, data).astype(">f4").tobytes().hex())


main()
