#!/usr/bin/env python3
"""Writes a GGUF file of a Llama as `transformers` would have it: config.json, safetensors in bfloat16 and tokenizer.json.

Usage: pip install gguf numpy safetensors torch tokenizers; python scripts/make_safetensors_folder.py FILE.gguf FOLDER
Only for files with a byte-level BPE tokenizer, such as the default model's.
"""

import json
import pathlib
import re
import sys

import gguf
import torch
from safetensors.torch import save_file

LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHERS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def main():
    reader, folder = gguf.GGUFReader(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    field = lambda key: reader.get_field(key).contents()
    number = lambda key: field(f"llama.{key}")
    num_heads, num_kv_heads = number("attention.head_count"), number("attention.head_count_kv")
    tensors = {}
    for tensor in reader.tensors:
        values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        stem, kind = tensor.name.rsplit(".", 1)
        if found := re.fullmatch(r"blk\.(\d+)\.(\w+)", stem):
            name = f"model.layers.{found[1]}.{LAYER[found[2]]}"
            heads = {"attn_q": num_heads, "attn_k": num_kv_heads}.get(found[2])
            if heads:
                # In GGUF files the two values of a rotary pair are neighbours, here they are half a head apart.
                head = values.shape[0] // heads
                values = values.reshape(heads, head // 2, 2, -1).transpose(1, 2).reshape(values.shape)
        else:
            name = OTHERS[stem]
        tensors[f"{name}.{kind}"] = values.bfloat16().contiguous()
    save_file(tensors, folder / "model.safetensors")
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    config = {
        "model_type": "llama",
        "hidden_size": number("embedding_length"),
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "vocab_size": len(tokens),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": number("context_length"),
        "rope_theta": number("rope.freq_base"),
        "tie_word_embeddings": "lm_head.weight" not in tensors,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    control = lambda i: types[i] == gguf.TokenType.CONTROL
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
            for i, token in enumerate(tokens)
            if control(i)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in field("tokenizer.ggml.merges")],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    name_of = lambda key: tokens[field(f"tokenizer.ggml.{key}_token_id")]
    texts = {"bos_token": name_of("bos"), "eos_token": name_of("eos"), "chat_template": field("tokenizer.chat_template")}
    (folder / "tokenizer_config.json").write_text(json.dumps(texts | {"add_bos_token": False}))


main()
