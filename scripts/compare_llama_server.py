"""Measures flambeau and llama-server in turns and writes a table and JSON; called by compare_llama_server.sh.

One server runs at a time, each scenario on both before the next. Prompts are random token ids, the same for both servers and
new for every run, so they have the exact length for both and no prefix cache can hit. Load and times come from
`flambeau bench serve`.
"""

import argparse
import http.client
import json
import os
import platform
import random
import shlex
import socket
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

# What serves llama-server best, from --sweep (docs/performance.md has the figures).
LLAMA_BATCH = ["-b", "512", "-ub", "512", "-no-kvu"]
SWEEP = [
    ["-b", b, "-ub", ub, kv]
    for b, ub in [("256", "256"), ("512", "512"), ("2048", "512"), ("2048", "2048")]
    for kv in ("-kvu", "-no-kvu")
]
# Ordinary words and parts of words in a byte-level vocabulary: above the special tokens and the single bytes.
TOKEN_IDS = range(300, 8000)

# (scenario, clients, tokens of a sequence's context, [(measurement, prompt tokens, output tokens, requests)])
SCENARIOS = [
    ("one client", 1, 768, [("prefill", 512, 1, 5), ("decode", 135, 128, 4)]),
    ("16 clients", 16, 256, [("clients16", 135, 64, 48)]),
    ("64 clients", 64, 256, [("clients64", 135, 64, 64)]),
]

# (measurement, what, unit, whether more is better, the figure in a report of `bench serve`)
METRICS = [
    ("prefill", "prefill of 512 tokens", "tok/s", True, lambda r: 512e3 / r["ttft_ms"]["p50"]),
    ("decode", "decode, one client", "tok/s", True, lambda r: 1e3 / r["tpot_ms"]["mean"]),
    ("clients16", "16 clients, output", "tok/s", True, lambda r: r["output_tokens_per_s"]),
    ("clients16", "16 clients, TTFT P50", "ms", False, lambda r: r["ttft_ms"]["p50"]),
    ("clients16", "16 clients, TTFT P95", "ms", False, lambda r: r["ttft_ms"]["p95"]),
    ("clients64", "64 clients, output", "tok/s", True, lambda r: r["output_tokens_per_s"]),
    ("clients64", "64 clients, TTFT P50", "ms", False, lambda r: r["ttft_ms"]["p50"]),
    ("clients64", "64 clients, errors", "", False, lambda r: r["failed"]),
    ("start", "start to ready", "ms", False, lambda r: r["start_ms"]),
    ("memory", "peak memory, 64 clients", "MiB", False, lambda r: r["peak_mib"]),
]


