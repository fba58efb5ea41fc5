#!/usr/bin/env python3
"""How a stored answer is best drafted from: answers of a running server to questions in other words, and rules of drafting played on their tokens.

    scripts/simulate_recalled.py http://127.0.0.1:8080 [--max-tokens 96] [--row 0.145]

For each question the first wording's answer is stored, and the others' answers are drafted from it. A step costs 1, a drafted row --row of that; rows are drafted while their
chance is worth it, by accept rates that are learnt as the scheduler learns them. Prints the time of decoding in relation to drafts that are
looked up in the text so far, for each rule and system text, and what an oracle would need.
"""
import argparse, json, urllib.request

QUESTIONS = [
    ["How do I reset my password?", "how do i reset my password", "Could you tell me how to reset my password?", "What do I have to do to reset my password?"],
    ["What are your opening hours?", "When are you open?", "what are your opening hours please", "At what times are you open?"],
    ["Can I return a product I bought online?", "Is it possible to return a product that I bought online?", "can i return a product i bought online?", "May I send back a product I bought online?"],
    ["How long does shipping take?", "How long does delivery take?", "how long does shipping take please", "How many days does shipping take?"],
    ["What payment methods do you accept?", "Which payment methods do you accept?", "How can I pay?", "what payment methods do you accept"],
    ["Do you ship to Norway?", "Can you ship to Norway?", "do you ship to norway?", "Is shipping to Norway possible?"],
    ["How do I cancel my order?", "How can I cancel my order?", "I want to cancel my order, how do I do that?", "Please tell me how to cancel my order."],
    ["Where can I see my invoices?", "Where do I find my invoices?", "where can i see my invoices", "How can I see my invoices?"],
    ["How do I change my delivery address?", "How can I change my delivery address?", "What do I do to change my delivery address?", "how do i change my delivery address, please?"],
    ["Is there a student discount?", "Do you have a student discount?", "is there a student discount", "Do you offer a discount for students?"],
    ["What is the capital of France?", "What's the capital of France?", "Which city is the capital of France?", "Tell me the capital of France."],
    ["Explain what a hash table is.", "What is a hash table?", "Could you explain what a hash table is?", "explain what a hash table is please"],
    ["How do I boil an egg?", "How can I boil an egg?", "What is the way to boil an egg?", "how do i boil an egg"],
    ["Why is the sky blue?", "What makes the sky blue?", "why is the sky blue", "Please explain why the sky is blue."],
]
BARE = "You are the assistant of an online shop. Answer the customer's question in two or three short sentences."
FACTS = """You are the assistant of the shop Kestrel. Answer with the facts below, in one or two short sentences.
Passwords: the link "Forgot password" on the sign-in page sends an e-mail with a link to choose a new one; it is good for one hour.
Opening hours: Monday to Friday 9 to 18, Saturday 10 to 16, closed on Sunday.
Returns: within 30 days, unused, with the receipt; start a return under "My orders"; the money comes back within 5 days.
Shipping: 2 to 4 working days in the country, 5 to 9 abroad; free from 50 euros.
Payment: Visa, Mastercard, PayPal and bank transfer.
Countries: we ship to all of the European Union, Norway and Switzerland.
Cancelling: until the parcel leaves, under "My orders", "Cancel".
Invoices: under "My account", "Invoices", as PDF files.
Address: under "My account", "Addresses"; not for orders that have left.
Students: 10 percent off with a student card, in the shop and online."""
SETS = [("bare", BARE, QUESTIONS), ("facts", FACTS, QUESTIONS[:10]), ("none", None, QUESTIONS)]
RULES = {
    "2 tokens or more, nearest first": {},
    "1 token or more": {"least": 1},
    "1 near the expected place, else 2": {"near": 4},
    "and else as if one was replaced": {"near": 4, "replaces": True},
    "3 tokens or more": {"least": 3},
    "up to 31 tokens a step": {"longest": 31},
}


