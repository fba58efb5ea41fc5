#!/usr/bin/env python3
"""Writes tests/data/gguf_corpus/: a small valid file by the `gguf` package's own writer, and damaged copies of it.

Usage: pip install gguf numpy; python scripts/make_gguf_corpus.py
Each file's line in expected.txt is `file: part of the message`, with nothing after the colon for a valid file.
"""

import pathlib
import struct
import tempfile

import gguf
import numpy as np

DIR = pathlib.Path(__file__).resolve().parent.parent / "tests/data/gguf_corpus"


def valid():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "valid.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(2048)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_token_list(["<s>", "</s>", "Ġthe"])
        writer.add_token_types([3, 3, 1])
        writer.add_add_bos_token(False)
        rng = np.random.default_rng(0)
        writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
        weight = gguf.quants.quantize(rng.normal(size=(4, 64)).astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("blk.0.attn_q.weight", weight, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def main():
    good = valid()

    def patch(marker, skip, new):
        """`good` with `new` written `skip` bytes after the end of `marker`."""
        at = good.index(marker) + len(marker) + skip
        return good[:at] + new + good[at + len(new) :]

    def u32(x):
        return struct.pack("<I", x)

    def u64(x):
        return struct.pack("<Q", x)

    # After a key: value type (4), then the value; for an array element type (4), count (8), elements.
    # After a tensor's name: number of dimensions (4), the dimensions (8 each), type (4), offset (8).
    files = {
        "valid": (good, ""),
        "empty": (b"", "magic"),
        "lfs_pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 98362432\n", "Git LFS"),
        "version_1": (patch(b"GGUF", 0, u32(1)), "GGUF version 1"),
        "big_endian": (patch(b"GGUF", 0, struct.pack(">I", 3)), "big-endian"),
        "header_only": (good[:24], "tensor_count"),
        "cut_in_metadata": (good[: good.index(b"</s>") + 2], "bytes left"),
        "cut_in_data": (good[:-100], "past the end of the file"),
        "huge_tensor_count": (patch(b"GGUF", 4, u64(2**60)), "tensor_count"),
        "huge_metadata_count": (patch(b"GGUF", 12, u64(2**60)), "metadata_kv_count"),
        "huge_string": (patch(b"general.architecture", 4, u64(2**62)), '"general.architecture"'),
        "huge_array": (patch(b"tokenizer.ggml.tokens", 8, u64(2**61)), '"tokenizer.ggml.tokens"'),
        "key_not_utf8": (patch(b"llama.context_len", 0, b"\xff"), "is not UTF-8"),
        "token_not_utf8": (patch(b"</s>", -4, b"\xff\xfe"), '"tokenizer.ggml.tokens": the string'),
        "unknown_value_type": (patch(b"llama.context_length", 0, u32(77)), "unknown value type 77"),
        "bad_boolean": (patch(b"tokenizer.ggml.add_bos_token", 4, b"\x07"), "7 is not a boolean"),
        "zero_dimension": (patch(b"output_norm.weight", 4, u64(0)), '"output_norm.weight": dimension 0'),
        "many_dimensions": (patch(b"output_norm.weight", 0, u32(2**31)), "2147483648 dimensions"),
        "dimensions_overflow": (patch(b"attn_q.weight", 4, u64(2**63) + u64(2**63)), '"blk.0.attn_q.weight"'),
        "partial_block": (patch(b"attn_q.weight", 4, u64(63)), "whole blocks of 32"),
        "misaligned": (patch(b"output_norm.weight", 16, u64(8)), "multiple of the alignment"),
        "offset_past_end": (patch(b"attn_q.weight", 24, u64(2**63)), '"blk.0.attn_q.weight": its offset'),
        "overlapping_tensors": (patch(b"attn_q.weight", 24, u64(0)), "overlaps that of tensor"),
    }
    DIR.mkdir(parents=True, exist_ok=True)
    for old in DIR.iterdir():
        old.unlink()
    for name, (data, _) in files.items():
        (DIR / f"{name}.bin").write_bytes(data)
    lines = [f"{name}.bin: {part}".rstrip() for name, (_, part) in files.items()]
    (DIR / "expected.txt").write_text("\n".join(lines) + "\n")


main()
