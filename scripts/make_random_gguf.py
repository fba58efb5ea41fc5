#!/usr/bin/env python3
"""Writes a GGUF file of random Q8_0 weights with the dimensions of Llama-3.2-1B: enough to measure speed and memory.

The tokenizer is that of another GGUF file, filled up with unused words to the vocabulary of Llama 3. The same arguments
give the same bytes. Needs the PyPI package gguf (0.17 or later).

    scripts/make_random_gguf.py TOKENIZER.gguf OUT.gguf
"""

import argparse

import gguf
import numpy as np

LAYERS, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 16, 2048, 8192, 32, 8, 64, 128_256
CONTEXT, ROPE_BASE, EPSILON = 131_072, 500_000.0, 1e-5
Q8_0, F32 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32


def shapes():
    """Every tensor's name and shape, outputs first; the LM head is the embedding, as in the original."""
    yield "token_embd.weight", (VOCAB, HIDDEN)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (HIDDEN,)
        yield f"{block}.attn_q.weight", (HEADS * HEAD_DIM, HIDDEN)
        yield f"{block}.attn_k.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield f"{block}.attn_v.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield f"{block}.attn_output.weight", (HIDDEN, HEADS * HEAD_DIM)
        yield f"{block}.ffn_norm.weight", (HIDDEN,)
        yield f"{block}.ffn_gate.weight", (FEED_FORWARD, HIDDEN)
        yield f"{block}.ffn_up.weight", (FEED_FORWARD, HIDDEN)
        yield f"{block}.ffn_down.weight", (HIDDEN, FEED_FORWARD)
    yield "output_norm.weight", (HIDDEN,)


def copy_tokenizer(reader, writer):
    """Copies the keys tokenizer.*, with the token list filled up to VOCAB."""
    value = lambda name: reader.fields[name].contents()
    tokens = value("tokenizer.ggml.tokens")
    missing = VOCAB - len(tokens)
    if missing < 0:
        raise SystemExit(f"the tokenizer has {len(tokens)} tokens, more than the {VOCAB} of the model")
    # 'Ġ' is the byte-level spelling of a space; no merge leads to these words, so no text is ever split into them.
    writer.add_token_list(tokens + [f"Ġunused{i}" for i in range(missing)])
    writer.add_token_types(value("tokenizer.ggml.token_type") + [int(gguf.TokenType.NORMAL)] * missing)
    for name, field in reader.fields.items():
        if name.startswith("tokenizer.") and name not in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if is_array else None)


def weights(random, shape):
    """Q8_0 blocks, normally distributed with the deviation 0.02; the norms are ones."""
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    rows, columns = shape
    blocks = np.empty((rows, columns // 32, 34), np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(0.02 / 42).tobytes(), np.uint8)
    quants = random.standard_normal((rows, columns // 32, 32), np.float32) * 42
    blocks[..., 2:] = np.clip(np.rint(quants), -127, 127).astype(np.int8).view(np.uint8)
    return blocks.reshape(rows, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", help="a GGUF file with a byte-level BPE tokenizer")
    parser.add_argument("out", help="the file to write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    writer = gguf.GGUFWriter(arguments.out, "llama")
    writer.add_name("Random 1B")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    copy_tokenizer(gguf.GGUFReader(arguments.tokenizer), writer)
    for name, shape in shapes():
        is_vector = len(shape) == 1
        count = int(np.prod(shape))
        writer.add_tensor_info(
            name, shape, np.dtype(np.float32), count * 4 if is_vector else count // 32 * 34,
            raw_dtype=F32 if is_vector else Q8_0,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(arguments.seed)
    for _, shape in shapes():
        writer.write_tensor_data(weights(random, shape))
    writer.close()


if __name__ == "__main__":
    main()
