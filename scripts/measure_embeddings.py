#!/usr/bin/env python3
"""How fast a server turns texts into vectors, and transformers on the same model beside it, in turns.

    flambeau serve --port 8080 &
    scripts/measure_embeddings.py http://127.0.0.1:8080 [FOLDER_OF_MINILM]

The folder needs `pip install torch transformers`.
"""

import argparse
import json
import statistics
import time
import urllib.request

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("url")
parser.add_argument("folder", nargs="?")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
args = parser.parse_args()
# Texts a request, and words of each.
SHAPES = [(1, 10), (1, 250), (64, 100)]


def repeated(call):
    """Tokens a second, and the median time of a call in ms."""
    start, times, tokens = time.perf_counter(), [], 0
    while time.perf_counter() - start < args.seconds:
        before = time.perf_counter()
        tokens += call()
        times.append(time.perf_counter() - before)
    return tokens / sum(times), statistics.median(times) * 1000


def server(texts):
    body = json.dumps({"input": texts, "encoding_format": "base64"}).encode()
    request = urllib.request.Request(f"{args.url}/v1/embeddings", body, {"Content-Type": "application/json"})
    return lambda: json.load(urllib.request.urlopen(request))["usage"]["prompt_tokens"]


def reference(threads):
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(args.folder)
    model = transformers.AutoModel.from_pretrained(args.folder).eval()

    def call(texts):
        def embed():
            torch.set_num_threads(threads)
            batch = tokenizer(texts, return_tensors="pt", padding=True)
            with torch.no_grad():
                model(**batch).last_hidden_state.mean(1)
            return batch["input_ids"].numel()

        return embed

    return call


subjects = {"server": server}
if args.folder:
    subjects |= {f"transformers, {threads} threads": reference(threads) for threads in (1, 2)}
for count, words in SHAPES:
    texts = ["word " * words] * count
    calls = {name: subject(texts) for name, subject in subjects.items()}
    for call in calls.values():
        call()
    rounds = {name: [] for name in calls}
    for _ in range(args.rounds):
        for name, call in calls.items():
            rounds[name].append(repeated(call))
    for name, results in rounds.items():
        rate, latency = (statistics.median(column) for column in zip(*results))
        print(f"{count} × {words} words, {name}: {rate:.0f} tok/s, {latency:.1f} ms a request")
