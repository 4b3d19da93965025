"""Answers every request with the same bytes: a text of 1 KB, or a stream of 100 chunks.

Run by `overhead.py` and `other_wires.py` in a process of its own; prints its port. The address
that is asked says whose wire to speak: OpenRouter's, Anthropic's or Gemini's.
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


def _event(body: dict[str, object]) -> bytes:
    named = f"event: {body['type']}\n" if "type" in body else ""
    return f"{named}data: {json.dumps(body)}\n\n".encode()


def _anthropic() -> tuple[bytes, list[bytes]]:
    usage = {"input_tokens": 300, "output_tokens": 200, "cache_read_input_tokens": 0,
             "cache_creation_input_tokens": 0}  # fmt: skip
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
               "content": [{"type": "text", "text": "word " * 200}], "stop_reason": "end_turn",
               "stop_sequence": None, "usage": usage}  # fmt: skip
    begin = message | {"content": [], "stop_reason": None}
    block = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": "word "}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": begin},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *[{"type": "content_block_delta", "index": 0, "delta": delta}] * CHUNKS,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "usage": usage,
         "delta": {"stop_reason": "end_turn", "stop_sequence": None}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return json.dumps(message).encode(), list(map(_event, events))


def _gemini_answer(text: str, finish: str | None = None) -> dict[str, object]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    usage = {"promptTokenCount": 300, "candidatesTokenCount": 200, "totalTokenCount": 500}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})],
            "usageMetadata": usage, "modelVersion": "gemini-2.5-flash",
            "responseId": "r1"}  # fmt: skip


def _gemini() -> tuple[bytes, list[bytes]]:
    whole = _gemini_answer("word " * 200, "STOP")
    stream = [_event(_gemini_answer("word "))] * CHUNKS + [_event(_gemini_answer("", "STOP"))]
    return json.dumps(whole).encode(), stream


_STREAM = [_chunk("word ") for _ in range(CHUNKS)]
_STREAM += [_chunk("", "stop"), _chunk("", "stop", usage=USAGE), b"data: [DONE]\n\n"]
WIRES = {"/messages": _anthropic(), "enerateContent": _gemini(), "": (_text(), _STREAM)}


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    if request.method != "POST":
        return web.Response(status=404)
    text, stream = next(spoken for part, spoken in WIRES.items() if part in request.path)
    body = (await request.read()).replace(b" ", b"")
    if b'"stream":true' not in body and ":stream" not in request.path:
        return web.Response(body=text, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in stream:
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
