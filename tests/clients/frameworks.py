"""What people put before a server: LangChain, LlamaIndex, and a LiteLLM proxy."""

import json
import os
import subprocess
import sys
import tempfile

import openai
from common import *
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai_like import OpenAILike

PROXY_PORT = int(os.environ["PROXY_PORT"])


def test_langchain_chats_streams_calls_tools_and_follows_schemas():
    chat = ChatOpenAI(model=MODEL, base_url=f"{BASE}/v1", api_key=KEY, max_tokens=120, temperature=0, max_retries=0)
    whole = chat.invoke("What is the capital of France?")
    assert whole.content and whole.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.content for chunk in chat.stream("What is the capital of France?")) == whole.content

    @tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        return "sunny"

    bound = chat.bind_tools([get_weather], tool_choice="get_weather")
    call = bound.invoke("Weather in Paris?")
    assert call.tool_calls[0]["name"] == "get_weather" and "city" in call.tool_calls[0]["args"]
    result = ToolMessage("sunny", tool_call_id=call.tool_calls[0]["id"])
    assert chat.invoke([HumanMessage("Weather in Paris?"), call, result]).content
    schema = {"title": "city", **CITY}
    assert is_city(chat.with_structured_output(schema, method="json_schema").invoke("Tell me of Paris"))


def test_langchain_embeds():
    args = dict(model=EMBEDDER, base_url=f"{BASE}/v1", api_key=KEY, max_retries=0)
    # It would else send token ids of a vocabulary of OpenAI's.
    embeddings = OpenAIEmbeddings(check_embedding_ctx_length=False, **args)
    assert finds_its_answer(embeddings.embed_query(ASKED), embeddings.embed_documents(TEXTS))


def test_llama_index_embeds():
    embedding = OpenAIEmbedding(model_name=EMBEDDER, api_base=f"{BASE}/v1", api_key=KEY, max_retries=0)
    assert finds_its_answer(embedding.get_query_embedding(ASKED), embedding.get_text_embedding_batch(TEXTS))


def test_llama_index_chats_and_streams():
    llm = OpenAILike(model=MODEL, api_base=f"{BASE}/v1", api_key=KEY, is_chat_model=True, max_tokens=24, temperature=0, max_retries=0)
    ask = [ChatMessage(role="user", content="What is the capital of France?")]
    whole = llm.chat(ask).message.content
    assert whole
    assert "".join(part.delta or "" for part in llm.stream_chat(ask)) == whole


def test_litellm_proxy_passes_chats_streams_and_tools_on():
    key = "sk-" + "0123456789abcdef" * 4
    config = {"general_settings": {"master_key": key}, "model_list": [{"model_name": "small", "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{BASE}/v1", "api_key": KEY}}, {"model_name": "vectors", "litellm_params": {"model": f"openai/{EMBEDDER}", "api_base": f"{BASE}/v1", "api_key": KEY}}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config, file)
        file.flush()
        litellm = os.path.join(os.path.dirname(sys.executable), "litellm")
        proxy = subprocess.Popen(
            [litellm, "--config", file.name, "--port", str(PROXY_PORT), "--host", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "NO_DOCS": "True", "LITELLM_TELEMETRY": "False"},
        )
        try:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{PROXY_PORT}", api_key=key, max_retries=0, timeout=60)

            def is_up():
                assert proxy.poll() is None, "the proxy has ended"
                try:
                    return bool(list(client.models.list()))
                except openai.APIConnectionError:
                    return False

            until(is_up, "the proxy does not come up", seconds=90)
            args = dict(model="small", messages=QUESTION, max_tokens=24, temperature=0)
            whole = client.chat.completions.create(**args).choices[0].message.content
            assert whole
            parts = client.chat.completions.create(stream=True, **args)
            assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == whole
            tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
            call = client.chat.completions.create(**{**args, "max_tokens": 90}, tools=tools, tool_choice="required", parallel_tool_calls=False)
            assert is_weather(json.loads(call.choices[0].message.tool_calls[0].function.arguments))
            vectors = [item.embedding for item in client.embeddings.create(model="vectors", input=[ASKED, *TEXTS]).data]
            assert finds_its_answer(vectors[0], vectors[1:])
        finally:
            proxy.terminate()
            proxy.wait()


run(globals())
