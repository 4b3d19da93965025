"""One client's side of `clients.py`; runs in that client's own environment.

    python client_probes.py CLIENT BASE_URL KEY

Prints one JSON line for each probe: `ok`, `failed` or `absent` (the client has no such call), and
what came of it. The clients exist only in their own environments, hence `import_module`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

MODEL = "openai/gpt-4o-mini"
LIMITED = "demo/rate-limit"  # answered with 429 by the sandbox
PROMPT = "Say hello."
MESSAGES = [{"role": "user", "content": PROMPT}]
ASKS_WEATHER = "Please call get_weather for Paris."
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": PARAMETERS,
    },
}
Probes = dict[str, Callable[[], Any]]
"""What is tried, by name; each returns what is shown, and raises when the client cannot."""


class Item(BaseModel):
    name: str
    count: int


class Order(BaseModel):
    number: str
    items: list[Item]


def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return *model*'s JSON Schema with every object closed, as strict mode wants it."""
    schema = model.model_json_schema()
    for node in (schema, *schema.get("$defs", {}).values()):
        node["additionalProperties"] = False
    return schema


RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "Order", "strict": True, "schema": strict_schema(Order)},
}


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"Rain in {city}"


def joined(pieces: Iterable[str | None]) -> str:
    """Return a stream's text; it must have come in several pieces."""
    found = [piece for piece in pieces if piece]
    assert len(found) > 1, f"one piece only: {found}"
    return "".join(found)


def refused(call: Callable[[], Any], *expected: str) -> str:
    """Return the error of *call*, which must be of a class *expected* (by name)."""
    try:
        call()
    except Exception as error:  # whatever the client makes of it
        name = type(error).__name__
        assert name in expected, f"{name}: {error}"
        return f"{name}: {str(error)[:60]}"
    raise AssertionError("no error was raised")


def all_refused(bad_key: Callable[[], Any], limited: Callable[[], Any], *names: str) -> str:
    """Return both errors: of a key that is unknown, and of a rate limit."""
    of_key, of_limit = names if len(names) == 2 else names * 2
    return f"{refused(bad_key, of_key)}; {refused(limited, of_limit)}"


# --- the clients ------------------------------------------------------------------------------


def openai(base_url: str, key: str) -> Probes:
    library = import_module("openai")
    client = library.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    create = client.chat.completions.create

    def text() -> Any:
        answer = create(model=MODEL, messages=MESSAGES)
        assert answer.usage.total_tokens > 0
        return answer.choices[0].message.content

    def stream() -> str:
        chunks = list(create(model=MODEL, messages=MESSAGES, stream=True))
        assert chunks[-1].usage.total_tokens > 0
        return joined(c.choices[0].delta.content for c in chunks if c.choices)

    def tools() -> Any:
        answer = create(model=MODEL, messages=MESSAGES, tools=[WEATHER], tool_choice="required")
        turn = answer.choices[0].message
        call = turn.tool_calls[0]
        json.loads(call.function.arguments)["city"]
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        answer = create(model=MODEL, messages=[*MESSAGES, turn, result], tools=[WEATHER])
        return answer.choices[0].message.content

    def schema() -> Any:
        parse = client.chat.completions.parse
        answer = parse(model=MODEL, messages=MESSAGES, response_format=Order)
        return answer.choices[0].message.parsed.model_dump()

    def errors() -> str:
        other = client.with_options(api_key="sk-or-v1-unknown").chat.completions.create
        return all_refused(
            lambda: other(model=MODEL, messages=MESSAGES),
            lambda: create(model=LIMITED, messages=MESSAGES),
            "AuthenticationError",
            "RateLimitError",
        )

    return {
        "text": text, "stream": stream, "tools": tools, "schema": schema, "errors": errors,
        "models": lambda: [m.id for m in client.models.list()].index(MODEL) >= 0,
    }  # fmt: skip


