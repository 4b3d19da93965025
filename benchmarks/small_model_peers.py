"""One library's side of `small_model.py`; runs in that library's own environment.

    python small_model_peers.py LIBRARY MODE BASE_URL MODEL

Prints one JSON line for each task: the object that came of it, or the class of the error. The
peers exist only in their own environments, hence `import_module`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Literal

from pydantic import BaseModel

LIMIT = 120  # tokens of an answer


class Person(BaseModel):
    name: str
    age: int


class Order(BaseModel):
    item: str
    pieces: int


class Colour(BaseModel):
    colour: Literal["red", "green", "blue"]


class Place(BaseModel):
    city: str
    country: Literal["France", "Italy", "Spain"]


TASKS: list[tuple[str, type[BaseModel], dict[str, Any]]] = [
    ("Anna is 31 years old. Extract name and age.", Person, {"name": "Anna", "age": 31}),
    ("Bob, aged 7, likes cats. Extract name and age.", Person, {"name": "Bob", "age": 7}),
    ("I order 3 pens. Extract item and pieces.", Order, {"item": "pens", "pieces": 3}),
    ("The sky is blue. Extract the colour.", Colour, {"colour": "blue"}),
    ("Rome is in Italy. Extract city and country.", Place, {"city": "Rome", "country": "Italy"}),
]
"""What is asked, the type, and the right answer."""
Ask = Callable[[str, type[BaseModel]], Awaitable[BaseModel]]


def llm_router(mode: str, base_url: str, model: str) -> Ask:
    params = {"temperature": 0, "max_tokens": LIMIT}
    library: Any = import_module("llm_router")
    router = library.Router.from_dict(
        {
            "providers": {"local": {"litellm": "openai", "base_url": base_url, "api_key": "none"}},
            "aliases": {"extract": {"model": f"local/{model}", "params": params}},
        }
    )

    async def ask(prompt: str, kind: type[BaseModel]) -> BaseModel:
        answer = await router.parse("extract", prompt, schema=kind, mode=mode, max_reasks=1)
        found: BaseModel = answer.parsed
        return found

    return ask


def instructor(mode: str, base_url: str, model: str) -> Ask:
    library = import_module("instructor")
    http = import_module("openai").AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    client = library.from_openai(http, mode=getattr(library.Mode, mode))

    async def ask(prompt: str, kind: type[BaseModel]) -> BaseModel:
        found: BaseModel = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": prompt}],
            response_model=kind,
            max_retries=1,
            temperature=0,
            max_tokens=LIMIT,
        )
        return found

    return ask


def pydantic_ai(mode: str, base_url: str, model: str) -> Ask:
    library = import_module("pydantic_ai")
    chat = import_module("pydantic_ai.models.openai").OpenAIChatModel
    provider = import_module("pydantic_ai.providers.openai").OpenAIProvider
    served = chat(model, provider=provider(base_url=base_url, api_key="none"))
    settings = {"temperature": 0, "max_tokens": LIMIT}

    async def ask(prompt: str, kind: type[BaseModel]) -> BaseModel:
        wanted = getattr(library, mode)(kind)
        agent = library.Agent(served, output_type=wanted, retries=1, model_settings=settings)
        found: BaseModel = (await agent.run(prompt)).output
        return found

    return ask


LIBRARIES = {"llm_router": llm_router, "instructor": instructor, "pydantic-ai": pydantic_ai}


async def main(library: str, mode: str, base_url: str, model: str) -> None:
    ask = LIBRARIES[library](mode, base_url, model)
    for prompt, kind, _ in TASKS:
        try:
            shown: Any = (await ask(prompt, kind)).model_dump(mode="json")
        except Exception as error:  # whatever it is: it is what the library does
            shown = type(error).__name__
        print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
