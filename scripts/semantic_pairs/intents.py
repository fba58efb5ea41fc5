"""Reads the text in which intents are written.

    faq: How do I cancel my {x}?                the domain and the first phrasing
    x = gym membership / magazine # entity      values of a slot, and the kind of two questions that differ in them
    s How do I terminate my {x}?                another phrasing that asks the same: (p)araphrase, (s)ynonym, (r)eorder
    n ...                                       ... of the first with numbers or units in another form
    - antonym: How do I renew my {x}?           a question near in words, whose answer is another one
    < constraint: How do I cancel my unpaid {x}?   the same, and it was asked before

Slots of one intent go together, value by value. A slot without a kind makes no pairs of its own.
"""

import dataclasses
import re

SAME = ["case", "polite", "contraction", "synonym", "reorder", "paraphrase", "typo", "number_form"]
OTHER = ["negation", "swap", "number", "date", "unit", "entity", "constraint", "scope", "antonym", "modality", "code", "subject",
         "quantity", "topic"]
LETTERS = {"p": "paraphrase", "s": "synonym", "r": "reorder", "n": "number_form"}
MOST_VALUES = 6


@dataclasses.dataclass
class Intent:
    domain: str
    phrasings: list  # (kind, text), the first of kind None
    others: list  # (kind, text, whether it was asked before)
    slots: dict  # name: values
    slot_kind: str = None

    def num_instances(self):
        return len(next(iter(self.slots.values()), [None]))

    def fill(self, text, i):
        for name, values in self.slots.items():
            text = text.replace("{" + name + "}", values[i])
        return text


def read(text):
    intents = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if match := re.match(r"(faq|chat|code): (.+)$", line):
            intents.append(Intent(match[1], [(None, match[2])], [], {}))
            continue
        intent = intents[-1]
        if match := re.match(r"([xy]) = (.+?)(?: # (\w+))?$", line):
            intent.slots[match[1]] = match[2].split(" / ")
            intent.slot_kind = match[3] or intent.slot_kind
        elif match := re.match(r"([-<]) (\w+): (.+)$", line):
            intent.others.append((match[2], match[3], match[1] == "<"))
        elif match := re.match(r"([psrn]) (.+)$", line):
            intent.phrasings.append((LETTERS[match[1]], match[2]))
        else:
            raise ValueError(f"no line of an intent: {line!r}")
    for intent in intents:
        check(intent)
    return intents


def check(intent):
    first = intent.phrasings[0][1]
    lengths = {len(values) for values in intent.slots.values()}
    if len(lengths) > 1 or max(lengths, default=1) > MOST_VALUES:
        raise ValueError(f"{first}: slots need equally many values, at most {MOST_VALUES}")
    kinds = {kind for kind, _, _ in intent.others} | ({intent.slot_kind} if intent.slot_kind else set())
    if kinds - set(OTHER):
        raise ValueError(f"{first}: no such kind: {kinds - set(OTHER)}")
    for _, text in intent.phrasings:
        if missing := [name for name in intent.slots if "{" + name + "}" not in text]:
            raise ValueError(f"{text}: lacks the slot {missing[0]}")
    for _, text, *_ in intent.phrasings + intent.others:
        if lost := [name for name in "xy" if "{" + name + "}" in text and name not in intent.slots]:
            raise ValueError(f"{text}: the slot {lost[0]} has no values")
