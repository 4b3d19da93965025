"""A server of bodies of megabytes, in a process of its own: `python -m tests.router.large_bodies`.

It prints its port. The last part of the model's name says what is answered; a server in the
process under test would hold the interpreter's lock that the tests look for.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any

MIB = 2**20
SIZE = 5 * MIB
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cost": 0.0000039}
HEAD = {"id": "gen-1-large", "model": "openai/large", "provider": "Azure", "created": 1766949599}


def answer(message: dict[str, Any], **choice: Any) -> bytes:
    one = {"index": 0, "message": {"role": "assistant", "content": ""} | message}
    ended = {"finish_reason": "stop", "native_finish_reason": "stop"}
    return json.dumps(HEAD | {"choices": [one | ended | choice], "usage": USAGE}).encode()


def filled(piece: Any, size: int = SIZE) -> list[Any]:
    """Return as many of *piece* as make *size* bytes of JSON."""
    return [piece] * (size // (len(json.dumps(piece)) + 2))


def events(deltas: Iterable[dict[str, Any]]) -> bytes:
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas] + [ended]
    lines = [f"data: {json.dumps(HEAD | chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def vectors(numbers: Any, texts: int) -> bytes:
    data = [{"object": "embedding", "index": n, "embedding": numbers} for n in range(texts)]
    return json.dumps(HEAD | {"data": data, "usage": USAGE}).encode()


def catalogue() -> bytes:
    prices = {"prompt": "0.00000015", "completion": "0.0000006"}
    words = ["temperature", "top_p", "tools", "tool_choice", "seed", "stop", "reasoning"]
    model = {"name": "A model", "description": "It is one. " * 60, "context_length": 128_000}
    model |= {"pricing": prices, "supported_parameters": words}
    return json.dumps({"data": [{"id": f"a/m{n}"} | model for n in range(SIZE // 1_000)]}).encode()


TOKEN = {"token": "word", "logprob": -0.123456, "bytes": [119, 111, 114, 100], "top_logprobs": []}
ROW = {"name": "Ada", "year": 1815, "share": 0.25, "of": ["one", "two"]}
ROWS = {"rows": filled(ROW)}
CALL = {"id": "c", "index": 0, "function": {"name": "f", "arguments": json.dumps(ROWS)}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * SIZE}}
BODIES = {
    "text": answer({"content": "Words of all kinds. " * (SIZE // 20)}),
    "half-letters": answer({"content": "\ud83d " * (SIZE // 7)}),
    "logprobs": answer({"content": "x"}, logprobs={"content": filled(TOKEN)}),
    "details": answer({"reasoning_details": filled({"type": "reasoning.text", "text": "hm"})}),
    "call": answer({"tool_calls": [CALL]}),
    "picture": answer({"images": [PICTURE]}),
    # jsonschema takes two seconds a MiB, pydantic holds the interpreter's lock for 20 ms a MiB.
    "rows": answer({"content": json.dumps({"rows": filled(ROW, MIB)})}),
    "unreadable": answer({"content": "x" * SIZE})[:-1],
    "page": b"<html><title>" + b"<p> words " * (SIZE // 10),
    "stream": events({"content": "word "} for _ in range(SIZE // 250)),
    "one-event": events([{"content": "word " * (SIZE // 5)}]),
    "one-dense-event": events([{"tool_calls": [CALL]}]),
    "cut-call": events([{"tool_calls": [CALL]}])[:-400],
    "one-picture": events([{"images": [PICTURE]}]),
    "stream-of-calls": events(
        {"tool_calls": [{"index": 0, "function": {"arguments": "[],"}}]} for _ in range(SIZE // 300)
    ),
    "floats": vectors(filled(-0.0123456789, SIZE // 256), 256),
    "base64": vectors("AACAPwAAgD8AAIA/" * (SIZE // 4_096), 256),
    "error": json.dumps({"error": {"code": 400, "message": "x " * (SIZE // 2)}}).encode(),
    "dense-error": json.dumps({"error": {"code": 400, "metadata": {"raw": filled([])}}}).encode(),
    "models": catalogue(),
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await _head(reader):
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        asked = re.search(rb'"model":"[a-z/]*large/([a-z0-9-]+)"', body)
        name = asked[1].decode() if asked else "models"
        status = b"400 Bad" if name.endswith("error") else b"200 OK"
        answered = BODIES[name]
        kind = b"text/event-stream" if b'"stream":true' in body else b"application/json"
        writer.write(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (status, kind, len(answered), answered)
        )
        await writer.drain()
    writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
