"""A bare HTTP server on 127.0.0.1 whose every byte the test decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from llm_router.config.model import AppConfig, ProviderConfig
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.providers.openrouter.provider import OpenRouterProvider

KEY = "sk-or-v1-0123456789abcdef"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.000125}
ANSWER = {
    "id": "gen-1",
    "model": "openai/gpt-4o-mini",
    "provider": "Azure",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
    ],
    "usage": USAGE,
}
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """What came in. `posts` are the bodies of the calls, as JSON."""

    url: str = ""
    received: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    posts: list[Any] = field(default_factory=list)
    server: Any = None

    @property
    def connections(self) -> int:
        return len(self.server.connections)

    async def empties(self) -> bool:
        """Wait until no connection is open, two seconds at most."""
        for _ in range(200):
            if not self.connections:
                return True
            await asyncio.sleep(0.01)
        return False


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response(ANSWER)


@asynccontextmanager
async def serving(handler: Handler = answer) -> AsyncIterator[Server]:
    """Serve; `/models` is not there unless the handler is asked for everything."""
    seen = Server()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.received.append((request.method, request.path, dict(request.headers)))
        if request.method == "POST":
            # Not `request.read()`, which stops at 1 MiB.
            pieces = [piece async for piece in request.content.iter_any()]
            seen.posts.append(json.loads(b"".join(pieces)))
        elif request.path.endswith("/models") and handler is answer:
            return web.Response(status=404)
        return await handler(request)

    seen.server = web.Server(handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(seen.server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    seen.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    try:
        yield seen
    finally:
        await runner.cleanup()


@asynccontextmanager
async def provider_at(
    url: str, *, cache_dir: Path | None = None, **row: Any
) -> AsyncIterator[OpenRouterProvider]:
    config = ProviderConfig(**{"api_key": KEY, "base_url": url} | row)
    provider = OpenRouterProvider("openrouter", config, cache_dir=cache_dir)
    await provider.open()
    try:
        yield provider
    finally:
        await provider.aclose()


def asking(model: str = "openai/gpt-4o-mini", **fields: Any) -> ProviderRequest:
    fields.setdefault("messages", [{"role": "user", "content": "Hello"}])
    return ProviderRequest(
        deployment=Deployment(provider="openrouter", model=model),
        **fields,
    )


def chunk(text: str | None = None, **extra: Any) -> bytes:
    """Return one data event of a stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text or ""}}
    finish = extra.pop("finish_reason", None)
    body = {"id": "gen-1", "model": "openai/gpt-4o-mini", "provider": "Azure"}
    body |= {"choices": [choice | {"finish_reason": finish}]} | extra
    return b"data: " + json.dumps(body).encode() + b"\n\n"


END = chunk(finish_reason="stop") + chunk(finish_reason="stop", usage=USAGE) + b"data: [DONE]\n\n"
APP = AppConfig(title="Weather", url="https://weather.example", categories=("cli-agent",))