class Server:
    """A running server: from its start until it answers, and stopped at the end of the block."""

    def __init__(self, name, command, ready_path, log, environment=None):
        self.name, self.command, self.ready_path, self.log = name, command, ready_path, log
        self.environment = {**os.environ, **(environment or {})}

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        started = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*self.command, "--port", str(self.port)], stdout=log, stderr=log, env=self.environment
            )
        while self._status() != 200:
            if self.process.poll() is not None or time.monotonic() - started > 300:
                self.__exit__()
                sys.exit(f"{self.name} does not start; the end of its log:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.002)
        self.start_ms = (time.monotonic() - started) * 1e3
        return self

    def _status(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("GET", self.ready_path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def peak_mib(self):
        """The most memory it has had resident, where the system says it."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return float("nan")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Comparison:
    """The two servers on one file."""

    def __init__(self, arguments, file):
        self.arguments, self.file = arguments, file
        self.work = Path(arguments.work_dir)

    def flambeau(self):
        # Neither server drafts: what is compared is the same work.
        options = ["--threads", str(self.arguments.threads), "--speculation", "false"]
        command = [self.arguments.flambeau, "serve", "--model", self.file, *options]
        return Server("flambeau", command, "/ready", self.work / "flambeau.log")

    def llama(self, clients, context, batch=None):
        threads = str(self.arguments.threads)
        command = [
            self.arguments.llama_server, "-m", self.file, "-t", threads, "-tb", threads, "-fa", "on",
            "-np", str(clients), "-c", str(clients * context), *(batch or LLAMA_BATCH),
            "--no-cache-prompt", "--cache-ram", "0", "--host", "127.0.0.1",
        ]
        libraries = {"LD_LIBRARY_PATH": str(Path(self.arguments.llama_server).parent)}
        return Server("llama-server", command, "/health", self.work / "llama-server.log", libraries)

    def bench(self, server, clients, prompt_tokens, output_tokens, requests, seed):
        """The report of `bench serve`; the warm-up's prompts differ from the measured ones."""
        warmup = min(clients, 2)
        dataset, report = self.work / "prompts.jsonl", self.work / "report.json"
        ids = random.Random(f"{seed} {prompt_tokens} {clients}")
        lines = [[ids.choice(TOKEN_IDS) for _ in range(prompt_tokens)] for _ in range(requests + warmup)]
        dataset.write_text("".join(json.dumps({"prompt": line}) + "\n" for line in lines))
        report.unlink(missing_ok=True)
        ran = subprocess.run(
            [
                self.arguments.flambeau, "bench", "serve", "--url", f"http://127.0.0.1:{server.port}",
                "--endpoint", "completions", "--dataset", dataset, "--concurrency", str(clients),
                "--num-prompts", str(requests), "--warmup", str(warmup), "--output-len", str(output_tokens),
                "--ignore-eos", "--temperature", "0", "--timeout", "1800", "--json", report,
            ],
            capture_output=True, text=True,
        )
        if not report.exists():
            sys.exit(f"bench serve measured nothing on {server.name}:\n{ran.stderr}")
        figures = json.loads(report.read_text())
        if figures["failed"] and (clients < 64 or figures["completed"] == 0):
            sys.exit(f"{server.name} failed {figures['failed']} requests: {figures['failures']}")
        if figures["failed"] == 0:
            expected = (requests * prompt_tokens, requests * output_tokens)
            counted = (figures["prompt_tokens"], figures["output_tokens"])
            if expected != counted:
                sys.exit(f"{server.name} counted {counted} prompt and output tokens, not {expected}")
        return figures

    def run(self, run):
        """One run of every scenario on both servers: {server: {measurement: figures}}."""
        figures = {"flambeau": {}, "llama-server": {}}
        for name, clients, context, measurements in SCENARIOS:
            servers = [self.flambeau(), self.llama(clients, context)]
            # Who goes first changes from run to run.
            for server in servers if run % 2 == 0 else reversed(servers):
                with server:
                    found = figures[server.name]
                    for measurement, prompt_tokens, output_tokens, requests in measurements:
                        found[measurement] = self.bench(server, clients, prompt_tokens, output_tokens, requests, run)
                    if clients == 1:
                        found["start"] = {"start_ms": server.start_ms}
                    if clients == 64:
                        found["memory"] = {"peak_mib": server.peak_mib()}
                print(f"  run {run + 1}, {name}: {server.name} done", file=sys.stderr, flush=True)
        return figures

    def sweep(self):
        """llama-server alone, with many clients and each of SWEEP."""
        rows = []
        for name, clients, context, [(_, prompt_tokens, output_tokens, requests)] in SCENARIOS[1:]:
            print(f"\n{Path(self.file).name}: llama-server with {name}")
            for batch in SWEEP:
                reports = []
                for run in range(self.arguments.runs):
                    with self.llama(clients, context, batch) as server:
                        reports.append(self.bench(server, clients, prompt_tokens, output_tokens, requests, run))
                rate = statistics.median(report["output_tokens_per_s"] for report in reports)
                ttft = statistics.median(report["ttft_ms"]["p50"] for report in reports)
                flags = " ".join(batch)
                rows.append({"clients": clients, "flags": flags, "output_tokens_per_s": rate, "ttft_ms_p50": ttft})
                print(f"  {flags:<28}{rate:>8.1f} tok/s, TTFT P50 {ttft:>8.0f} ms", flush=True)
        return rows


def median_ratio(ours, theirs):
    """The ratio of the medians, and the interval that 95% of its bootstrap resamples of the runs lie in."""
    if statistics.median(theirs) == 0:
        return None
    draw, ratios = random.Random(0), []
    for _ in range(5000):
        runs = [draw.randrange(len(ours)) for _ in ours]
        below = statistics.median(theirs[i] for i in runs)
        if below > 0:
            ratios.append(statistics.median(ours[i] for i in runs) / below)
    ratios.sort()
    low, high = ratios[int(0.025 * len(ratios))], ratios[int(0.975 * len(ratios))]
    return {"ratio": statistics.median(ours) / statistics.median(theirs), "low": low, "high": high}


def summary(runs):
    """The rows of one file's table."""
    rows = []
    for measurement, what, unit, more_is_better, figure in METRICS:
        ours, theirs = ([figure(run[server][measurement]) for run in runs] for server in ("flambeau", "llama-server"))
        rows.append({
            "what": what, "unit": unit, "more_is_better": more_is_better,
            "flambeau": ours, "llama_server": theirs, "ratio": median_ratio(ours, theirs),
        })
    return rows


def print_table(file, rows):
    print(f"\n{Path(file).name:<30}{'flambeau':>12}{'llama-server':>14}{'ratio':>8}  95% interval")
    for row in rows:
        ratio = row["ratio"]
        shown = f"{ratio['ratio']:>8.2f}  {ratio['low']:.2f} to {ratio['high']:.2f}" if ratio else ""
        what = f"{row['what']}, {row['unit']}" if row["unit"] else row["what"]
        medians = statistics.median(row["flambeau"]), statistics.median(row["llama_server"])
        print(f"{what:<30}{medians[0]:>12.1f}{medians[1]:>14.1f}{shown}", flush=True)


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def version(command, environment=None):
    ran = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    return (ran.stdout + ran.stderr).strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("compare_llama_server.json"))
    parser.add_argument("--work-dir", required=True)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("flambeau")
    parser.add_argument("llama_server")
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs must be at least 1")

    libraries = {"LD_LIBRARY_PATH": str(Path(arguments.llama_server).parent)}
    found = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": arguments.threads,
        "versions": {
            "flambeau": version([arguments.flambeau]),
            "llama-server": version([arguments.llama_server], libraries),
        },
        "files": {},
    }
    print(f"{found['processor']}, {found['cores']} cores; {arguments.threads} threads each, {arguments.runs} runs")
    for file in arguments.files:
        comparison = Comparison(arguments, file)
        name = Path(file).name
        if arguments.sweep:
            found["files"][name] = {"sweep": comparison.sweep()}
        else:
            # Also brings the file into the page cache, so that no start reads from the disk.
            commands = []
            for server in (comparison.flambeau(), comparison.llama(1, 768)):
                with server:
                    commands.append(shlex.join(Path(part).name if "/" in part else part for part in server.command))
                    print(f"{name}: {commands[-1]}", flush=True)
            runs = [comparison.run(run) for run in range(arguments.runs)]
            rows = summary(runs)
            print_table(file, rows)
            found["files"][name] = {"commands": commands, "rows": rows, "runs": runs}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nwritten: {arguments.json}")


if __name__ == "__main__":
    main()