def ask(args, system, question):
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": question}]
    body = {"messages": messages, "temperature": 0, "max_tokens": args.max_tokens, "return_token_ids": True}
    request = urllib.request.Request(args.url + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    reply = json.load(urllib.request.urlopen(request))
    choice = reply["choices"][0]
    return choice["token_ids"], reply.get("prompt_token_ids") or choice.get("prompt_token_ids") or []


def common(text, end, out, most=8):
    """How many of the last tokens of `out` stand before `end` in `text`."""
    n = 0
    while n < most and n < end and n < len(out) and text[end - 1 - n] == out[-1 - n]:
        n += 1
    return n


def looked_up(text):
    ends = [(common(text, end, text), end) for end in range(1, len(text)) if text[end - 1] == text[-1]]
    length, end = max(ends, default=(0, 0))
    return text[end:] if length >= 2 else []


def recalled(stored, out, least=2, near=0, replaces=False, **_):
    """What comes next of the stored answer, and whether that is a mere guess."""
    if not out or stored[:len(out)] == out:
        return stored[len(out):], False
    ends = [(common(stored, end, out), -abs(end - len(out)), end) for end in range(1, len(stored) + 1) if stored[end - 1] == out[-1]]
    length, distance, end = max(ends, default=(0, 0, 0))
    if length >= least or (length and -distance <= near):
        return stored[end:], False
    return (stored[len(out):], True) if replaces else ([], False)


def play(args, cases, rule):
    """The time and the steps of all answers; `rule` is None where drafts are looked up alone."""
    time = steps = 0
    for tokens, prompt, stored in cases:
        rates, i = {"looked up": 0.5, "recalled": 0.5, "replaced": 0.3}, 0
        while i < len(tokens):
            out, draft, source = tokens[:i], [], "looked up"
            if rule is not None and i:
                draft, is_guess = recalled(stored, out, **rule)
                source = "replaced" if is_guess else "recalled"
            if i and (not draft or source == "replaced"):
                found = looked_up(prompt + out)
                draft, source = (found, "looked up") if found else (draft, source)
            draft = draft[:(rule or {}).get("longest", 15)]
            cost, expected, num, chance = 1.0, 1.0, 0, rates[source]
            while num < len(draft) and chance * cost > expected * args.row:
                cost, expected, num, chance = cost + args.row, expected + chance, num + 1, chance * rates[source]
            right = 0
            for k, token in enumerate(draft[:len(tokens) - i]):
                is_right = token == tokens[i + k]
                rates[source] += 0.15 * (is_right - rates[source])
                if not is_right or k >= num:
                    break
                right += 1
            time, steps, i = time + cost, steps + 1, i + min(right, num) + 1
    return time, steps


def oracle(cases, longest=15):
    """Steps where the best place of the stored answer is always known."""
    steps = 0
    for tokens, _, stored in cases:
        i = 0
        while i < len(tokens):
            best = 0
            for start in range(len(stored)):
                k = 0
                while k < longest and start + k < len(stored) and i + k < len(tokens) and stored[start + k] == tokens[i + k]:
                    k += 1
                best = max(best, k)
            steps, i = steps + 1, i + best + 1
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--row", type=float, default=0.145)
    args = parser.parse_args()
    table = {rule: [] for rule in RULES}
    for name, system, questions in SETS:
        cases = []
        for first, *others in questions:
            stored, _ = ask(args, system, first)
            cases += [(*ask(args, system, other), stored) for other in others]
        base, base_steps = play(args, cases, None)
        same = sum(tokens == stored for tokens, _, stored in cases)
        prefix = sum(next((i for i, (a, b) in enumerate(zip(tokens, stored)) if a != b), min(len(tokens), len(stored))) / len(tokens)
                     for tokens, _, stored in cases) / len(cases)
        print(f"{name}: {same} of {len(cases)} answers are the same, alike for {prefix:.3f} of their tokens; an oracle needs {oracle(cases) / base_steps:.2f} of the steps")
        for rule, how in RULES.items():
            time, steps = play(args, cases, how)
            table[rule].append(f"{time / base:.3f} ({steps / base_steps:.2f})")
    print("\n| drafts of the stored answer: time (steps) | " + " | ".join(name for name, _, _ in SETS) + " |\n|---|" + "---|" * len(SETS))
    for rule, row in table.items():
        print(f"| {rule} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
