"""Answers every request with the same bytes: a text of 1 KB, or a stream of 100 chunks.

Run by `overhead.py` in a process of its own; prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from aiohttp import web

CHUNKS = 100
USAGE = {
    "prompt_tokens": 300, "completion_tokens": 200, "total_tokens": 500, "cost": 0.000165,
    "is_byok": False, "cost_details": {"upstream_inference_cost": 0.000165},
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}  # fmt: skip
HEAD = {
    "id": "gen-1760000000-abcdefghijklmnopqrst", "created": 1760000000, "provider": "Azure",
    "model": "openai/gpt-4o-mini",
}  # fmt: skip


def _text() -> bytes:
    message = {"role": "assistant", "content": "word " * 200, "refusal": None, "reasoning": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop",
              "native_finish_reason": "completed", "logprobs": None}  # fmt: skip
    return json.dumps(
        HEAD | {"object": "chat.completion", "choices": [choice], "usage": USAGE}
    ).encode()


def _chunk(content: str, finish: str | None = None, **extra: object) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content},
              "finish_reason": finish, "native_finish_reason": finish}  # fmt: skip
    body = HEAD | {"object": "chat.completion.chunk", "choices": [choice]} | extra
    return b"data: " + json.dumps(body).encode() + b"\n\n"


TEXT = _text()
STREAM = [_chunk("word ") for _ in range(CHUNKS)]
STREAM += [_chunk("", "stop"), _chunk("", "stop", usage=USAGE), b"data: [DONE]\n\n"]


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    if request.method != "POST":
        return web.Response(status=404)
    if b'"stream":true' not in (await request.read()).replace(b" ", b""):
        return web.Response(body=TEXT, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in STREAM:
        await response.write(piece)
    return response


async def main() -> None:
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asyncio.run(main())
