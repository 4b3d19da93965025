"""A server on loopback that answers what a test scripts and keeps what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from llm_router.config.model import ProviderConfig
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.providers.base import Chat
from llm_router.providers.registry import build_provider

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(**fields: Any) -> dict[str, Any]:
    """A chat completion as a local server sends it, with *fields* over it."""
    message = {"role": "assistant", "content": "hi"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "c-1", "object": "chat.completion", "created": 7, "model": "served-model"}
    return body | {"choices": [choice], "usage": usage} | fields


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> str:
    """One event of a stream."""
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    body = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "served-model"}
    return f"data: {json.dumps(body | {'choices': choices} | fields)}\n\n"


DONE = "data: [DONE]\n\n"


@dataclass
class Wire:
    """What was sent, and what to answer next (the last reply stays)."""

    url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    replies: list[Handler] = field(default_factory=list)
    open_streams: int = 0
    server: Any = None

    @property
    def connections(self) -> int:
        """How many are open at this moment."""
        return len(self.server.connections)

    def json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)

        async def reply(_: web.Request) -> web.Response:
            return web.Response(
                text=text, status=status, headers=headers, content_type="application/json"
            )

        self.replies.append(reply)

    def sse(self, *events: str, cut: bool = False, stall: asyncio.Event | None = None) -> None:
        async def reply(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            self.open_streams += 1
            try:
                for event in events:
                    await response.write(event.encode())
                    await asyncio.sleep(0)
                if stall is not None:
                    while not stall.is_set():
                        await response.write(b": waiting\n\n")
                        await asyncio.sleep(0.01)
                if cut and request.transport is not None:
                    request.transport.abort()
            finally:
                self.open_streams -= 1
            return response

        self.replies.append(reply)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":  # OpenRouter's catalogue
            return web.Response(status=404)
        raw = await request.read()
        self.requests.append(request)
        self.bodies.append(json.loads(raw) if raw else None)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await reply(request)


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """Serve for as long as the block runs."""
    served = Wire()
    app = web.Application(client_max_size=10**9)
    app.router.add_route("*", "/{path:.*}", served.handle)
    # As in `loopback`: a client that leaves cancels its handler.
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    served.server = runner.server
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    served.url = f"http://{host}:{port}/v1"
    try:
        yield served
    finally:
        await runner.cleanup()


@asynccontextmanager
async def provider(
    url: str | None, litellm: str = "openai", name: str = "local", **row: Any
) -> AsyncIterator[Chat]:
    """A provider for *url*, closed at the end."""
    if "api_key" in row:
        row["api_key"] = SecretStr(row["api_key"])
    made = build_provider(name, ProviderConfig(litellm=litellm, base_url=url, **row))
    try:
        yield made
    finally:
        await made.aclose()


def ask(model: str = "some/model", provider: str = "local", **options: Any) -> ProviderRequest:
    """A request as the attempt loop makes it."""
    return ProviderRequest(
        deployment=Deployment(provider=provider, model=model),
        messages=options.pop("messages", [{"role": "user", "content": "Hello"}]),
        **options,
    )
