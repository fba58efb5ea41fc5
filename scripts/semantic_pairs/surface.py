"""Changes of a question's surface that leave what it asks alone. Each function gives None where it has nothing to change."""

import hashlib
import re

WORDS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
UNITS = {"km": "kilometers", "kg": "kilograms", "GB": "gigabytes", "MB": "megabytes", "ml": "milliliters", "cm": "centimeters",
         "mph": "miles per hour", "mg": "milligrams", "ms": "milliseconds", "kWh": "kilowatt-hours"}
CONTRACTIONS = [
    (r"\b([Ww]hat|[Ww]here|[Ww]ho|[Hh]ow) is (?=[a-z]+ )", r"\1's "),
    (r"\bI am (?=[a-z])", "I'm "),
    (r"\bI have (?=(?:been|lost|forgotten|never|already|just|got|moved|missed|paid|bought|changed)\b)", "I've "),
    (r"\bI will (?=[a-z])", "I'll "),
    (r"\bI would (?=[a-z])", "I'd "),
    (r"\b([Ii]t|[Tt]here) is (?=[a-z])", r"\1's "),
    (r"\b(do|does|did|is|are|was|has|have|should|would|could) not\b", r"\1n't"),
    (r"\bcannot\b", "can't"),
    (r"\bwill not\b", "won't"),
    (r"\b(What|Where|Who|How)'s (?=[a-z])", r"\1 is "),
    (r"\bI'm (?=[a-z])", "I am "),
    (r"\bI've (?=[a-z])", "I have "),
    (r"\bI'd like\b", "I would like"),
    (r"\b(I|you|we|they|it) can't\b", r"\1 cannot"),
    (r"\b(I|you|we|they|that) don't\b", r"\1 do not"),
    (r"\b(it|that|which) doesn't\b", r"\1 does not"),
]
# One list for each part, so that no frame is in both.
POLITE = {
    "train": {
        "question": ["Hello, {low} Thanks!", "Quick question: {low}", "{full} Many thanks.", "Excuse me, {low}"],
        "order": ["Please {low}", "Could you {bare}?", "{full} Thank you!"],
    },
    "held_out": {
        "question": ["Hi there! {full}", "Sorry to bother you, but {low}", "{full} Thanks in advance!", "Good morning. {full} Cheers.",
                     "I was wondering: {low}", "Hey, {low}"],
        "order": ["Would you please {bare}?", "Can you kindly {bare}?", "{full} I'd appreciate it.", "Be so kind as to {bare}."],
    },
}


def draw(text, salt, n):
    """A number below n that depends on the text and the salt alone."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{text}".encode()).digest()[:8], "big") % n


def spans(text):
    """Where code and quotations stand: nothing is changed there."""
    return [match.span() for match in re.finditer(r"`[^`]*`|\"[^\"]*\"", text)]


def is_free(text, start, end):
    return all(end <= a or b <= start for a, b in spans(text))


def lower_first(text):
    first = re.match(r"[A-Za-z']+", text)
    keeps = first is None or first[0] in ("I", "I'm", "I've", "I'd", "I'll") or not first[0][1:].islower() and len(first[0]) > 1
    return text if keeps else text[0].lower() + text[1:]


def case(text, domain, i):
    bare = text[:-1] if text[-1] in "?." else text
    is_plain = domain != "code" and not spans(text) and not re.search(r"[a-z][A-Z]|[A-Z]{2}|\d ?[A-Za-z]{1,3}\b", text)
    spaced = text.replace(" ", "  ", 2)
    gentle = [lower_first(bare), spaced + " ", text[:-1] + "??" if text[-1] == "?" else text[:-1] + " .", lower_first(text)]
    strong = [bare.lower(), text.upper(), text.lower().replace(",", ""), bare.title() if "'" not in bare else bare.lower()]
    choices = gentle[:2] + strong if is_plain else gentle
    chosen = choices[i % len(choices)]
    return chosen if chosen != text else None


def polite(text, part, i):
    is_order = text[-1] == "."
    if not is_order and text[-1] != "?" or is_order and (". " in text or "I " in text):
        return None
    frames = POLITE[part]["order" if is_order else "question"]
    return frames[i % len(frames)].format(full=text, low=lower_first(text), bare=lower_first(text[:-1]))


def contraction(text):
    for pattern, to in CONTRACTIONS:
        for match in re.finditer(pattern, text):
            if is_free(text, *match.span()):
                return text[: match.start()] + match.expand(to) + text[match.end() :]
    return None


def typo(text, kept):
    """One slip in one long word that is no part of a slot's value, `kept`: a letter twice, one lost, or two exchanged."""
    found = re.finditer(r"(?<![\w'/.-])[a-z]{7,}(?![\w'/.-])", text)
    words = [m for m in found if is_free(text, *m.span()) and not any(m[0] in k for k in kept)]
    if not words:
        return None
    match = words[draw(text, "word", len(words))]
    word = match[0]
    at = 2 + draw(text, "letter", len(word) - 5)
    exchanged = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    twice = word[:at] + word[at] + word[at:]
    lost = word[:at] + word[at + 1 :]
    slips = [slip for slip in (exchanged, twice, lost) if slip != word]
    return text[: match.start()] + slips[draw(text, "slip", len(slips))] + text[match.end() :]


def number_form(text, domain):
    patterns = [(rf"\b({'|'.join(WORDS)})\b(?= [a-z])", lambda m: str(WORDS.index(m[1]) + 2))]
    if domain != "code":
        patterns.append((r"(?<=[a-z] )([2-9]|1[0-2])(?= [a-z]{3,})", lambda m: WORDS[int(m[1]) - 2]))
        patterns.append((r"\$(\d+)\b(?![.,]\d)", lambda m: f"{m[1]} dollars"))
        patterns.append((r"€(\d+)\b(?![.,]\d)", lambda m: f"{m[1]} euros"))
    # Not before a noun: "a 5 kg parcel" has no long form.
    free = r"\b(?=[?.,]| (?:of|in|to|on|are|is|and|with|for)\b)"
    patterns += [(rf"(?<=\d) {short}{free}", lambda m, long=long: f" {long}") for short, long in UNITS.items()]
    patterns += [(rf"(?<=\d) {long}\b", lambda m, short=short: f" {short}") for short, long in UNITS.items()]
    patterns += [(r"(?<=\d)%", lambda m: " percent"), (r"(?<=\d),(?=\d{3}\b)", lambda m: "")]
    for pattern, to in patterns:
        for match in re.finditer(pattern, text):
            if is_free(text, *match.span()):
                return text[: match.start()] + to(match) + text[match.end() :]
    return None
