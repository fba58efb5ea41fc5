#!/usr/bin/env python3
"""How much longer a client finds the time to the first token than the server's log says.

    flambeau serve --port 8080 > log.jsonl &
    scripts/measure_client_ttft.py http://127.0.0.1:8080 log.jsonl --clients 4

Bare sockets, so that what is measured is the way there and back and not the client; joined on x-request-id.
"""

import argparse
import json
import socket
import threading
import time
import urllib.parse

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("url")
parser.add_argument("log")
parser.add_argument("--clients", type=int, default=1)
parser.add_argument("--requests", type=int, default=100, help="of each client")
args = parser.parse_args()
url = urllib.parse.urlparse(args.url)
seen = {}


def chat(connection, request_id):
    """Streams one chat; the time to its first chunk of content, in ms."""
    message = f"{request_id}: tell me something of counting sheep, and why it matters to people at night."
    body = {"messages": [{"role": "user", "content": message}], "max_tokens": 12, "stream": True}
    body = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
    start, first, received = time.perf_counter(), None, b""
    connection.sendall(head.encode() + body)
    while not received.endswith(b"0\r\n\r\n"):
        received += connection.recv(1 << 16)
        # Stands in the first chunk that has content.
        if first is None and b'"flambeau"' in received:
            first = (time.perf_counter() - start) * 1000
    return first


def client(number):
    connection = socket.create_connection((url.hostname, url.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(args.requests):
        request_id = f"ttft-{number}-{i}"
        seen[request_id] = chat(connection, request_id)


threads = [threading.Thread(target=client, args=(number,)) for number in range(args.clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
time.sleep(0.5)  # The log has a thread of its own.
log = {}
for line in open(args.log):
    record = json.loads(line)
    log[record["request_id"]] = record["ttft_ms"]
more = sorted(seen[request_id] - log[request_id] for request_id in seen)
at = lambda share: more[min(int(len(more) * share), len(more) - 1)]
print(f"{len(more)} requests, client minus log: P50 {at(0.5):.2f} ms, P90 {at(0.9):.2f} ms, P99 {at(0.99):.2f} ms")
