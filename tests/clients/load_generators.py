"""aiperf and guidellm against the server, joined with its log by the ids of requests, and its log with its metrics.

    load_generators.py LOG FOLDER

LOG is what a server without keys writes to stdout, FOLDER where reports go. Token counts must be equal; by how much the clients find
the time to the first token longer is printed (on few cores it is the clients' own work, for the most part).
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import urllib.request

BASE = os.environ["FLAMBEAU_BASE"]
MODEL = "smollm2-135m-instruct"
LOG, FOLDER = map(pathlib.Path, sys.argv[1:])
BIN = pathlib.Path(sys.executable).parent
# Synthetic prompts are made by a tokenizer that is here already; counts are the server's.
TOKENIZER = pathlib.Path(os.environ.get("FLAMBEAU_CACHE", pathlib.Path.home() / ".cache/flambeau")) / "models/all-minilm-l6-v2"


def run(name, *args):
    done = subprocess.run([BIN / args[0], *map(str, args[1:])], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def log():
    """The finished requests, by their ids."""
    lines = map(json.loads, LOG.read_text().splitlines())
    return {line["request_id"]: line for line in lines if line["status"] == 200 and line["model"] == MODEL}


def compare(name, requests):
    """Joins (id, prompt tokens, completion tokens, ms to the first token) with the log."""
    requests, differences = list(requests), []
    known = log()
    for request_id, prompt, completion, ttft in requests:
        line = known[request_id]
        assert (prompt, completion) == (line["prompt_tokens"], line["completion_tokens"]), (request_id, prompt, completion, line)
        differences.append(ttft - line["ttft_ms"])
    quantiles = statistics.quantiles(differences, n=100)
    print(f"load_generators.py: {name} ok: {len(differences)} requests, first token {quantiles[49]:.1f} ms later than in the log, P99 {quantiles[98]:.1f} ms")


def aiperf():
    run(
        "aiperf", "aiperf", "profile", "--model", MODEL, "--url", BASE, "--endpoint-type", "chat", "--streaming",
        "--use-server-token-count", "--tokenizer", TOKENIZER, "--concurrency", 4, "--request-count", 200,
        "--synthetic-input-tokens-mean", 60, "--output-tokens-mean", 12, "--output-artifact-dir", FOLDER / "aiperf",
    )
    for line in (FOLDER / "aiperf/profile_export.jsonl").read_text().splitlines():
        record = json.loads(line)
        value = lambda name: record["metrics"][name]["value"]
        yield record["metadata"]["x_request_id"], value("input_sequence_length"), value("output_sequence_length"), value("time_to_first_token")


def guidellm():
    report = FOLDER / "guidellm.json"
    run(
        "guidellm", "guidellm", "run", "--backend", f"kind=openai_http,target={BASE},model={MODEL}",
        "--profile", "kind=concurrent,streams=4", "--constraint", "kind=max_requests,count=60",
        "--data", "kind=synthetic_text,prompt_tokens=60,output_tokens=16", "--tokenizer", f"kind=huggingface_auto,model={TOKENIZER}",
        "--output", f"kind=json,path={report}", "--disable-console-interactive",
    )
    for request in json.loads(report.read_text())["benchmarks"][0]["requests"]["successful"]:
        request_id = request["response_id"].removeprefix("chatcmpl-")
        yield request_id, request["prompt_tokens"], request["output_tokens"], request["time_to_first_token_ms"]


def metrics_are_the_logs():
    text = urllib.request.urlopen(f"{BASE}/metrics").read().decode()
    series = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    metric = lambda name: float(series[f'{name}{{model="{MODEL}"}}'])
    lines = log().values()
    for name, field, scale in [
        ("flambeau_time_to_first_token_seconds", "ttft_ms", 1000),
        ("flambeau_request_queue_time_seconds", "queue_ms", 1000),
        ("flambeau_e2e_request_latency_seconds", "latency_ms", 1000),
    ]:
        assert metric(f"{name}_count") == len(lines), name
        total = sum(line[field] for line in lines) / scale
        # The log has microseconds.
        assert abs(metric(f"{name}_sum") - total) < len(lines) * 1e-6, (name, metric(f"{name}_sum"), total)
    assert metric("flambeau_prompt_tokens_total") == sum(line["prompt_tokens"] for line in lines)
    assert metric("flambeau_generation_tokens_total") == sum(line["completion_tokens"] for line in lines)
    print(f"load_generators.py: metrics are the log's ok: {len(lines)} requests")


compare("aiperf", aiperf())
compare("guidellm", guidellm())
metrics_are_the_logs()
