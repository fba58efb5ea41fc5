#!/usr/bin/env python3
"""Writes tests/data/embeddings: the vectors that `transformers` gives for texts, in float32.

- `minilm.json`: texts, their token ids and their vectors by all-MiniLM-L6-v2: the mean over a text's tokens, at length 1, as
  sentence-transformers computes it.
- `tiny`: the folder of a small random BERT that pools by its first token, with `tiny.json` of the same kind.

Usage: pip install torch transformers; python scripts/make_embedding_fixtures.py FOLDER_OF_MINILM
"""

import json
import pathlib
import shutil
import sys

import torch
import transformers

OUT = pathlib.Path(__file__).parent.parent / "tests" / "data" / "embeddings"
TEXTS = [
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "How do I fly from Paris to Rome?",
    "How do I fly from Rome to Paris?",
    "Wie komme ich von Köln nach Zürich, bitte? Naïve café.",
    "机器学习 und ein bisschen 日本語",
    "emoji 🙂🙃 and a\u200bzero width\u00a0space\tand\r\na new line",
    "antidisestablishmentarianism " + "x" * 120,
    "fn main() { println!(\"{:?}\", [1, 2, 3]); } // a comment",
    "word " * 254,
]


def vectors(folder, pooling):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    for text in TEXTS:
        ids = tokenizer(text, truncation=False)["input_ids"]
        if len(ids) > model.config.max_position_embeddings:
            continue
        with torch.no_grad():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        vector = hidden.mean(0) if pooling == "mean" else hidden[0]
        vector = torch.nn.functional.normalize(vector, dim=0)
        yield {"text": text, "token_ids": ids, "vector": [round(x, 7) for x in vector.tolist()]}


def write(name, rows):
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (OUT / name).write_text(f"[\n{rows}\n]\n")


def tiny(minilm):
    """With the vocabulary's beginning, so that most words are pieces or unknown."""
    folder = OUT / "tiny"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = json.loads((pathlib.Path(minilm) / "tokenizer.json").read_text())
    kept = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,?!"]
    kept += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    kept += ["the", "word", "##ing", "paris", "rome"]
    ids = {token: i for i, token in enumerate(kept)}
    tokenizer["model"]["vocab"] = ids
    for added in tokenizer["added_tokens"]:
        added["id"] = ids[added["content"]]
    for name, special in tokenizer["post_processor"]["special_tokens"].items():
        special["ids"] = [ids[name]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    config = transformers.BertConfig(
        vocab_size=len(kept),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=80,
        max_position_embeddings=96,
        initializer_range=0.3,
    )
    torch.manual_seed(7)
    model = transformers.BertModel(config)
    # Norms and biases are ones and zeros at first, which would hide that they are left out.
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 48, "pooling_mode_cls_token": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64}))
    write("tiny.json", vectors(folder, "first"))


OUT.mkdir(parents=True, exist_ok=True)
write("minilm.json", vectors(sys.argv[1], "mean"))
tiny(sys.argv[1])
