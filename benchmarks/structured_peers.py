"""One library's side of `compare_structured.py`; runs in that library's own environment.

    python structured_peers.py LIBRARY BASE_URL KEY CALLS

The peers' packages exist only in their own environments, hence the ignored imports.
Prints one JSON line for each scenario: what came of it, and the CPU time per object of `plain`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

MODEL = "openai/gpt-4o-mini"
SCENARIOS = (
    "plain", "fence", "prose", "think", "trailing_comma", "wrong_type_once", "wrong_type_always",
    "truncated", "refusal", "defaults",
)  # fmt: skip


class Item(BaseModel):
    name: str
    count: int = 1


class Order(BaseModel):
    number: str
    items: list[Item]


Ask = Callable[[str], Awaitable[Order]]


def llm_router(base_url: str, key: str) -> Ask:
    from llm_router import Router

    row = {"api_key": key, "base_url": base_url}
    alias = {"model": f"openrouter/{MODEL}", "params": {"max_tokens": 500}}
    router = Router.from_dict({"providers": {"openrouter": row}, "aliases": {"extract": alias}})

    async def ask(prompt: str) -> Order:
        return (await router.parse("extract", prompt, schema=Order)).parsed

    return ask


def instructor(base_url: str, key: str) -> Ask:
    import instructor as library  # type: ignore[import-not-found]
    from openai import AsyncOpenAI

    client = library.from_openai(AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0))

    async def ask(prompt: str) -> Order:
        messages = [{"role": "user", "content": prompt}]
        found: Order = await client.chat.completions.create(
            model=MODEL, messages=messages, response_model=Order, max_retries=3, max_tokens=500
        )
        return found

    return ask


def pydantic_ai(base_url: str, key: str) -> Ask:
    from pydantic_ai import Agent  # type: ignore[import-not-found]
    from pydantic_ai.models.openai import OpenAIChatModel  # type: ignore[import-not-found]
    from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found]

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=base_url, api_key=key))
    agent = Agent(model, output_type=Order, retries=2, model_settings={"max_tokens": 500})

    async def ask(prompt: str) -> Order:
        found: Order = (await agent.run(prompt)).output
        return found

    return ask


async def outcome(ask: Ask, scenario: str) -> str:
    try:
        order = await ask(f"scenario:{scenario}")
    except Exception as error:  # Whatever it is: it is what the library does.
        return f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"
    return order.model_dump_json()


async def cpu_per_object(ask: Ask, calls: int) -> float:
    """Return seconds of this process's CPU for one parsed object."""
    for _ in range(10):
        await ask("scenario:plain")
    start = time.process_time()
    for _ in range(calls):
        await ask("scenario:plain")
    return (time.process_time() - start) / calls


async def main(library: str, base_url: str, key: str, calls: int) -> None:
    makers = {"llm_router": llm_router, "instructor": instructor, "pydantic-ai": pydantic_ai}
    ask = makers[library](base_url, key)
    for scenario in SCENARIOS:
        line: dict[str, Any] = {"scenario": scenario, "outcome": await outcome(ask, scenario)}
        if scenario == "plain":
            line["cpu"] = await cpu_per_object(ask, calls)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
