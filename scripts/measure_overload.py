#!/usr/bin/env python3
"""Offers a running flambeau more than it can do, and counts the answers that came in time.

    flambeau serve --max-num-seqs 16 --max-queued-requests 4096 &
    scripts/measure_overload.py --capacity 2.5        requests a second that it can do, roughly

One fixed trace of lengths as in chats (log-normal; most are short, some long), sampled answers, Poisson arrivals. First without deadlines, at several loads around capacity: first come, first served. Then, in turn and --runs
times, the load of the best of those runs again, and five times of it with deadline_ms: some of the clients who are refused
come back when Retry-After says. Every run starts with an empty prefix cache. An answer is in time when its first token came within --ttft seconds and all of it within
--tpot seconds a token more. What ends after the last arrival is not counted.
"""

import argparse
import asyncio
import json
import math
import pathlib
import random
import statistics
import time
import urllib.request

# Ordinary words and parts of words: above the special tokens and the single bytes.
TOKEN_IDS = range(300, 8000)
OBEYS = 0.25  # Of the clients.


class Request:
    def __init__(self, rng, temperature):
        self.temperature = temperature
        length = lambda median, sigma, most: max(4, min(most, round(rng.lognormvariate(math.log(median), sigma))))
        self.num_prompt, self.num_output = length(90, 1.0, 900), length(80, 0.8, 400)
        self.seed, self.obeys = rng.random(), rng.random() < OBEYS
        self.statuses, self.retry_after = [], []
        self.ttft = self.e2e = self.end = None

    def body(self, deadline):
        rng = random.Random(self.seed)
        prompt = [rng.choice(TOKEN_IDS) for _ in range(self.num_prompt)]
        body = {"prompt": prompt, "max_tokens": self.num_output, "ignore_eos": True, "stream": True, "temperature": self.temperature, "seed": int(self.seed * 2**31)}
        return json.dumps(body | ({"deadline_ms": round(deadline * 1e3)} if deadline else {})).encode()

    async def ask(self, port, deadline):
        """One attempt."""
        body, started = self.body(deadline), time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        self.statuses.append(int((await reader.readline()).split()[1]))
        retry_after = None
        while (line := await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "retry-after":
                retry_after = int(value)
        if self.statuses[-1] == 429:
            self.retry_after.append(retry_after)
        first = last = None
        while line := await reader.readline():
            if line.startswith(b"data: {") and self.statuses[-1] == 200:
                last = time.monotonic()
                first = first or last
        writer.close()
        if first and b"error" not in line:
            self.ttft, self.e2e, self.end = first - started, last - started, last

    async def serve(self, at, port, deadline):
        await asyncio.sleep(at - time.monotonic())
        await self.ask(port, deadline)
        if self.obeys and self.statuses == [429] and self.retry_after[0] is not None:
            await asyncio.sleep(self.retry_after[0])
            await self.ask(port, deadline)

    def is_in_time(self, limits):
        in_time = self.ttft is not None and self.ttft <= limits.ttft and self.end <= self.counts_until
        return in_time and self.e2e <= limits.ttft + limits.tpot * self.num_output


def run(limits, rate, deadline):
    """All requests of a run."""
    reset = urllib.request.Request(f"http://127.0.0.1:{limits.port}/admin/cache/reset", method="POST")
    urllib.request.urlopen(reset).read()
    rng = random.Random(limits.seed)
    at, start, tasks, requests = 0.0, time.monotonic() + 0.5, [], []
    async def all_of_them():
        nonlocal at
        while (at := at + rng.expovariate(rate)) < limits.seconds:
            requests.append(Request(rng, limits.temperature))
            requests[-1].counts_until = start + limits.seconds
            tasks.append(asyncio.create_task(requests[-1].serve(start + at, limits.port, deadline)))
        await asyncio.gather(*tasks)
    asyncio.run(all_of_them())
    return requests


def mean(values):
    values = list(values)
    return sum(values) / max(len(values), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=float, required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ttft", type=float, default=2.0)
    parser.add_argument("--tpot", type=float, default=0.1)
    parser.add_argument("--temperature", type=float, default=1.0, help="low ones end in loops, which speculation makes fast")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", help="the server's stdout: compares expected with real times to the first token")
    limits = parser.parse_args()
    # Teaches the server what its steps take.
    run(argparse.Namespace(**(vars(limits) | {"seconds": 5, "seed": 99})), limits.capacity, None)
    rates = [load * limits.capacity for load in (0.6, 0.8, 1.0, 1.2)]
    peak = max(rates, key=lambda rate: goodput(limits, rate, None))
    ratios = []
    for _ in range(limits.runs):
        without, with_deadlines = goodput(limits, peak, None), goodput(limits, 5 * peak, limits.ttft)
        ratios.append(with_deadlines / without)
        print(f"with deadlines at five times the load: {ratios[-1]:.2f} of the peak", flush=True)
    goodput(limits, 5 * peak, None)
    print(f"median: {statistics.median(ratios):.2f} of the peak")


def goodput(limits, rate, deadline):
    """Answers in time a second."""
    log_start = pathlib.Path(limits.log).stat().st_size if limits.log else 0
    requests = run(limits, rate, deadline)
    found = sum(r.is_in_time(limits) for r in requests) / limits.seconds
    kind = f"deadlines of {deadline} s" if deadline else "first come, first served"
    print(f"{kind}, {rate:.2f} a second: {found:.2f} in time, mean TTFT {mean(r.ttft for r in requests if r.ttft):.2f} s", flush=True)
    if deadline:
        report(requests, limits, log_start)
    return found


def report(requests, limits, log_start):
    """What became of requests that have deadlines; the log tells of them from `log_start` on."""
    if limits.log:
        log = pathlib.Path(limits.log).read_bytes()[log_start:].decode()
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        told = [line for line in lines if line["expected_ttft_ms"] and line["ttft_ms"]]
        errors = sorted(abs(line["expected_ttft_ms"] / line["ttft_ms"] - 1) for line in told)
        at = lambda percent: errors[len(errors) * percent // 100]
        print(f"expected against real TTFT: error P50 {at(50):.2f}, P90 {at(90):.2f} of {len(errors)}")
    served = [r for r in requests if r.ttft is not None]
    late = sum(r.ttft > limits.ttft for r in served)
    refusals = [after for r in requests for after in r.retry_after]
    back = [r for r in requests if len(r.statuses) == 2]
    print(f"offered {len(requests)}, served {len(served)}, late {late}, 504 {sum(504 in r.statuses for r in requests)}")
    for name in ("num_prompt", "num_output"):
        once = [r for r in served if len(r.statuses) == 1]
        ratio = mean(getattr(r, name) for r in once) / mean(getattr(r, name) for r in requests)
        print(f"{name}: admitted at once over offered {ratio:.3f}")
    print(f"{len(refusals)} refusals, {sum(after is not None for after in refusals)} with Retry-After, of {mean(filter(None, refusals)):.1f} s on average")
    taken = sum(r.statuses[1] == 200 for r in back)
    print(f"{taken} of {len(back)} who came back when told were taken ({100 * taken / max(len(back), 1):.1f}%)", flush=True)


if __name__ == "__main__":
    main()
