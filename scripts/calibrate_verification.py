#!/usr/bin/env python3
"""How likely a model finds the answer to one question as an answer to another: what the bounds of the semantic cache's verification are chosen by.

    scripts/calibrate_verification.py URL [--part train] [--max-tokens 64] [--system TEXT] [--json FILE]

For each pair of benches/semantic the model of the running server answers the one that was stored, and that answer is scored again as one to
the one that is asked. `mean` is by how much less likely its tokens are on average, `worst` by how much less the one that loses most, in nats.
Prints for bounds of both how many pairs pass: of those that one answer is right for, and of the others.
"""
import argparse, concurrent.futures, json, urllib.request
from pathlib import Path

MEANS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
WORSTS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--part", default="train", choices=("train", "held_out"))
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--system", default="Answer the question in one or two short sentences.")
    parser.add_argument("--json")
    return parser.parse_args()


def post(args, path, body):
    request = urllib.request.Request(args.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=600))


def prompt(args, question):
    messages = [{"role": "system", "content": args.system}, {"role": "user", "content": question}]
    return post(args, "/tokenize", {"messages": messages, "add_generation_prompt": True})["tokens"]


def scores(args, tokens, num_last):
    """The log-probabilities of the last tokens."""
    body = {"prompt": tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0, "return_token_ids": True}
    found = post(args, "/v1/completions", body)["choices"][0]["prompt_logprobs"]
    return [entry[str(token)]["logprob"] for entry, token in zip(found[-num_last:], tokens[-num_last:])] if num_last else []


def answer(args, question):
    tokens = prompt(args, question)
    body = {"prompt": tokens, "max_tokens": args.max_tokens, "temperature": 0, "return_token_ids": True}
    choice = post(args, "/v1/completions", body)["choices"][0]
    return choice["token_ids"], choice["finish_reason"], scores(args, tokens + choice["token_ids"], len(choice["token_ids"])), choice["text"]


def measured(args, pair, answers):
    tokens, finish, own, text = answers[pair["stored"]]
    new = scores(args, prompt(args, pair["asked"]) + tokens, len(tokens))
    drops = [a - b for a, b in zip(own, new)]
    return {**pair, "finish": finish, "answer": text, "own": own, "new": new,
            "mean": sum(drops) / len(drops), "worst": max(drops)}


def main():
    args = parse()
    file = Path(__file__).parent.parent / "benches" / "semantic" / f"{args.part}.jsonl"
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    stored = sorted({pair["stored"] for pair in pairs})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = dict(zip(stored, pool.map(lambda question: answer(args, question), stored)))
        found = list(pool.map(lambda pair: measured(args, pair, answers), pairs))
    if args.json:
        Path(args.json).write_text(json.dumps(found))
    sames = [pair for pair in found if pair["same"]]
    others = [pair for pair in found if not pair["same"]]
    print(f"{len(found)} pairs, {len(sames)} of which one answer is right for; in percent, of these and of the others, pass:\n")
    print("| mean \\ worst | " + " | ".join(f"{worst}" for worst in WORSTS) + " |\n|---|" + "---|" * len(WORSTS))
    for mean in MEANS:
        cells = []
        for worst in WORSTS:
            rates = [sum(pair["mean"] <= mean and pair["worst"] <= worst for pair in part) / len(part) for part in (sames, others)]
            cells.append(" and ".join(f"{100 * rate:.0f}" for rate in rates))
        print(f"| {mean} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
