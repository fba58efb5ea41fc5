#!/usr/bin/env python3
"""How often answers that are given again are right, and how fast: the pairs of benches/semantic, asked of a server with mode = "serve".

    scripts/measure_served_answers.py PROGRAM [--part held_out] [--max-tokens 160] [--naive FILE] [--json FILE] [--plot FILE.svg]

The model answers the question of each pair that was stored, in a context of its own (metadata.prompt_version); then the one that is asked is
asked there. Prints what the gates let pass, what the model's verification lets pass of that, and what is really given again, each with the 95%
interval (Wilson; the upper bound of no wrong one Clopper and Pearson's), and then the times of hits beside that of generating 64 tokens.
--naive is a file that scripts/measure_semantic_pairs.py --json wrote, for the plot.
"""
import argparse, collections, concurrent.futures, json, os, statistics, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

from measure_semantic_pairs import percent, wilson

SYSTEM = "Answer the question in one or two short sentences."


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--part", default="held_out", choices=("train", "held_out"))
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--limit", type=int, help="only so many pairs, evenly chosen")
    parser.add_argument("--naive")
    parser.add_argument("--json")
    parser.add_argument("--plot")
    return parser.parse_args()


def served(program, folder):
    config = folder / "flambeau.toml"
    config.write_text('[cache.semantic]\nmode = "serve"\nshadow_rate = 0.0001\nmemory = "1GiB"\ntime_words = true\n')
    log = folder / "log"
    env = {key: value for key, value in os.environ.items() if not key.startswith("FLAMBEAU_") or key == "FLAMBEAU_CACHE"}
    server = subprocess.Popen([program, "serve", "--config", str(config), "--port", "0"], stdout=subprocess.DEVNULL, stderr=open(log, "w"), env=env)
    while True:
        if server.poll() is not None:
            sys.exit(f"it did not start:\n{log.read_text()}")
        time.sleep(0.1)
        for line in log.read_text().splitlines():
            if "serving " in line and "http://" in line:
                return server, "http://" + line.split("http://")[1].split(";")[0]


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=600))


def body(args, question, context):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    return {"messages": messages, "temperature": 0, "max_tokens": args.max_tokens, "metadata": {"prompt_version": context}}


def timed(url, body):
    start = time.perf_counter()
    reply = post(url, "/v1/chat/completions", body)
    return (time.perf_counter() - start) * 1e3, reply


