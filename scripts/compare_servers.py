"""Two servers under the same load, in turns. scripts/compare_servers.sh says how it is called."""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

PERCENTILES = (50, 90, 99)
RESAMPLES = 1000


def parse():
    parser = argparse.ArgumentParser(prog="compare_servers.sh")
    parser.add_argument("flambeau", help=argparse.SUPPRESS)
    parser.add_argument("url_a")
    parser.add_argument("url_b")
    parser.add_argument("--rate", type=float, default=1)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--input-len", type=int, default=128)
    parser.add_argument("--output-len", type=int, default=64)
    parser.add_argument("--shared-prefix", type=int, default=0)
    parser.add_argument("--slo-ttft-ms", type=float, default=1000)
    parser.add_argument("--slo-tpot-ms", type=float, default=100)
    for server in "ab":
        parser.add_argument(f"--model-{server}")
        parser.add_argument(f"--api-key-{server}")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if options.rate <= 0 or options.requests < 1 or options.rounds < 1:
        parser.error("--rate, --requests and --rounds must be positive")
    return options


def measure(options, server, seed):
    """A round on one server: the load generator's report, and each request's times."""
    with tempfile.TemporaryDirectory() as folder:
        report, samples = pathlib.Path(folder, "report.json"), pathlib.Path(folder, "samples.jsonl")
        command = [options.flambeau, "bench", "serve", "--url", getattr(options, f"url_{server}"), "--ignore-eos"]
        for name, value in [
            ("request-rate", options.rate),
            ("num-prompts", options.requests),
            ("input-len", options.input_len),
            ("output-len", options.output_len),
            ("shared-prefix", options.shared_prefix),
            ("seed", seed),
            ("warmup", 2),
            ("concurrency", 4096),
            ("json", report),
            ("samples", samples),
            ("model", getattr(options, f"model_{server}")),
            ("api-key", getattr(options, f"api_key_{server}")),
        ]:
            if value is not None:
                command += [f"--{name}", str(value)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not samples.exists():
            sys.exit(f"{' '.join(command[:5])}: {done.stderr.strip()}")
        lines = samples.read_text().splitlines()
        return json.loads(report.read_text()), [json.loads(line) for line in lines]


def percentile(values, percent):
    """By the nearest rank, of sorted values."""
    return values[max(0, -(-len(values) * percent // 100) - 1)] if values else float("nan")


def is_good(sample, options):
    """Within the objective; an answer of one token has no time per further one."""
    if sample["failure"] or sample["ttft_ms"] is None:
        return False
    return sample["ttft_ms"] <= options.slo_ttft_ms and (sample["tpot_ms"] or 0) <= options.slo_tpot_ms


def figures(samples, seconds, options):
    """Of some requests that came in so many seconds."""
    ok = [sample for sample in samples if not sample["failure"]]
    all_of = {
        "TTFT": [sample["ttft_ms"] for sample in ok if sample["ttft_ms"] is not None],
        "ITL": [gap for sample in ok for gap in sample["itl_ms"]],
        "E2E": [sample["e2e_ms"] for sample in ok],
    }
    found = {
        "goodput, requests/s": sum(is_good(sample, options) for sample in samples) / seconds,
        "output tokens/s": sum(sample["output_tokens"] for sample in ok) / seconds,
    }
    for name, values in all_of.items():
        values.sort()
        for percent in PERCENTILES:
            found[f"{name} P{percent}, ms"] = percentile(values, percent)
    return found


def interval(samples, seconds, options, rng):
    """95% of each figure, by drawing as many requests with replacement."""
    drawn = [figures(rng.choices(samples, k=len(samples)), seconds, options) for _ in range(RESAMPLES)]
    bounds = {}
    for name in drawn[0]:
        values = sorted(one[name] for one in drawn)
        bounds[name] = (values[RESAMPLES * 25 // 1000], values[RESAMPLES * 975 // 1000])
    return bounds


def main():
    options = parse()
    samples, seconds = {"a": [], "b": []}, {"a": 0.0, "b": 0.0}
    cores = []
    for round_idx in range(options.rounds):
        for server in ("ab", "ba")[round_idx % 2]:
            report, of_round = measure(options, server, round_idx + 1)
            samples[server] += of_round
            seconds[server] += report["duration_s"]
            cores.append(report["client_cpu_cores"])
            failed = sum(1 for sample in of_round if sample["failure"])
            print(f"round {round_idx + 1} of {options.rounds}: {server.upper()}: {len(of_round)} requests, {failed} failed", file=sys.stderr)
    rng = random.Random(1)
    found = {server: figures(samples[server], seconds[server], options) for server in "ab"}
    bounds = {server: interval(samples[server], seconds[server], options, rng) for server in "ab"}
    print(f"A {options.url_a}   B {options.url_b}")
    print(f"{options.rate} requests/s, {options.input_len} words in, {options.output_len} tokens out; objective: first token within")
    print(f"{options.slo_ttft_ms:g} ms and {options.slo_tpot_ms:g} ms a token\n")
    print(f"{'':22}{'A':>10} {'(95%)':^19}{'B':>10} {'(95%)':^19}{'A / B':>7}")
    for name, value in found["a"].items():
        cells = ""
        for server in "ab":
            low, high = bounds[server][name]
            cells += f"{found[server][name]:10.2f} {f'({low:.2f}-{high:.2f})':^19}"
        other = found["b"][name]
        print(f"{name:22}{cells}{value / other if other else float('nan'):7.2f}")
    for server in "ab":
        failed = sum(1 for sample in samples[server] if sample["failure"])
        print(f"{server.upper()}: {len(samples[server])} requests, {failed} failed")
    print(f"the load generator took up to {max(cores):.3f} cores")
    if options.json:
        settings = {name: str(value) for name, value in vars(options).items() if not name.startswith("api_key")}
        text = json.dumps({"settings": settings, "figures": found, "intervals": bounds, "samples": samples}, indent=1)
        options.json.write_text(text)
    sys.exit(any(sample["failure"] for server in "ab" for sample in samples[server]))


main()