def openrouter(base_url: str, key: str) -> Probes:
    library = import_module("openrouter")
    client = library.OpenRouter(api_key=key, server_url=base_url, retry_config=None)

    def send(of: Any = client, **options: Any) -> Any:
        return of.chat.send(**{"model": MODEL, "messages": MESSAGES} | options)

    def text() -> Any:
        answer = send()
        assert answer.usage.total_tokens > 0
        return answer.choices[0].message.content

    def stream() -> str:
        chunks = list(send(stream=True))
        assert any(chunk.usage for chunk in chunks)
        return joined(c.choices[0].delta.content for c in chunks if c.choices)

    def tools() -> Any:
        call = send(tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        turn = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
        return send(messages=[*MESSAGES, turn, result]).choices[0].message.content

    def schema() -> Any:
        content = send(response_format=RESPONSE_FORMAT).choices[0].message.content
        return Order.model_validate_json(content).model_dump()

    def models() -> Any:
        page: Any = client.models.list()
        rows = page.result.data if hasattr(page, "result") else page.data
        return f"{len(rows)} models, " + next(row.id for row in rows if row.id == MODEL)

    def current_key() -> Any:
        return client.api_keys.get_current_key_metadata().data.label

    def errors() -> str:
        other = library.OpenRouter(api_key="sk-or-v1-unknown", server_url=base_url)
        return all_refused(
            lambda: send(other),
            lambda: send(model=LIMITED, retries=None),
            "UnauthorizedResponseError",
            "TooManyRequestsResponseError",
        )

    return {
        "text": text, "stream": stream, "tools": tools, "schema": schema, "models": models,
        "key": current_key, "errors": errors,
    }  # fmt: skip


def litellm(base_url: str, key: str) -> Probes:
    library = import_module("litellm")

    def send(model: str = MODEL, **options: Any) -> Any:
        given = {"api_base": base_url, "api_key": key, "messages": MESSAGES, "max_retries": 0}
        return library.completion(f"openrouter/{model}", **given | options)

    def text() -> Any:
        answer = send()
        assert answer.usage.total_tokens > 0
        return answer.choices[0].message.content

    def tools() -> Any:
        call = send(tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls[0]
        return json.loads(call.function.arguments)["city"]

    def schema() -> Any:
        content = send(response_format=Order).choices[0].message.content
        return Order.model_validate_json(content).model_dump()

    def errors() -> str:
        return all_refused(
            lambda: send(api_key="sk-or-v1-unknown"),
            lambda: send(LIMITED),
            "AuthenticationError",
            "RateLimitError",
        )

    return {
        "text": text, "tools": tools, "schema": schema, "errors": errors,
        "stream": lambda: joined(c.choices[0].delta.content for c in send(stream=True)),
    }  # fmt: skip


def pydantic_ai(base_url: str, key: str) -> Probes:
    library = import_module("pydantic_ai")
    model_of = import_module("pydantic_ai.models.openrouter").OpenRouterModel
    provider_of = import_module("pydantic_ai.providers.openrouter").OpenRouterProvider

    def agent(name: str = MODEL, api_key: str = key, **options: Any) -> Any:
        http = import_module("openai").AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0
        )
        return library.Agent(model_of(name, provider=provider_of(openai_client=http)), **options)

    async def streamed() -> list[str]:
        async with agent().run_stream(PROMPT) as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    def schema() -> Any:
        native = agent(output_type=library.NativeOutput(Order)).run_sync(PROMPT).output
        assert agent(output_type=Order).run_sync(PROMPT).output  # as a tool call
        return native.model_dump()

    def errors() -> str:
        return all_refused(
            lambda: agent(api_key="sk-or-v1-unknown").run_sync(PROMPT),
            lambda: agent(LIMITED).run_sync(PROMPT),
            "ModelAuthenticationError",
            "ModelRateLimitError",
        )

    return {
        "text": lambda: agent().run_sync(PROMPT).output,
        "stream": lambda: joined(asyncio.run(streamed())),
        "tools": lambda: agent(tools=[get_weather]).run_sync(ASKS_WEATHER).output,
        "schema": schema,
        "errors": errors,
    }


def langchain_openrouter(base_url: str, key: str) -> Probes:
    make = import_module("langchain_openrouter").ChatOpenRouter

    def chat(name: str = MODEL, api_key: str = key) -> Any:
        return make(model=name, api_key=api_key, base_url=base_url, max_retries=0)

    def text() -> Any:
        answer = chat().invoke(PROMPT)
        assert answer.usage_metadata["total_tokens"] > 0
        return answer.content

    def tools() -> Any:
        bound = chat().bind_tools([get_weather], tool_choice="any")
        return bound.invoke(PROMPT).tool_calls[0]["args"]

    def schema() -> Any:
        for method in ("function_calling", "json_schema"):
            found = chat().with_structured_output(Order, method=method).invoke(PROMPT)
        return found.model_dump()

    def errors() -> str:
        return all_refused(
            lambda: chat(api_key="sk-or-v1-unknown").invoke(PROMPT),
            lambda: chat(LIMITED).invoke(PROMPT),
            "UnauthorizedResponseError",
            "TooManyRequestsResponseError",
        )

    return {
        "text": text, "tools": tools, "schema": schema, "errors": errors,
        "stream": lambda: joined(chunk.content for chunk in chat().stream(PROMPT)),
    }  # fmt: skip


def instructor(base_url: str, key: str) -> Probes:
    library = import_module("instructor")

    def ask(mode: Any, name: str = MODEL, api_key: str = key, **options: Any) -> Any:
        http = import_module("openai").OpenAI(base_url=base_url, api_key=api_key, max_retries=0)
        client = library.from_openai(http, mode=mode)
        given = {"messages": MESSAGES, "response_model": Order, "max_retries": 1}
        return client.chat.completions.create(model=name, **given | options)

    modes = library.Mode

    def text() -> Any:
        return ask(modes.TOOLS, response_model=None).choices[0].message.content

    def stream() -> Any:
        partials = list(ask(modes.TOOLS, response_model=library.Partial[Order], stream=True))
        assert len(partials) > 1
        return partials[-1].model_dump()

    def schema() -> Any:
        found = [ask(mode) for mode in (modes.JSON_SCHEMA, modes.JSON)]
        return found[0].model_dump()

    def errors() -> str:
        return all_refused(
            lambda: ask(modes.TOOLS, api_key="sk-or-v1-unknown"),
            lambda: ask(modes.TOOLS, LIMITED),
            "InstructorRetryException",
        )

    return {
        "text": text, "stream": stream, "schema": schema, "errors": errors,
        "tools": lambda: ask(modes.TOOLS).model_dump(),
    }  # fmt: skip


def llm(base_url: str, key: str) -> Probes:
    plugin = import_module("llm_openrouter")
    httpx = import_module("httpx")
    features = {"supports_schema": True, "supports_tools": True}

    def model(name: str = MODEL, api_key: str = key) -> Any:
        found = plugin.OpenRouterResponses(
            model_id=f"openrouter/{name}", model_name=name, api_base=base_url, **features
        )
        found.key = api_key
        return found

    def models() -> Any:
        with tempfile.TemporaryDirectory() as folder:  # as the plugin's own listing does
            path = Path(folder) / "models.json"
            rows = plugin.fetch_cached_json(f"{base_url}/models", path, cache_timeout=0)["data"]
        assert all(plugin.format_pricing(row["pricing"]) or row["name"] for row in rows)
        return next(row["name"] for row in rows if row["id"] == MODEL)

    def current_key() -> Any:  # as `llm openrouter key` does
        answer = httpx.get(f"{base_url}/auth/key", headers={"Authorization": f"Bearer {key}"})
        return answer.raise_for_status().json()["data"]["label"]

    def errors() -> str:
        return all_refused(
            lambda: model(api_key="sk-or-v1-unknown").prompt(PROMPT, stream=False).text(),
            lambda: model(LIMITED).prompt(PROMPT, stream=False).text(),
            "AuthenticationError",  # the openai SDK's own: the plugin leaves them as they are
            "RateLimitError",
        )

    return {
        "text": lambda: model().prompt(PROMPT, stream=False).text(),
        "stream": lambda: joined(model().prompt(PROMPT, stream=True)),
        "tools": lambda: model().chain(ASKS_WEATHER, tools=[get_weather]).text(),
        "schema": lambda: Order.model_validate_json(
            model().prompt(PROMPT, schema=Order, stream=False).text()
        ).model_dump(),
        "models": models,
        "key": current_key,
        "errors": errors,
    }


CLIENTS = {
    "openai": openai,
    "openrouter": openrouter,
    "litellm": litellm,
    "pydantic-ai": pydantic_ai,
    "langchain-openrouter": langchain_openrouter,
    "instructor": instructor,
    "llm": llm,
}
PROBES = ("text", "stream", "tools", "schema", "models", "key", "errors")


def outcome(probe: Callable[[], Any] | None) -> tuple[str, str]:
    if probe is None:
        return "absent", "the client has no such call"
    try:
        shown = probe()
    except Exception as error:  # whatever it is: it is what the client does
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
    return ("ok", str(shown)[:150]) if shown else ("failed", f"nothing came: {shown!r}")


def main(client: str, base_url: str, key: str) -> None:
    probes = CLIENTS[client](base_url, key)
    for name in PROBES:
        status, shown = outcome(probes.get(name))
        print(json.dumps({"probe": name, "status": status, "shown": shown}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
