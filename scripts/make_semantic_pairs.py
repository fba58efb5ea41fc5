#!/usr/bin/env python3
"""Writes benches/semantic: pairs of questions that may, or may not, be given one answer.

Usage: python scripts/make_semantic_pairs.py            writes train.jsonl and held_out.jsonl
       python scripts/make_semantic_pairs.py --check    exits with 1 where they are not what would be written
       python scripts/make_semantic_pairs.py --table    prints the numbers of pairs by part and kind
"""

import collections
import importlib
import json
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # Nothing but the two files is written.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from semantic_pairs import intents as writing  # noqa: E402
from semantic_pairs import surface  # noqa: E402

OUT = pathlib.Path(__file__).parent.parent / "benches" / "semantic"
MODULES = pathlib.Path(__file__).parent / "semantic_pairs"
PARTS = ["train", "held_out"]
PREFIX = {"faq": "f", "chat": "h", "code": "c"}
# Kinds where the right answer to one question may serve the other way round: they are asked as they are written. So are questions that
# begin with "why": their answer tells whether it is so.
ONE_WAY = {"constraint", "scope", "modality", "quantity", "subject"}
# Names that both parts need: languages, units, the calendar.
BOTH_NAME = {"CSS", "HTTP", "JSON", "JavaScript", "Linux", "Python", "Rust", "SQL", "Celsius", "Fahrenheit", "Day", "December", "Saturday",
             "Sundays", "I"}
# Phrasings and other questions that each value of a slot after the first is paired with.
NUM_SAME, NUM_OTHER = 2, 2


def read_part(part):
    names = sorted(path.stem for path in MODULES.glob(f"{part}_*.py"))
    return [intent for name in names for intent in writing.read(importlib.import_module(f"semantic_pairs.{name}").INTENTS)]


def turned(stored, asked):
    return (asked, stored) if surface.draw(stored + asked, "turn", 2) else (stored, asked)


def same_pairs(intent, i):
    """The i-th instance: the first against each phrasing; later ones take phrasings that have not met yet."""
    texts = [(kind, intent.fill(text, i)) for kind, text in intent.phrasings]
    pairs = [(kind, texts[0][1], text) for kind, text in texts[1:]]
    if i > 0:
        n = len(texts)
        later = [(a, b) for a in range(1, n) for b in range(a + 1, n)]
        met = [("paraphrase", texts[a][1], texts[b][1]) for a, b in later if "number_form" not in (texts[a][0], texts[b][0])]
        pairs = [(met + pairs)[(i - 1) * NUM_SAME + k] for k in range(NUM_SAME) if (i - 1) * NUM_SAME + k < len(met + pairs)]
    yield from ((kind, *turned(a, b)) for kind, a, b in pairs)


def surface_pair(intent, part, i, num_before):
    """One change of surface; the rare kinds wherever they are possible."""
    plain = [text for kind, text in intent.phrasings]
    text = intent.fill(plain[num_before % len(plain)], i)
    written = {intent.fill(other, i) for other in plain}
    kept = [values[i] for values in intent.slots.values()]
    makers = {
        "number_form": lambda: surface.number_form(text, intent.domain),
        "contraction": lambda: surface.contraction(text),
        "case": lambda: surface.case(text, intent.domain, num_before // 3),
        "polite": lambda: surface.polite(text, part, num_before // 3),
        "typo": lambda: surface.typo(text, kept),
    }
    common = ["case", "polite", "typo"]
    turn = num_before % 3
    for kind in ["number_form", "contraction"] + common[turn:] + common[:turn]:
        if (changed := makers[kind]()) and changed not in written:
            pair = (text, changed) if kind in ("polite", "typo") else turned(text, changed)
            yield (kind, *pair)
            return


def other_pairs(intent, i):
    first = intent.phrasings[i % len(intent.phrasings)][1] if i % 2 else intent.phrasings[0][1]
    n = len(intent.others)
    chosen = intent.others if i == 0 else [intent.others[(i * NUM_OTHER + k) % n] for k in range(min(NUM_OTHER, n))]
    for kind, text, was_before in chosen:
        pair = intent.fill(first, i), intent.fill(text, i)
        if was_before:
            pair = pair[::-1]
        yield (kind, *pair) if kind in ONE_WAY or text.startswith("Why ") else (kind, *turned(*pair))
    if intent.slot_kind and i > 0:
        asked = intent.phrasings[(i - 1) % len(intent.phrasings)][1]
        yield (intent.slot_kind, intent.fill(first, i - 1), intent.fill(asked if i % 2 == 0 else first, i))


def make(part, ids):
    rows, num_surface = [], 0
    for intent in read_part(part):
        for i in range(intent.num_instances()):
            changed = list(surface_pair(intent, part, i, num_surface))
            num_surface += 1
            for same, pairs in ((True, same_pairs(intent, i)), (True, changed), (False, other_pairs(intent, i))):
                for kind, stored, asked in pairs:
                    ids[intent.domain] += 1
                    name = f"{PREFIX[intent.domain]}-{ids[intent.domain]:04}"
                    rows.append({"id": name, "domain": intent.domain, "kind": kind, "same": same, "stored": stored, "asked": asked})
    return rows


def check_rows(rows):
    seen = set()
    for row in rows:
        pair = frozenset((row["stored"], row["asked"]))
        if len(pair) == 1 or pair in seen:
            raise ValueError(f"a pair of one question, or a pair that was there before: {row}")
        seen.add(pair)


def names(rows):
    """Words with a capital inside a sentence."""
    texts = [text for row in rows for text in (row["stored"], row["asked"]) if not text.isupper() and not text.istitle()]
    return {name for text in texts for name in re.findall(r"(?<=[a-z,\"`] )[A-Z][\w#+-]*", text)}


def content(text):
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def check_parts_differ(parts):
    """No value of a slot, no phrasing, whatever fills its slots, and no name but those that cannot be avoided is in both parts."""
    values, frames = [], []
    for part in PARTS:
        intents = read_part(part)
        values.append({value.lower() for intent in intents for slot in intent.slots.values() for value in slot})
        frames.append({content(text) for intent in intents for _, text, *_ in intent.phrasings + intent.others})
    met = (names(parts["train"]) & names(parts["held_out"])) - BOTH_NAME
    if shared := (values[0] & values[1]) | (frames[0] & frames[1]) | met:
        raise ValueError(f"in both parts: {shared}")


def table(parts):
    print("| kind | same | train | held_out |\n|---|---|---:|---:|")
    counts = {part: collections.Counter((row["same"], row["kind"]) for row in rows) for part, rows in parts.items()}
    for same, kinds in ((True, writing.SAME), (False, writing.OTHER)):
        name = "yes" if same else "no"
        for kind in kinds:
            print(f"| {kind} | {name} | " + " | ".join(str(counts[part][same, kind]) for part in PARTS) + " |")
        sums = [sum(counts[part][same, kind] for kind in kinds) for part in PARTS]
        print(f"| **all** | {name} | " + " | ".join(map(str, sums)) + " |")
    print("| **intents** | | " + " | ".join(str(len(read_part(part))) for part in PARTS) + " |")


def main():
    ids = collections.Counter()
    parts = {part: make(part, ids) for part in PARTS}
    check_rows([row for rows in parts.values() for row in rows])
    check_parts_differ(parts)
    if "--table" in sys.argv:
        return table(parts)
    for part, rows in parts.items():
        path = OUT / f"{part}.jsonl"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is not what its intents give: run scripts/make_semantic_pairs.py")


if __name__ == "__main__":
    main()
