#!/usr/bin/env python3
"""Measures a running flambeau under pressure, with the default model's vocabulary and nothing but the standard library.

    scripts/measure_pressure.py prefix       time to the first token of prompts whose first 1,000 tokens are new, then cached
    scripts/measure_pressure.py long-prompt  a prompt of 4,000 tokens alone, then beside eight streams
    scripts/measure_pressure.py speculation  one stream's tokens a second against a second server's, on --against PORT, that was
                                             started with --speculation false
    scripts/measure_pressure.py fairness     a tenant's times to the first token alone, then beside 32 clients of another who ask without
                                             a pause; the server was started with --api-key quiet=SECRET1 --api-key flood=SECRET2,
                                             which --keys SECRET1 SECRET2 repeats
    scripts/measure_pressure.py --port 8080 --seed 1 …

Prompts are random token ids, new for every seed, so that nothing of an earlier run is cached. For `long-prompt`, start the
server with --target-itl-ms.
"""

import argparse
import http.client
import json
import random
import statistics
import threading
import time

# Ordinary words and parts of words: above the special tokens and the single bytes.
TOKEN_IDS = range(300, 8000)


class Client:
    def __init__(self, port, seed, key=None):
        self.port, self.random = port, random.Random(seed)
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def prompt(self, length):
        return [self.random.choice(TOKEN_IDS) for _ in range(length)]

    def ask(self, **fields):
        """The response to a greedy completion, yet to be read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        body = json.dumps({"temperature": 0} | fields)
        connection.request("POST", "/v1/completions", body, self.headers)
        response = connection.getresponse()
        if response.status != 200:
            raise SystemExit(response.read().decode())
        return response

    def first_token(self, prompt):
        """Seconds to an answer of one token, and how many tokens were cached."""
        started = time.monotonic()
        answer = json.loads(self.ask(prompt=prompt, max_tokens=1).read())
        seconds = time.monotonic() - started
        return seconds, answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def prefix(client, runs):
    cold, warm = [], []
    for _ in range(runs):
        shared = client.prompt(1000)
        for times in (cold, warm):
            seconds, cached = client.first_token(shared + client.prompt(20))
            times.append(seconds)
            print(f"{seconds * 1e3:8.1f} ms, {cached} tokens cached", flush=True)
    cold, warm = statistics.median(cold), statistics.median(warm)
    print(f"median: cold {cold * 1e3:.1f} ms, warm {warm * 1e3:.1f} ms, ratio {warm / cold:.3f}")


def percentile(values, percent):
    return values[min(len(values) * percent // 100, len(values) - 1)] * 1e3


def long_prompt(client, runs):
    """Each window has its own streams, and is compared with the same streams right before and after it."""
    for _ in range(runs):
        alone = client.first_token(client.prompt(4000))[0]
        arrivals = [[] for _ in range(8)]

        def stream(arrivals, fields):
            response = client.ask(max_tokens=4000, ignore_eos=True, stream=True, temperature=1.0, **fields)
            while not has_ended and (line := response.readline()):
                if line.startswith(b"data: {"):
                    arrivals.append(time.monotonic())
            response.close()

        has_ended = False
        threads = []
        for own in arrivals:
            fields = {"prompt": client.prompt(100), "seed": client.random.randrange(1 << 30)}
            threads.append(threading.Thread(target=stream, args=(own, fields)))
            threads[-1].start()
        while min(map(len, arrivals)) < 50:
            time.sleep(0.1)

        def gaps(start, end):
            """What passed between tokens of a stream inside the window, ascending."""
            pairs = (pair for own in arrivals for pair in zip(own, own[1:]))
            return sorted(b - a for a, b in pairs if start <= a and b <= end)

        before = time.monotonic()
        time.sleep(5)
        start = time.monotonic()
        seconds = client.first_token(client.prompt(4000))[0]
        end = time.monotonic()
        time.sleep(5)
        idle = sorted(gaps(before, start) + gaps(end, time.monotonic()))
        has_ended = True
        for thread in threads:
            thread.join()
        found, base = gaps(start, end), percentile(idle, 99)
        p99, worst = percentile(found, 99), found[-1] * 1e3
        print(
            f"idle ITL P50 {percentile(idle, 50):.1f} ms, P99 {base:.1f} ms; beside the prompt P50 {percentile(found, 50):.1f} ms, "
            f"P99 {p99:.1f} ms ({p99 / base:.2f} x idle P99), worst {worst:.1f} ms ({worst / base:.2f} x); "
            f"its first token {seconds:.2f} s ({seconds / alone:.2f} x alone)",
            flush=True,
        )


def fairness(port, seed, keys):
    quiet, flood = (Client(port, seed + i, key) for i, key in enumerate(keys))

    def waits(num):
        """Times to the first token of chats that come once a second on average, ascending."""
        found, threads = [], []

        def chat(prompt):
            started = time.monotonic()
            response = quiet.ask(prompt=prompt, max_tokens=32, ignore_eos=True, stream=True)
            response.readline()
            found.append(time.monotonic() - started)
            response.read()

        for _ in range(num):
            prompt = quiet.prompt(quiet.random.randrange(20, 300))
            threads.append(threading.Thread(target=chat, args=(prompt,)))
            threads[-1].start()
            time.sleep(quiet.random.expovariate(1.0))
        for thread in threads:
            thread.join()
        return sorted(found)

    def keep_asking():
        while not has_ended:
            flood.ask(prompt=flood.prompt(150), max_tokens=64, ignore_eos=True).read()

    for client in (quiet, flood):
        # A key that is refused is known here and not in a thread.
        client.first_token(client.prompt(20))
    has_ended, results = False, {"alone": waits(100)}
    threads = [threading.Thread(target=keep_asking) for _ in range(32)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    results["beside a flood"] = waits(100)
    has_ended = True
    for thread in threads:
        thread.join()
    for name, found in results.items():
        print(f"{name}: TTFT P50 {percentile(found, 50):.0f} ms, P95 {percentile(found, 95):.0f} ms, P99 {percentile(found, 99):.0f} ms", flush=True)


def speculation(client, runs, against):
    plain = Client(against, 0)

    def rate(client, fields):
        """Tokens a second after the first."""
        response, arrivals = client.ask(max_tokens=128, ignore_eos=True, stream=True, **fields), []
        while line := response.readline():
            if line.startswith(b"data: {"):
                arrivals.append(time.monotonic())
        return 127 / (arrivals[-1] - arrivals[0])

    def repeating():
        """Greedy, after something that is said twice and begun again."""
        said = client.prompt(150)
        return {"prompt": said * 2 + said[:10]}

    def plain_text():
        return {"prompt": client.prompt(100)}

    def noise():
        """Nothing that was said before comes again."""
        return {"prompt": client.prompt(100), "temperature": 1.5, "seed": client.random.randrange(1 << 30)}

    for kind in (repeating, plain_text, noise):
        ratios = []
        for run in range(runs):
            fields = kind()
            servers = [client, plain] if run % 2 else [plain, client]
            rates = {id(server): rate(server, fields) for server in servers}
            ratios.append(rates[id(client)] / rates[id(plain)])
        listed = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
        print(f"{kind.__name__}: median {statistics.median(ratios):.3f} of {listed}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prefix", "long-prompt", "speculation", "fairness"])
    parser.add_argument("--against", type=int, help="port of a server without speculation")
    parser.add_argument("--keys", nargs=2, help="of the quiet tenant and of the flooding one")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    client = Client(arguments.port, arguments.seed)
    if arguments.what == "fairness":
        if arguments.keys is None:
            parser.error("fairness needs --keys QUIET FLOOD")
        fairness(arguments.port, arguments.seed, arguments.keys)
    elif arguments.what == "speculation":
        if arguments.against is None:
            parser.error("speculation needs --against PORT")
        speculation(client, arguments.runs, arguments.against)
    else:
        {"prefix": prefix, "long-prompt": long_prompt}[arguments.what](client, arguments.runs)


if __name__ == "__main__":
    main()
