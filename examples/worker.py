"""A worker: reads texts, one a line, and writes what it found in each as a line of JSON.

printf 'Middlemarch, 880 pages\n' | python examples/worker.py
"""

from __future__ import annotations

import asyncio
import json
import sys

from pydantic import BaseModel

from llm_router import LLMRouterError, Router


class Book(BaseModel):
    """A book, as a customer describes it."""

    title: str
    pages: int


async def found_in(router: Router, text: str) -> dict[str, object]:
    try:
        reply = await router.parse("extract", text, schema=Book, deadline=60)
    except LLMRouterError as error:
        return {"text": text, "error": str(error)}
    return {"text": text, "book": reply.parsed.model_dump(), "usd": str(reply.cost.total)}


async def main() -> None:
    lines = [line.strip() for line in sys.stdin if line.strip()]
    async with Router.from_yaml() as router:
        for done in asyncio.as_completed([found_in(router, line) for line in lines]):
            print(json.dumps(await done))


if __name__ == "__main__":
    asyncio.run(main())
