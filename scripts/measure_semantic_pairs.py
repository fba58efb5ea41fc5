#!/usr/bin/env python3
"""What the usual recipe of semantic caches serves, on the pairs of benches/semantic: the stored answer where the cosine of two questions reaches a
threshold.

    scripts/measure_semantic_pairs.py PROGRAM [--part held_out] [--json FILE]

Prints for each threshold the recall (served of the pairs that one answer is right for), the false-hit rate (wrong of all served), each with
its 95% interval (Wilson), and for the usual one what it serves by kind.
"""
import argparse, json, math, os, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

THRESHOLDS = (0.80, 0.85, 0.90, 0.93, 0.95, 0.97, 0.98, 0.99)
USUAL = 0.95


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--part", default="held_out", choices=("train", "held_out"))
    parser.add_argument("--json")
    return parser.parse_args()


def wilson(part, whole):
    """Of a rate, the 95% interval."""
    if whole == 0:
        return 0.0, 1.0
    z, p = 1.96, part / whole
    middle = p + z * z / (2 * whole)
    half = z * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    return max(0.0, (middle - half) / (1 + z * z / whole)), min(1.0, (middle + half) / (1 + z * z / whole))


def percent(part, whole):
    low, high = wilson(part, whole)
    return f"{100 * part / max(whole, 1):.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def embed(url, texts):
    vectors = []
    for start in range(0, len(texts), 256):
        body = json.dumps({"input": texts[start:start + 256]}).encode()
        request = urllib.request.Request(url + "/v1/embeddings", body, {"content-type": "application/json"})
        vectors += [item["embedding"] for item in json.load(urllib.request.urlopen(request))["data"]]
    return vectors


def cosines(program, pairs):
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("FLAMBEAU_") or key == "FLAMBEAU_CACHE"}
        command = [program, "serve", "--port", "0", "--embedding-model", "all-minilm-l6-v2"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(log, "w"), env=env)
        try:
            url = None
            while url is None:
                if server.poll() is not None:
                    sys.exit(f"it did not start:\n{log.read_text()}")
                time.sleep(0.1)
                for line in log.read_text().splitlines():
                    if "serving " in line and "http://" in line:
                        url = "http://" + line.split("http://")[1].split(";")[0]
            stored, asked = (embed(url, [pair[side] for pair in pairs]) for side in ("stored", "asked"))
            return [sum(a * b for a, b in zip(x, y)) for x, y in zip(stored, asked)]
        finally:
            server.terminate()
            server.wait()


def main():
    args = parse()
    file = Path(__file__).parent.parent / "benches" / "semantic" / f"{args.part}.jsonl"
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    found = cosines(args.program, pairs)
    num_same = sum(pair["same"] for pair in pairs)
    print(f"{len(pairs)} pairs, {num_same} of which one answer is right for\n")
    print("| cosine | recall | false-hit rate |\n|---|---|---|")
    rows = []
    for threshold in THRESHOLDS:
        served = [pair["same"] for pair, cosine in zip(pairs, found) if cosine >= threshold]
        right = sum(served)
        rows.append({"threshold": threshold, "served": len(served), "right": right})
        print(f"| {threshold:.2f} | {percent(right, num_same)} | {percent(len(served) - right, len(served))} |")
    print(f"\n| kind | served at {USUAL} | of |\n|---|---|---|")
    for same in (True, False):
        for kind in sorted({pair["kind"] for pair in pairs if pair["same"] == same}):
            own = [cosine >= USUAL for pair, cosine in zip(pairs, found) if pair["kind"] == kind and pair["same"] == same]
            print(f"| {kind}{'' if same else ' (another answer)'} | {sum(own)} | {len(own)} |")
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
