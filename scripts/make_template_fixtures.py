#!/usr/bin/env python3
"""Records what `transformers` renders of chat templates: tests/data/templates/cases.json.

Templates are the default model's and our own in the formats of others, in the same folder. Needs
`pip install transformers jinja2`.
"""

import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
TEMPLATES = {
    "smollm2": ROOT / "golden" / "smollm2_chat_template.jinja",
    "hermes": ROOT / "templates" / "hermes.jinja",
    "llama3": ROOT / "templates" / "llama3.jinja",
    "mistral": ROOT / "templates" / "mistral.jinja",
}

SYSTEM = {"role": "system", "content": "You are brief.  "}
USER = {"role": "user", "content": "What is 2+2?"}
ANSWER = {"role": "assistant", "content": " It is 4.\n"}
UNICODE = {"role": "user", "content": "Grüße, 世界 👩‍🚀 \u200b\\n \"<b>\" & 'c' {{ x }} {% y %}"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather in “a” city, é",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "<name>"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 7, "default": 1.5},
                    "units": {"enum": ["C", "F", None, True]},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "abcdef123",
            "type": "function",
            "function": {"name": "get_weather", "arguments": {"city": "Köln \"x\"", "days": 2, "deep": {"a": [1, 2.5, None, False]}}},
        }
    ],
}
RESULT = {"role": "tool", "tool_call_id": "abcdef123", "content": "{\"sky\": \"blue\"}"}
THOUGHT = {"role": "assistant", "content": "Yes.", "reasoning_content": "\nhm\n"}

CASES = {
    "plain": dict(messages=[USER]),
    "system": dict(messages=[SYSTEM, USER]),
    "turns": dict(messages=[SYSTEM, USER, ANSWER, USER]),
    "without_prompt": dict(messages=[USER, ANSWER], add_generation_prompt=False),
    "unicode": dict(messages=[UNICODE]),
    "continued": dict(messages=[USER, {"role": "assistant", "content": "It is "}], add_generation_prompt=False, continue_final_message=True),
    "tools": dict(messages=[SYSTEM, USER], tools=TOOLS),
    "call": dict(messages=[USER, CALL, RESULT], tools=TOOLS),
    "called_before": dict(messages=[USER, CALL, RESULT, ANSWER, UNICODE], tools=TOOLS),
    "thought": dict(messages=[USER, THOUGHT], add_generation_prompt=False),
    "not_thinking": dict(messages=[USER], kwargs={"enable_thinking": False}),
    "variable": dict(messages=[USER], kwargs={"date_string": "2 May"}),
}


def render(template, case):
    try:
        rendered, _ = render_jinja_template(
            conversations=[case["messages"]],
            tools=case.get("tools"),
            chat_template=template,
            add_generation_prompt=case.get("add_generation_prompt", True),
            continue_final_message=case.get("continue_final_message", False),
            bos_token="<s>",
            eos_token="</s>",
            **case.get("kwargs", {}),
        )
        return {"prompt": rendered[0]}
    except Exception as error:  # A template that raises does so in the server, too.
        return {"error": type(error).__name__}


out = []
for template, path in TEMPLATES.items():
    source = path.read_text()
    for name, case in CASES.items():
        out.append({"template": template, "name": name, **case, **render(source, case)})
path = ROOT / "templates" / "cases.json"
path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")
print(f"{path}: {len(out)} cases, {sum('error' in case for case in out)} of them errors")
