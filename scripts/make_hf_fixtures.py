#!/usr/bin/env python3
"""Writes tests/data/hf: a tiny random model of every family that is read from safetensors, and the logits that
`transformers` gives for it in float32, with keys and values rounded to float16 as flambeau's cache has them.

Usage: pip install torch transformers peft; python scripts/make_hf_fixtures.py
The seeds are fixed. Weights are stored in bfloat16, so that a file holds exactly what was computed with; one model is cut
into shards.
"""

import json
import pathlib
import shutil

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "data" / "hf"
NUM_TOKENS = 40
SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    attn_implementation="eager",
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
FACTORS = dict(short_factor=[1.0, 1.1, 1.2], long_factor=[1.0, 2.0, 4.0])
LONGROPE = dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75, **FACTORS)
GEMMA3 = dict(
    sliding_attention=dict(rope_type="default", rope_theta=100.0),
    full_attention=dict(rope_type="linear", factor=4.0, rope_theta=10000.0),
)
QWEN3_MOE = dict(head_dim=16, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=24)
GPT_OSS = dict(
    head_dim=8,
    sliding_window=8,
    num_local_experts=4,
    num_experts_per_tok=2,
    rope_parameters=YARN | dict(truncate=False),
    pad_token_id=0,
    eos_token_id=0,
    swiglu_limit=1.0,
)
WIDE = dict(hidden_size=64, intermediate_size=96, tie_word_embeddings=True)
PHI3 = dict(tie_word_embeddings=False, pad_token_id=0, eos_token_id=0, sliding_window=None)
MODELS = {
    "llama": ("LlamaConfig", dict(tie_word_embeddings=True), "1GB"),
    "llama3": ("LlamaConfig", dict(rope_parameters=LLAMA3, tie_word_embeddings=False), "24KB"),
    "llama-linear": ("LlamaConfig", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)), "1GB"),
    "llama-yarn": ("LlamaConfig", dict(rope_parameters=YARN), "1GB"),
    "llama-dynamic": ("LlamaConfig", dict(rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=4.0)), "1GB"),
    "mistral": ("MistralConfig", dict(sliding_window=None, head_dim=16), "1GB"),
    "mistral-window": ("MistralConfig", dict(sliding_window=9, head_dim=16), "1GB"),
    "qwen2": ("Qwen2Config", dict(tie_word_embeddings=True, sliding_window=8, use_sliding_window=False), "1GB"),
    "qwen2-yarn": ("Qwen2Config", dict(rope_parameters=YARN | dict(truncate=False, beta_fast=8, mscale=1.0, mscale_all_dim=0.5), max_position_embeddings=32), "1GB"),
    "qwen2-window": ("Qwen2Config", dict(sliding_window=7, use_sliding_window=True, max_window_layers=1), "1GB"),
    "qwen3": ("Qwen3Config", dict(tie_word_embeddings=True, head_dim=16), "1GB"),
    "smollm3": ("SmolLM3Config", dict(num_hidden_layers=4, pad_token_id=0, sliding_window=8, use_sliding_window=False), "1GB"),
    "smollm3-window": ("SmolLM3Config", dict(num_hidden_layers=4, pad_token_id=0, sliding_window=8, use_sliding_window=True), "1GB"),
    "phi3": ("Phi3Config", PHI3, "1GB"),
    "phi3-window": ("Phi3Config", PHI3 | dict(sliding_window=5), "1GB"),
    "gemma2": ("Gemma2Config", dict(num_hidden_layers=3, head_dim=16, sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=2.0, final_logit_softcapping=3.0), "1GB"),
    "gemma3": ("Gemma3TextConfig", dict(num_hidden_layers=7, head_dim=16, sliding_window=8, query_pre_attn_scalar=24, rope_parameters=GEMMA3), "1GB"),
    "qwen3-moe": ("Qwen3MoeConfig", QWEN3_MOE | dict(norm_topk_prob=True), "1GB"),
    "qwen3-moe-mixed": ("Qwen3MoeConfig", QWEN3_MOE | dict(num_hidden_layers=5, mlp_only_layers=[3], decoder_sparse_step=2, norm_topk_prob=False), "1GB"),
    "mixtral": ("MixtralConfig", dict(sliding_window=None, num_local_experts=4, num_experts_per_tok=2), "1GB"),
    "gpt-oss": ("GptOssConfig", GPT_OSS, "1GB"),
    "gpt-oss-mxfp4": ("GptOssConfig", GPT_OSS | dict(hidden_size=64, intermediate_size=32, swiglu_limit=7.0), "1GB"),
    **{name: ("LlamaConfig", WIDE, "1GB") for name in ("llama-awq", "llama-gptq", "llama-gptq-order", "llama-fp8", "llama-fp8-channel")},
    "phi3-longrope": ("Phi3Config", PHI3 | dict(rope_parameters=LONGROPE, original_max_position_embeddings=32), "1GB"),
}  # fmt: skip


