"""OpenAI's Python client: chats, completions, responses."""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
from common import *

client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=60)
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER, "strict": True}}]


def test_models():
    assert MODEL in [model.id for model in client.models.list()]


def test_chat_and_stream_say_the_same():
    args = dict(model=MODEL, messages=QUESTION, max_tokens=24, temperature=0)
    whole = client.chat.completions.create(**args)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0 and whole.usage.total_tokens > whole.usage.prompt_tokens
    text, usage = "", None
    for chunk in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **args):
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == whole.choices[0].message.content and usage.completion_tokens == whole.usage.completion_tokens


def test_choices_and_logprobs():
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, n=3, seed=1, temperature=1, max_tokens=5, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        assert choice.logprobs.content and len(choice.logprobs.content[0].top_logprobs) == 2


def test_completions_with_several_prompts_and_echo():
    answer = client.completions.create(model=MODEL, prompt=["One, two,", "A, B,"], max_tokens=4, echo=True, logprobs=1)
    assert answer.choices[1].text.startswith("A, B,") and answer.choices[0].logprobs.token_logprobs[0] is None
    best = client.completions.create(model=MODEL, prompt="One", max_tokens=4, best_of=3, n=1)
    assert len(best.choices) == 1 and best.usage.completion_tokens > 4


def test_json_schema():
    schema = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, response_format=schema, max_tokens=120)
    assert is_city(json.loads(answer.choices[0].message.content))


def test_tools_whole_streamed_and_answered():
    args = dict(model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=90)
    message = client.chat.completions.create(**args).choices[0].message
    assert message.tool_calls[0].function.name == "get_weather"
    assert is_weather(json.loads(message.tool_calls[0].function.arguments))
    with client.chat.completions.stream(**args) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert is_weather(json.loads(final.message.tool_calls[0].function.arguments))
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    history = QUESTION + [message.model_dump(exclude_none=True), result]
    again = client.chat.completions.create(model=MODEL, messages=history, tools=TOOLS, tool_choice="none", max_tokens=20)
    assert again.choices[0].message.content


def test_errors_have_their_types_and_name_the_field():
    try:
        client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=-1)
        raise AssertionError("accepted")
    except openai.BadRequestError as error:
        assert error.param == "temperature"
    try:
        client.chat.completions.create(model="other", messages=QUESTION)
        raise AssertionError("accepted")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
    try:
        client.with_options(api_key="wrong").models.list()
        raise AssertionError("accepted")
    except openai.AuthenticationError:
        pass


def test_a_stream_that_is_left_is_cancelled():
    before = cancelled()
    stream = client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, max_tokens=4000, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    until(lambda: cancelled() == before + 1, "the request goes on")
    until(lambda: running() == 0, "something runs")


def test_a_busy_server_is_asked_again():
    """The server takes few requests at once; the client comes back when it is told to."""
    patient = client.with_options(max_retries=20)
    ask = lambda i: patient.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=40, seed=i, extra_body={"ignore_eos": True})
    rejected = f'flambeau_requests_total{{model="{MODEL}",tier="primary",outcome="rejected"}}'
    before = metric(rejected)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert all(answer.usage.completion_tokens == 40 for answer in answers)
    assert metric(rejected) > before, "nobody was refused: the test shows nothing"


def test_embeddings():
    answer = client.embeddings.create(model=EMBEDDER, input=[ASKED, *TEXTS])
    question, *texts = [item.embedding for item in answer.data]
    assert len(question) == 384 and finds_its_answer(question, texts) and answer.usage.total_tokens > 20
    # The client asks for base64 unless it is told otherwise.
    floats = client.embeddings.create(model=EMBEDDER, input=ASKED, encoding_format="float").data[0].embedding
    assert max(abs(x - y) for x, y in zip(floats, question)) < 1e-7
    short = client.embeddings.create(model=EMBEDDER, input=ASKED, dimensions=64).data[0].embedding
    assert len(short) == 64 and abs(similarity(short, short) - 1) < 1e-5
    long = "A sentence about nothing. " * 200
    try:
        client.embeddings.create(model=EMBEDDER, input=[ASKED, long])
        raise AssertionError("a long text was embedded in part")
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded" and error.param == "input[1]", error
    try:
        client.embeddings.create(model=EMBEDDER, input=[[9906, 1917]])
        raise AssertionError("token ids of another vocabulary were embedded")
    except openai.BadRequestError as error:
        assert "check_embedding_ctx_length=False" in str(error), error
    whole = client.embeddings.create(model=EMBEDDER, input=long, extra_body={"long_input": "mean_of_chunks"})
    assert whole.usage.prompt_tokens > 1000


def test_responses():
    args = dict(model=MODEL, input="What is 2+2?", max_output_tokens=100, temperature=0)
    whole = client.responses.create(**args)
    assert whole.status == "completed" and whole.output_text and whole.usage.output_tokens > 0
    with client.responses.stream(**args) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == whole.output_text
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    schema = {"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}}
    assert is_city(json.loads(client.responses.create(model=MODEL, input="Paris", text=schema).output_text))
    tool = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}
    call = client.responses.create(model=MODEL, input="Paris", tools=[tool], tool_choice="required", parallel_tool_calls=False).output[0]
    assert call.type == "function_call" and is_weather(json.loads(call.arguments))
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    history = [{"role": "user", "content": "Paris"}, call.model_dump(exclude_none=True), output]
    assert client.responses.create(model=MODEL, input=history, max_output_tokens=20).output


run(globals())
