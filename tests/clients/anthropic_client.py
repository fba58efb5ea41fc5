"""Anthropic's Python client."""

import anthropic
from common import *

client = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0, timeout=60)
TOOLS = [{"name": "get_weather", "description": "Weather", "input_schema": WEATHER}]
ARGS = dict(model=MODEL, max_tokens=40, messages=QUESTION, extra_body={"temperature": 0})


def test_messages_and_stream_say_the_same():
    whole = client.messages.create(system="Answer in a sentence.", **ARGS)
    assert whole.content[0].text and whole.stop_reason in ("end_turn", "max_tokens")
    with client.messages.stream(system="Answer in a sentence.", **ARGS) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text and final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_stop_sequences():
    answer = client.messages.create(stop_sequences=["la "], **ARGS)
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "la ")


def test_tools_whole_streamed_and_answered():
    args = {**ARGS, "max_tokens": 120, "tools": TOOLS, "tool_choice": {"type": "tool", "name": "get_weather"}}
    answer = client.messages.create(**args)
    call = answer.content[0]
    assert answer.stop_reason == "tool_use" and call.name == "get_weather" and is_weather(call.input)
    with client.messages.stream(**args) as stream:
        for _ in stream:
            pass
        assert is_weather(stream.get_final_message().content[0].input)
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}
    history = QUESTION + [{"role": "assistant", "content": [call.model_dump(exclude_none=True)]}, result]
    assert client.messages.create(model=MODEL, max_tokens=20, messages=history, tools=TOOLS).content


def test_json_schema():
    config = {"format": {"type": "json_schema", "schema": CITY}}
    answer = client.messages.create(**{**ARGS, "max_tokens": 120, "extra_body": {"output_config": config}})
    assert is_city(json.loads(answer.content[0].text))


def test_count_tokens():
    counted = client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens
    usage = client.messages.create(**ARGS).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens


def test_errors_have_their_types():
    image = [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}]}]
    for error, call in [
        (anthropic.BadRequestError, lambda: client.messages.create(model=MODEL, max_tokens=5, messages=image)),
        (anthropic.NotFoundError, lambda: client.messages.create(model="other", max_tokens=5, messages=QUESTION)),
        (anthropic.AuthenticationError, lambda: client.with_options(api_key="wrong").messages.create(**ARGS)),
    ]:
        try:
            call()
            raise AssertionError(f"no {error}")
        except error:
            pass


def test_a_stream_that_is_left_is_cancelled():
    before = cancelled()
    with client.messages.stream(model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": "Write a very long story."}]) as stream:
        next(iter(stream.text_stream))
    until(lambda: cancelled() == before + 1, "the request goes on")


run(globals())