E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
E2M1 = torch.cat([E2M1, -E2M1])


def linears(model):
    """The weights of the layers' linear parts, `[outputs, inputs]`."""
    return [(name, weight) for name, weight in model.named_parameters() if name.endswith("proj.weight")]


def pack_mxfp4(model):
    packed = {}
    for name, weight in model.named_parameters():
        if not name.endswith(("gate_up_proj", "down_proj")):
            continue
        experts, inputs, outputs = weight.shape
        codes = torch.randint(0, 16, (experts, outputs, inputs // 32, 32))
        scales = torch.randint(122, 125, (experts, outputs, inputs // 32))
        values = E2M1[codes] * 2.0 ** (scales[..., None] - 127)
        weight.copy_(values.reshape(experts, outputs, inputs).transpose(1, 2))
        packed[f"{name}_blocks"] = (codes[..., 0::2] | codes[..., 1::2] << 4).to(torch.uint8)
        packed[f"{name}_scales"] = scales.to(torch.uint8)
    return packed


def words(nibbles, order=range(8)):
    """Eights of the last dimension as words of 32 bits, the first of `order` in the lowest bits."""
    eights = nibbles.reshape(*nibbles.shape[:-1], -1, 8)
    word = sum(eights[..., n].long() << (4 * i) for i, n in enumerate(order))
    return torch.where(word >= 2**31, word - 2**32, word).int().contiguous()


def random_int4(weight, groups, dtype):
    """Quants `[inputs, outputs]`, zeros and scales `[groups, outputs]`; the weight becomes what they stand for."""
    outputs, inputs = weight.shape
    quants = torch.randint(0, 16, (inputs, outputs))
    zeros = torch.randint(1, 16, (int(groups.max()) + 1, outputs))
    scales = ((0.5 + torch.rand(zeros.shape)) * inputs**-0.5 / 5).to(dtype)
    values = scales.float()[groups] * (quants - zeros[groups])
    weight.copy_(values.T)
    return quants, zeros, scales


def pack_awq(model):
    packed = {}
    for name, weight in linears(model):
        stem, order = name.removesuffix(".weight"), [0, 2, 4, 6, 1, 3, 5, 7]
        groups = torch.arange(weight.shape[1]) // 32
        quants, zeros, scales = random_int4(weight, groups, torch.float16)
        packed |= {f"{stem}.qweight": words(quants, order), f"{stem}.qzeros": words(zeros, order), f"{stem}.scales": scales}
    return packed


def pack_gptq(model, has_act_order=False):
    packed = {}
    for name, weight in linears(model):
        stem, inputs = name.removesuffix(".weight"), weight.shape[1]
        groups = torch.arange(inputs) // 32
        if has_act_order:
            groups = groups[torch.randperm(inputs)]
        quants, zeros, scales = random_int4(weight, groups, torch.float16)
        if has_act_order:
            weight.copy_(weight.half().float())
        packed |= {
            f"{stem}.qweight": words(quants.T).T.contiguous(),
            f"{stem}.qzeros": words(zeros - 1),
            f"{stem}.scales": scales,
            f"{stem}.g_idx": groups.int(),
        }
    return packed


def pack_fp8(model, block=None):
    packed = {}
    for name, weight in linears(model):
        outputs, inputs = weight.shape
        values = (100 * torch.randn(outputs, inputs)).to(torch.float8_e4m3fn)
        rows, columns = block or (1, inputs)
        scales = (0.5 + torch.rand(-(-outputs // rows), -(-inputs // columns))) * inputs**-0.5 / 100
        full = scales.repeat_interleave(rows, 0)[:outputs].repeat_interleave(columns, 1)[:, :inputs]
        weight.copy_(values.float() * full)
        packed |= {name: values, name + ("_scale_inv" if block else "_scale"): scales}
    return packed


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False}
PACKERS = {
    "gpt-oss-mxfp4": (pack_mxfp4, {"quant_method": "mxfp4"}),
    "llama-awq": (pack_awq, {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}),
    "llama-gptq": (pack_gptq, GPTQ),
    "llama-gptq-order": (lambda model: pack_gptq(model, True), GPTQ | {"desc_act": True}),
    "llama-fp8": (lambda model: pack_fp8(model, [24, 32]), {"quant_method": "fp8", "weight_block_size": [24, 32]}),
    "llama-fp8-channel": (pack_fp8, {"quant_method": "compressed-tensors", "format": "float-quantized"}),
}


def store_packed(folder, packed, quantization_config):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for key in packed:
        stem = key.removesuffix("_blocks").removesuffix(".qweight")
        for unpacked in {stem, f"{stem}.weight"} & tensors.keys():
            del tensors[unpacked]
    save_file(tensors | packed, path)
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"quantization_config": quantization_config}
    path.write_text(json.dumps(config, indent=2) + "\n")


class HalfCache(transformers.DynamicCache):
    def update(self, keys, values, *args, **kwargs):
        return super().update(keys.half().float(), values.half().float(), *args, **kwargs)


def make(name, kind, own, shard_size):
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind)(**(SIZES | own))
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            is_norm = "norm" in key
            spread = 0.2 if is_norm else 0.5 if key.endswith("bias") else weight.shape[-1] ** -0.5
            # Gemma's classes add the one themselves.
            mean = 1 if is_norm and "gemma" not in name else 0
            weight.copy_((mean + spread * torch.randn(weight.shape)).bfloat16().float())
        pack, quantization_config = PACKERS.get(name, (lambda model: {}, {}))
        packed = pack(model)
        tokens = torch.randint(0, config.vocab_size, (1, NUM_TOKENS))
        logits = model(tokens, past_key_values=HalfCache(config=config)).logits[0]
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model.bfloat16().save_pretrained(folder, max_shard_size=shard_size)
    if packed:
        store_packed(folder, packed, quantization_config)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_file({"tokens": tokens[0].int(), "logits": logits.float().contiguous()}, folder / "expected.safetensors")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {size} bytes, logits of {logits.std():.2f} +- {logits.abs().max():.2f}")


# The model, the adapter's settings.
ADAPTERS = {
    "llama-lora": ("llama", dict(r=4, lora_alpha=8, target_modules="all-linear")),
    "llama-lora-qv": ("llama", dict(r=2, lora_alpha=16, target_modules=["q_proj", "v_proj"], use_rslora=True)),
    "llama-lora-k": ("llama", dict(r=3, lora_alpha=3, target_modules=["k_proj", "down_proj"])),
}


def make_adapter(name, base, own):
    torch.manual_seed(sum(map(ord, name)))
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER / base, dtype=torch.float32).eval()
    tokens = load_file(FOLDER / base / "expected.safetensors")["tokens"][None].long()
    model = peft.get_peft_model(model, peft.LoraConfig(**own))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "lora_" in key:
                weight.copy_(0.3 * torch.randn(weight.shape))
        logits = model(tokens, past_key_values=HalfCache(config=model.config)).logits[0]
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file({"logits": logits.float().contiguous()}, folder / "expected.safetensors")
    print(f"{name}: logits of {logits.std():.2f} +- {logits.abs().max():.2f}")


for name, (kind, own, shard_size) in MODELS.items():
    make(name, kind, own, shard_size)
for name, (base, own) in ADAPTERS.items():
    make_adapter(name, base, own)
print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}))