def main():
    args = parse()
    file = Path(__file__).parent.parent / "benches" / "semantic" / f"{args.part}.jsonl"
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    if args.limit:
        pairs = [pairs[i * len(pairs) // args.limit] for i in range(args.limit)]
    stored = {question: f"s{i}" for i, question in enumerate(dict.fromkeys(pair["stored"] for pair in pairs))}
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(8) as pool:
        server, url = served(args.program, Path(folder))
        try:
            measure(args, url, pool, pairs, stored)
        finally:
            server.terminate()
            server.wait()


def measure(args, url, pool, pairs, stored):
    answers = dict(zip(stored, pool.map(lambda question: post(url, "/v1/chat/completions", body(args, question, stored[question])), stored)))
    is_kept = {question: reply["choices"][0]["finish_reason"] == "stop" for question, reply in answers.items()}
    asked = lambda pair: body(args, pair["asked"], stored[pair["stored"]])
    told = list(pool.map(lambda pair: post(url, "/admin/cache/explain", {"request": asked(pair)}), pairs))
    kept = [(pair, why) for pair, why in zip(pairs, told) if is_kept[pair["stored"]]]
    same = sum(pair["same"] for pair, _ in kept)
    print(f"{len(pairs)} pairs; {len(kept)} whose stored answer ended by itself within {args.max_tokens} tokens, {same} of which one answer is right for\n")
    passed = {
        "gates": [pair["same"] for pair, why in kept if any("likeness" in candidate for candidate in why["candidates"])],
        "gates and verification": [pair["same"] for pair, why in kept if why["verdict"] == "semantic"],
    }
    print("| | given again | recall | wrong | at most (95%) |\n|---|---|---|---|---|")
    for name, given in passed.items():
        wrong = len(given) - sum(given)
        most = f"{100 * (1 - 0.05 ** (1 / max(len(given), 1))):.2f}%" if wrong == 0 else f"{100 * wilson(wrong, len(given))[1]:.2f}%"
        print(f"| {name} | {len(given)} | {percent(sum(given), same)} | {wrong} | {most} |")
    print("\n| kind | gates | and verification | of |\n|---|---|---|---|")
    for is_same in (True, False):
        for kind in sorted({pair["kind"] for pair, _ in kept if pair["same"] == is_same}):
            own = [why for pair, why in kept if pair["kind"] == kind and pair["same"] == is_same]
            gates = sum(any("likeness" in candidate for candidate in why["candidates"]) for why in own)
            print(f"| {kind}{'' if is_same else ' (another answer)'} | {gates} | {sum(why['verdict'] == 'semantic' for why in own)} | {len(own)} |")
    print("\nreasons:", dict(collections.Counter(why.get("reason", why["verdict"]) for _, why in kept)))
    losses = [why["verification"] for pair, why in kept if pair["same"] and "verification" in why]
    bounds = [(mean, worst) for mean in (0.1, 0.25, 0.5) for worst in (1.0, 2.0, 3.0, 4.0, 6.0)]
    share = lambda mean, worst: sum(loss["mean_loss"] <= mean and loss["worst_loss"] <= worst for loss in losses) / max(1, len(losses))
    print(f"of {len(losses)} that were verified, within mean and worst: " + ", ".join(f"{mean} {worst}: {100 * share(mean, worst):.0f}%" for mean, worst in bounds))
    times(args, url, kept, asked)
    naive = json.loads(Path(args.naive).read_text()) if args.naive else []
    result = {"same": same, "passed": {name: [len(given), sum(given)] for name, given in passed.items()}, "naive": naive}
    if args.json:
        Path(args.json).write_text(json.dumps(result))
    if args.plot:
        Path(args.plot).write_text(plot(result, sum(pair["same"] for pair in pairs)))


def times(args, url, kept, asked):
    """One stream; what is given again, and what it takes to generate 64 tokens."""
    hits = [(pair, why) for pair, why in kept if why["verdict"] == "semantic"]
    took = collections.defaultdict(list)
    for pair, why in hits[:: max(1, len(hits) // 300)]:
        elapsed, reply = timed(url, asked(pair))
        if reply["flambeau"]["cache"] != "semantic":
            sys.exit(f"{pair['id']} was to be given again, and is {reply['flambeau']}")
        took[why["likeness"]].append((elapsed, why["num_tokens"]))
    fresh = []
    for i in range(20):
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Write about the number {i} and what it means."}]
        fresh.append(timed(url, {"messages": messages, "temperature": 0, "max_tokens": 64, "ignore_eos": True})[0])
    fresh = statistics.median(fresh)
    print(f"\ngenerating 64 tokens: {fresh:.0f} ms (median of 20)\n\n| hits | median | 90% | of generating 64 tokens |\n|---|---|---|---|")
    rows = [("of another form", took["same"]), ("in other words", took["alike"]),
            ("in other words, answers of 48 to 80 tokens", [hit for hit in took["alike"] if 48 <= hit[1] <= 80])]
    for name, row in rows:
        ms = sorted(elapsed for elapsed, _ in row)
        if ms:
            print(f"| {name} ({len(ms)}) | {statistics.median(ms):.1f} ms | {ms[len(ms) * 9 // 10]:.1f} ms | {statistics.median(ms) / fresh:.2f} |")


def plot(result, num_same):
    """Recall against the rate of wrong ones, as SVG."""
    width, height, left, bottom, top = 560, 340, 60, 290, 20
    x = lambda rate: left + rate / 0.5 * (width - left - 20)
    y = lambda recall: bottom - recall * (bottom - top)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for step in range(0, 6):
        out.append(f'<text x="{x(step / 10)}" y="{bottom + 18}" text-anchor="middle">{step * 10}%</text>')
        out.append(f'<text x="{left - 8}" y="{y(step / 5) + 4}" text-anchor="end">{step * 20}%</text>')
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(step / 5)}" y2="{y(step / 5)}" stroke="#ddd"/>')
    out.append(f'<text x="{(left + width - 20) / 2}" y="{height - 8}" text-anchor="middle">wrong, of all that are given again</text>')
    out.append(f'<text x="14" y="{(top + bottom) / 2}" text-anchor="middle" transform="rotate(-90 14 {(top + bottom) / 2})">found, of the questions that one answer is right for</text>')

    def point(num, right, whole, color, name, dx=8):
        wrong, recall = (num - right) / num, right / whole
        low, high = wilson(num - right, num)
        down, up = wilson(right, whole)
        out.append(f'<line x1="{x(low)}" x2="{x(high)}" y1="{y(recall)}" y2="{y(recall)}" stroke="{color}"/>')
        out.append(f'<line x1="{x(wrong)}" x2="{x(wrong)}" y1="{y(down)}" y2="{y(up)}" stroke="{color}"/>')
        out.append(f'<circle cx="{x(wrong)}" cy="{y(recall)}" r="3.5" fill="{color}"/><text x="{x(wrong) + dx}" y="{y(recall) + 16}" fill="{color}">{name}</text>')

    for row in result["naive"]:
        point(row["served"], row["right"], num_same, "#c33", f"cosine {row['threshold']:.2f}")
    for color, name, (num, right) in zip(("#36c", "#083"), ("gates", "verified"), result["passed"].values()):
        point(num, right, result["same"], color, name)
    return "\n".join(out + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main()
