"""What the client tests share: the server under test, by environment, and a schema and a tool."""

import json
import os
import time
import urllib.request

BASE = os.environ["FLAMBEAU_BASE"]  # http://127.0.0.1:8080
KEY = os.environ["FLAMBEAU_KEY"]
MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
# A question, the text that answers it, and others.
ASKED = "Which animal purrs?"
TEXTS = ["The cat purrs on the sofa.", "Stocks fell sharply today.", "A recipe for onion soup."]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]

CITY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "population": {"type": "integer", "minimum": 0, "maximum": 99999999},
        "continent": {"enum": ["Europe", "Asia"]},
    },
    "required": ["name", "population", "continent"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}


def is_city(value):
    return (
        set(value) == set(CITY["properties"])
        and len(value["name"]) <= 12
        and 0 <= value["population"] <= 99999999
        and value["continent"] in ("Europe", "Asia")
    )


def is_weather(value):
    return list(value) == ["city"] and len(value["city"]) <= 12


def similarity(a, b):
    """Of vectors of length 1."""
    assert len(a) == len(b) and abs(sum(x * x for x in a) - 1) < 1e-3
    return sum(x * y for x, y in zip(a, b))


def finds_its_answer(question, texts):
    """Whether the question's vector is nearest to that of the first text."""
    scores = [similarity(question, text) for text in texts]
    return scores.index(max(scores)) == 0 and scores[0] > 0.4


def metric(series):
    """The value of a series that `/metrics` has; 0 if it has none yet."""
    request = urllib.request.Request(f"{BASE}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    for line in urllib.request.urlopen(request).read().decode().splitlines():
        if line.startswith(series + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def until(condition, what, seconds=10):
    """Asks again until `condition` holds, for so long at most."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def cancelled():
    return metric(f'flambeau_requests_total{{model="{MODEL}",tier="primary",outcome="cancelled"}}')


def running():
    return metric(f'flambeau_num_requests_running{{model="{MODEL}"}}')


def run(namespace):
    """Runs every test_ function of a module, in order."""
    for name, test in list(namespace.items()):
        if name.startswith("test_"):
            test()
            print(f"{os.path.basename(namespace['__file__'])}: {name} ok")
