"""A web service: one Router for the process, an answer as it comes, an error as a status.

llm-router sandbox &  eval "$(llm-router sandbox --export)"
python examples/service.py 8000
curl -N "http://127.0.0.1:8000/ask?question=Why+is+the+sky+blue?"
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from llm_router import LLMRouterError, RateLimitError, Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUTER = web.AppKey("router", Router)


async def with_router(app: web.Application) -> AsyncIterator[None]:
    async with Router.from_yaml() as app[ROUTER]:
        yield


async def ask(request: web.Request) -> web.StreamResponse:
    """Send the answer as server-sent events; a reader who leaves ends the call."""
    router, question = request.app[ROUTER], request.query["question"]
    events = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        async with router.stream("fast", question, tags={"route": "ask"}) as stream:
            await events.prepare(request)
            async for text in stream.text_stream:
                await events.write(f"data: {json.dumps(text)}\n\n".encode())
    except LLMRouterError as error:
        if not events.prepared:
            status = 429 if isinstance(error, RateLimitError) else 502
            return web.json_response({"error": error.message}, status=status)
        await events.write(f"event: error\ndata: {json.dumps(error.message)}\n\n".encode())
    return events


def application() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(with_router)
    app.router.add_get("/ask", ask)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]))
