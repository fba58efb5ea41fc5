#!/usr/bin/env python3
"""What tiers give under overload: a server of one model, and one with a cheaper model behind it, with the same arrivals in turns.

    scripts/measure_tiers.py PROGRAM --cheap MODEL [--quantize q8_0] [--slo-ms 2000] [--seconds 60] [--turns 2]

First the first model's capacity is found, closed loop. Then chats arrive at twice that (Poisson, the same in every turn) at a server
without tiers and at one with [primary, cheap, static]; both refuse what they expect too late. At the end the load falls to a third, and
what follows says how soon the primary is back and whether the tiers flap. Prints a table, and writes it as JSON with --json.
"""
import argparse, asyncio, json, os, random, subprocess, sys, tempfile, time
from collections import Counter
from pathlib import Path

WORDS = ("time year people way day man thing woman life child world school state family student group country problem hand part place case week "
         "company system program question work government number night point home water room mother area money story fact month lot right study book eye job "
         "word business issue side kind head house service friend father power hour game line end member law car city community name").split()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--primary", default="smollm2-135m-instruct")
    parser.add_argument("--cheap", required=True)
    parser.add_argument("--quantize", help="of the cheap model")
    parser.add_argument("--slo-ms", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--overload", type=float, default=2.0)
    parser.add_argument("--words", type=int, default=110, help="of a prompt")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--max-num-seqs", type=int, default=16)
    parser.add_argument("--json")
    return parser.parse_args()


def config(args, with_tiers):
    lines = ["[server]", "port = 0", "embedding_model = 'none'", "kv_cache_memory = '512MiB'", f"max_num_seqs = {args.max_num_seqs}",
             "[[models]]", "name = 'primary'", f"source = '{args.primary}'"]
    if not with_tiers:
        return "\n".join(lines + [f"default_deadline_ms = {args.slo_ms}"])
    lines += ["[[models]]", "name = 'cheap'", f"source = '{args.cheap}'"]
    if args.quantize:
        lines += [f"quantize = '{args.quantize}'"]
    lines += ["[tiers]", "chain = ['primary', 'cheap', 'static']", f"slo_ttft_ms = {args.slo_ms}",
              "[[tiers.static]]", "route = '*'", "text = 'We are busy; please try again in a minute.'",
              "[[tenants]]", "name = 'default'", "fallback = true", "static = true"]
    return "\n".join(lines)


class Server:
    """The program with a file of settings, on a free port."""

    def __init__(self, args, folder, name, with_tiers):
        file = Path(folder) / f"{name}.toml"
        file.write_text(config(args, with_tiers))
        env = {key: value for key, value in os.environ.items() if not key.startswith("FLAMBEAU_") or key == "FLAMBEAU_CACHE"}
        self.log = open(Path(folder) / f"{name}.log", "w+")
        self.process = subprocess.Popen([args.program, "serve", "--config", str(file)], stdout=subprocess.DEVNULL, stderr=self.log, env=env)
        self.address = None
        while self.address is None:
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(f"{name} did not start:\n{self.log.read()}")
            time.sleep(0.1)
            for line in (Path(folder) / f"{name}.log").read_text().splitlines():
                if line.find("serving ") >= 0 and "http://" in line:
                    host, port = line.split("http://")[1].split(";")[0].rsplit(":", 1)
                    self.address = (host, int(port))

    def stop(self):
        self.process.terminate()
        self.process.wait()


def body(args, rng, **more):
    prompt = " ".join(rng.choice(WORDS) for _ in range(args.words))
    return json.dumps({"stream": True, "max_tokens": args.max_tokens, "ignore_eos": True,
                       "messages": [{"role": "user", "content": f"Write about these: {prompt}"}], **more}).encode()


async def ask(address, payload):
    """One request: its tier or its status, the seconds to its first content and to its end."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
                     b"content-length: %d\r\n\r\n%s" % (len(payload), payload))
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        first, tail = None, b""
        while chunk := await reader.read(65536):
            tail = (tail + chunk)[-4096:]
            if first is None and status == 200 and b'"content":"' in chunk.replace(b'"content":""', b""):
                first = time.monotonic() - began
        writer.close()
        tier = "refused" if status != 200 else next(
            (line.split(b":")[1].strip().decode() for line in head.lower().split(b"\r\n") if line.startswith(b"x-flambeau-tier:")), "?")
        if status == 200 and b"[DONE]" not in tail or b'"error"' in tail:
            tier = "failed" if status == 200 else tier
        return {"at": began, "tier": tier, "status": status, "ttft": first, "e2e": time.monotonic() - began}
    except OSError as error:
        return {"at": began, "tier": f"lost: {error}", "status": 0, "ttft": None, "e2e": time.monotonic() - began}


async def capacity(args, address, seconds, rng):
    """Answers a second, with as many clients as sequences run at once."""
    end, done = time.monotonic() + seconds, 0
    start = time.monotonic() + seconds / 4

    async def client():
        nonlocal done
        while time.monotonic() < end:
            answer = await ask(address, body(args, rng, deadline_ms=600_000))
            done += answer["status"] == 200 and start <= time.monotonic() <= end

    await asyncio.gather(*(client() for _ in range(args.max_num_seqs)))
    return done / (end - start)


async def load(args, address, rate, seconds, seed):
    """Poisson arrivals at `rate`, the same for the same seed."""
    rng, tasks, at = random.Random(seed), [], 0.0
    began = time.monotonic()
    while (at := at + rng.expovariate(rate)) < seconds:
        payload = body(args, rng)
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        tasks.append(asyncio.create_task(ask(address, payload)))
    return await asyncio.gather(*tasks)


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else None


def summary(args, results, seconds):
    slo = args.slo_ms / 1000
    in_time = [r for r in results if r["ttft"] is not None and r["ttft"] <= slo]
    by_models = [r for r in in_time if r["tier"] in ("primary", "fallback")]
    ttfts = [r["ttft"] for r in results if r["ttft"] is not None]
    return {"requests": len(results), "tiers": dict(Counter(r["tier"] for r in results)), "share_in_slo": len(in_time) / len(results),
            "model_answers_in_slo": len(by_models), "a_second": len(by_models) / seconds,
            "ttft_p50": percentile(ttfts, 0.5), "ttft_p99": percentile(ttfts, 0.99)}


async def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        alone, tiers = (Server(args, folder, name, name == "tiers") for name in ("alone", "tiers"))
        try:
            rate = await capacity(args, alone.address, 20, random.Random(1))
            print(f"capacity of the primary: {rate:.2f} answers/s; arrivals at {args.overload * rate:.2f}/s", flush=True)
            await capacity(args, tiers.address, 5, random.Random(2))
            runs = []
            for turn in range(args.turns):
                for name, server in (("alone", alone), ("tiers", tiers)):
                    results = await load(args, server.address, args.overload * rate, args.seconds, 100 + turn)
                    runs.append({"server": name, **summary(args, results, args.seconds)})
                    print(json.dumps(runs[-1]), flush=True)
            # From overload to little.
            over = asyncio.create_task(load(args, tiers.address, args.overload * rate, 15, 7))
            await asyncio.sleep(15)
            fell = time.monotonic()
            after = await load(args, tiers.address, rate / 3, 30, 8)
            await over
            seconds = [r["at"] - fell for r in after if r["tier"] != "primary"]
            order = [r["tier"] for r in sorted(after, key=lambda r: r["at"])]
            flips = sum(a != b for a, b in zip(order, order[1:]))
            fall = {"last_other_than_primary_s": max(seconds, default=0.0), "switches_after": flips, "requests_after": len(after)}
            print(json.dumps({"when the load falls": fall}))
            totals = {name: [sum(run[key] * run["requests"] if key == "share_in_slo" else run[key] for run in runs if run["server"] == name)
                             for key in ("requests", "share_in_slo", "model_answers_in_slo")] for name in ("alone", "tiers")}
            for name, (requests, in_slo, models) in totals.items():
                print(f"{name}: {in_slo / requests:.2%} of {requests} in {args.slo_ms} ms, {models} by models")
            print(f"models answer {totals['tiers'][2] / max(totals['alone'][2], 1):.2f} times as many")
            if args.json:
                Path(args.json).write_text(json.dumps({"capacity": rate, "runs": runs, "fall": fall}, indent=1))
        finally:
            alone.stop()
            tiers.stop()


asyncio.run(main())
