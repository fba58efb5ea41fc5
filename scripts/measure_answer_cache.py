#!/usr/bin/env python3
"""What recalled answers give: the same traffic, in turns, against a server without caches of answers, one with exact answers, and one that
also recalls answers to questions like the one that was asked.

    scripts/measure_answer_cache.py PROGRAM [--model M] [--requests 150] [--streams 1,16] [--turns 2] [--json FILE]

FAQ-like traffic: 40% new questions, 30% asked before to the letter, 30% asked before in other words; drafts are looked up in all servers.
Then traffic without repeats, under one system prompt, for what the search costs. Every answer is compared with the first server's.
"""
import argparse, asyncio, json, os, random, statistics, subprocess, sys, tempfile, time
from pathlib import Path

SYSTEM = "You are the assistant of an online shop. Answer the customer's question in two or three short sentences."
# Each intent in several wordings, by hand; {} is one of the things.
INTENTS = [
    (["How do I return {}?", "how do i return {}", "How can I return {}?", "Please tell me how to return {}.", "I want to return {}. What do I have to do?"], "a"),
    (["How long does the delivery of {} take?", "how long does the delivery of {} take?", "How many days does it take to deliver {}?", "When will {} be delivered if I order today?"], "a"),
    (["Which sizes of {} do you have?", "which sizes of {} do you have", "What sizes of {} are there?", "In which sizes can I get {}?"], "b"),
    (["Is there a warranty on {}?", "Do I get a warranty on {}?", "is there a warranty on {}", "What is the warranty on {}?"], "b"),
    (["How do I clean {}?", "How can I clean {}?", "how do i clean {}?", "What is the best way to clean {}?", "Could you tell me how to clean {}?"], "a"),
    (["Can I pay for {} in instalments?", "Is it possible to pay for {} in instalments?", "can i pay for {} in instalments", "May I pay for {} in parts?"], "a"),
    (["What are {} made of?", "what are {} made of?", "Which material are {} made of?", "Please tell me what {} are made of."], "b"),
    (["Where can I find the manual of {}?", "Where is the manual of {}?", "where can i find the manual of {}", "How do I get the manual of {}?"], "a"),
]
THINGS = {
    "a": ["a coffee machine", "a winter coat", "a bicycle helmet", "a garden chair", "a phone", "a backpack", "a desk lamp", "a water bottle", "a tent"],
    "b": ["running shoes", "rain jackets", "woollen socks", "leather belts", "cotton shirts", "hiking boots", "ski gloves", "sun hats", "yoga mats"],
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--requests", type=int, default=150)
    parser.add_argument("--traffic", default="faq,unique")
    parser.add_argument("--streams", default="1,16")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    return parser.parse_args()


SERVERS = {"none": "", "exact": "[cache.exact]\n", "draft": "[cache.exact]\n[cache.semantic]\nmode = 'draft'\n"}


class Server:
    """The program with a file of settings, on a free port."""

    def __init__(self, args, folder, name):
        file = Path(folder) / f"{name}.toml"
        # All have the embedding model, so that they have the same memory and threads.
        file.write_text(f"[server]\nport = 0\nembedding_model = 'all-minilm-l6-v2'\nkv_cache_memory = '512MiB'\nmax_num_seqs = 16\n"
                        f"[[models]]\nname = 'm'\nsource = '{args.model}'\n{SERVERS[name]}")
        env = {key: value for key, value in os.environ.items() if not key.startswith("FLAMBEAU_") or key == "FLAMBEAU_CACHE"}
        log = Path(folder) / f"{name}.log"
        self.process = subprocess.Popen([args.program, "serve", "--config", str(file)], stdout=subprocess.DEVNULL, stderr=open(log, "w"), env=env)
        self.address = None
        while self.address is None:
            if self.process.poll() is not None:
                sys.exit(f"{name} did not start:\n{log.read_text()}")
            time.sleep(0.1)
            for line in log.read_text().splitlines():
                if "serving " in line and "http://" in line:
                    host, port = line.split("http://")[1].split(";")[0].rsplit(":", 1)
                    self.address = (host, int(port))

    def stop(self):
        self.process.terminate()
        self.process.wait()


async def call(address, method, path, payload=b""):
    """The chunks of a reply, each with when it came."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"%s %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                 % (method.encode(), path.encode(), len(payload), payload))
    chunks = []
    while chunk := await reader.read(65536):
        chunks.append((time.monotonic(), chunk))
    writer.close()
    return chunks


async def ask(args, address, question):
    """One request: its text, and the seconds to its first content and to its end."""
    payload = json.dumps({"model": "m", "stream": True, "temperature": 0, "max_tokens": args.max_tokens, "messages": [
        {"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]}).encode()
    began = time.monotonic()
    chunks = await call(address, "POST", "/v1/chat/completions", payload)
    first = next(at for at, chunk in chunks if b'"content":"' in chunk.replace(b'"content":""', b""))
    whole = b"".join(chunk for _, chunk in chunks)
    if b"[DONE]" not in whole:
        sys.exit(f"no answer: {whole[:400]}")
    events = [json.loads(line[6:]) for line in whole.split(b"\n") if line.startswith(b"data: {")]
    text = "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    return {"question": question, "text": text, "ttft": first - began, "e2e": chunks[-1][0] - began}


async def run(args, address, questions, streams):
    """All questions, so many at once, after everything was forgotten. The answers in order, and the seconds that they took."""
    await call(address, "POST", "/admin/cache/reset", b"{}")
    answers, left = [None] * len(questions), iter(range(len(questions)))

    async def client():
        for i in left:
            answers[i] = await ask(args, address, questions[i])

    began = time.monotonic()
    await asyncio.gather(*(client() for _ in range(streams)))
    return answers, time.monotonic() - began


def faq(args, rng):
    """Intents in an order of chance, each in its wordings."""
    fresh = [[text.format(thing) for text in texts] for texts, kind in INTENTS for thing in THINGS[kind]]
    rng.shuffle(fresh)
    asked, traffic = [], []
    for _ in range(args.requests):
        kind = rng.random()
        if (kind < 0.4 or not asked) and fresh:
            wordings = fresh.pop()
            asked.append(wordings)
            traffic.append(wordings[0])
        elif kind < 0.7:
            traffic.append(rng.choice(traffic))
        else:
            traffic.append(rng.choice(rng.choice(asked)[1:]))
    return traffic


def unique(args, rng):
    words = ("river market planet music garden bridge window letter engine harbour forest castle island winter summer doctor farmer teacher painter sailor "
             "language history weather travel kitchen mountain village factory library museum").split()
    return [f"Write about {a}, {b} and {c}." for a, b, c in (rng.sample(words, 3) for _ in range(args.requests))]


async def counters(address):
    whole = b"".join(chunk for _, chunk in await call(address, "GET", "/metrics")).decode()
    names = ("flambeau_answer_cache_lookups_total", "flambeau_answer_cache_hits_total", "flambeau_num_draft_tokens_total", "flambeau_num_accepted_tokens_total")
    return [line for line in whole.splitlines() if line.startswith(names) and not line.endswith(" 0")]


async def measure(args, servers):
    rng = random.Random(args.seed)
    results, differing, compared = {}, 0, 0
    for traffic in args.traffic.split(","):
        questions = {"faq": faq, "unique": unique}[traffic](args, rng)
        for streams in map(int, args.streams.split(",")):
            runs = {name: [] for name in servers}
            for turn in range(args.turns):
                texts = None
                for name in list(servers)[turn % 3:] + list(servers)[:turn % 3]:
                    answers, seconds = await run(args, servers[name].address, questions, streams)
                    own = [answer["text"] for answer in answers]
                    texts = texts or own
                    differing += sum(a != b for a, b in zip(texts, own))
                    compared += len(own)
                    runs[name].append({"e2e": statistics.mean(a["e2e"] for a in answers), "ttft": statistics.mean(a["ttft"] for a in answers),
                                       "rate": len(questions) / seconds})
            for name in servers:
                means = {key: statistics.mean(run[key] for run in runs[name]) for key in ("e2e", "ttft", "rate")}
                results[f"{traffic} {streams} {name}"] = means
            of = lambda name, key: results[f"{traffic} {streams} {name}"][key]
            print(f"{traffic}, {streams} streams")
            for name in servers:
                print(f"  {name:6} E2E {of(name, 'e2e') * 1000:7.0f} ms ({of(name, 'e2e') / of('exact', 'e2e'):.3f} of exact, {of(name, 'e2e') / of('none', 'e2e'):.3f} of none)"
                      f"  TTFT {of(name, 'ttft') * 1000:6.0f} ms ({of(name, 'ttft') / of('exact', 'ttft'):.3f})  {of(name, 'rate'):6.2f} requests/s ({of(name, 'rate') / of('none', 'rate'):.3f})", flush=True)
    print(f"{differing} of {compared} answers differ from those of another server")
    for name in servers:
        print(name, *await counters(servers[name].address), sep="\n  ")
    return results | {"differing": differing, "compared": compared}


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        servers = {}
        try:
            for name in SERVERS:
                servers[name] = Server(args, folder, name)
            results = asyncio.run(measure(args, servers))
        finally:
            for server in servers.values():
                server.stop()
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    sys.exit(results["differing"] > 0)


if __name__ == "__main__":
    main()
