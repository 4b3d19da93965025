"""What models that write no text answer: each operation's body, from the request alone."""

from __future__ import annotations

import base64
import math
import random
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_router.testing.billing import texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.testing.answers import Answer
    from llm_router.testing.catalog import Output, SandboxModel
    from llm_router.testing.replies import ChatRequest

_DOCUMENTS_PER_UNIT = 100
_BYTES_PER_SECOND = 16_000
_SEARCH = "openrouter:web_search"
_SAID = re.compile(rb"said:([^\0]*)\0")


class Kind(NamedTuple):
    """How an operation answers."""

    prefix: str
    """What its ids have between `gen-` and the time."""
    api_type: str
    """What `/generation` calls it."""
    body: Callable[[Answer], dict[str, Any]]
    """The JSON body, but for `usage`."""
    nothing: Mapping[str, Any]
    """The fields of a body with no answer in it."""


def units(request: ChatRequest, model: SandboxModel) -> int:
    """Return what is billed beside tokens, as `billing` says."""
    body = request.body
    if model.output == "rerank":
        return math.ceil(len(body["documents"]) / _DOCUMENTS_PER_UNIT)
    if model.output == "transcription":
        return math.ceil(len(_sound_in(body)) / _BYTES_PER_SECOND)
    if model.output == "image":
        return int(body.get("n") or 1)
    if model.output == "speech":
        return len(body["input"])
    return int(searches(body)) if model.output == "text" else 0


def searches(body: Mapping[str, Any]) -> bool:
    """Return whether a chat has to search the web."""
    return (body.get("tool_choice") or "auto") == {"type": _SEARCH}


def found(query: str) -> list[dict[str, Any]]:
    """Return the annotations of a chat that searched."""
    cited = {"title": query[:80], "content": f"All about {query[:80]}", "start_index": 0}
    citation = {"url": "https://example.com/found", **cited, "end_index": 4}
    return [{"type": "url_citation", "url_citation": citation}]


def drawn(prompt: str) -> list[dict[str, Any]]:
    """Return the images of a chat that draws."""
    data = base64.b64encode(picture(prompt)).decode()
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]


def _embeddings(answer: Answer) -> dict[str, Any]:
    body = answer.request.body
    size = int(body.get("dimensions") or answer.model.dimensions or 1)
    vectors = [unit_vector(text, size) for text in texts_in(body)]
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": _packed(v) if packed else v}
        for i, v in enumerate(vectors)
    ]
    # As recorded: no `created`, and the model without its author.
    return {
        "id": answer.id,
        "object": "list",
        "model": answer.model.echoed.rpartition("/")[2],
        "provider": answer.upstream.name,
        "data": data,
    }


def _ranking(answer: Answer) -> dict[str, Any]:
    """Score each document by the share of the query's words that it has."""
    body = answer.request.body
    asked = set(body["query"].lower().split())
    scored: list[dict[str, Any]] = []
    for index, given in enumerate(body["documents"]):
        document = {"text": given} if isinstance(given, str) else given
        words = set(document.get("text", "").lower().split())
        score = len(asked & words) / max(len(asked), 1)
        scored.append({"index": index, "relevance_score": score, "document": document})
    scored.sort(key=lambda result: -result["relevance_score"])
    return {
        "id": answer.id,
        "model": answer.model.echoed.rpartition("/")[2],
        "provider": answer.upstream.name,
        "results": scored[: body.get("top_n")],
    }


def _images(answer: Answer) -> dict[str, Any]:
    body = answer.request.body
    data = base64.b64encode(picture(body["prompt"])).decode()
    image = {"b64_json": data, "media_type": "image/png"}
    return {"created": answer.created, "data": [image] * int(body.get("n") or 1)}


def _transcription(answer: Answer) -> dict[str, Any]:
    """Write down what `sound` of this sandbox says; of other sound that there was some."""
    body = answer.request.body
    heard = _SAID.search(_sound_in(body))
    text = heard[1].decode() if heard else "Somebody speaks."
    if body.get("response_format") != "verbose_json":
        return {"text": text}
    end = answer.tokens.units
    spans = {
        "segment": ("segments", [{"id": 0, "start": 0, "end": end, "text": text}]),
        "word": ("words", [{"start": 0, "end": end, "word": word} for word in text.split()]),
    }
    asked = body.get("timestamp_granularities") or ["segment"]
    timed = dict(spans[name] for name in asked)
    return {"task": "transcribe", "language": "english", "duration": end, "text": text, **timed}


def sound(answer: Answer) -> bytes:
    """Return a moment of silence, in which the text that was to be spoken is written."""
    body = answer.request.body
    if body.get("response_format") != "mp3":
        return bytes(4_800)
    text: str = body["input"]
    said = b"said:" + text.encode() + b"\0"
    size = bytes(len(said) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + size + said + b"\xff\xfb\x90\x00" + bytes(413)


def picture(prompt: str) -> bytes:
    """Return a PNG of one pixel, whose colour the prompt decides."""
    colour = bytes(zlib.crc32(prompt.encode()) >> shift & 0xFF for shift in (0, 8, 16))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + colour)),
        (b"IEND", b""),
    )
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def media_type(answer: Answer) -> str:
    """Return the content type of an answer that is no stream."""
    if answer.model.output != "speech":
        return "application/json"
    mp3 = answer.request.body.get("response_format") == "mp3"
    return "audio/mpeg" if mp3 else "audio/pcm;rate=24000;channels=1"


def _sound_in(body: Mapping[str, Any]) -> bytes:
    data: str = body["input_audio"]["data"]
    return base64.b64decode(data)


KINDS: dict[Output, Kind] = {
    "embeddings": Kind("emb-", "embeddings", _embeddings, {"data": []}),
    "rerank": Kind("rerank-", "rerank", _ranking, {"results": []}),
    "image": Kind("img-", "image", _images, {"data": []}),
    "transcription": Kind("stt-", "stt", _transcription, {"text": "", "usage": {}}),
    "speech": Kind("tts-", "tts", lambda _: {}, {}),
}
"""Of the operations that are no chat."""


def unit_vector(text: str, size: int) -> list[float]:
    """Return a vector of length 1 that only *text* decides: the same text, the same vector."""
    draw = random.Random(text.encode(errors="surrogatepass")).uniform  # seeded by its hash
    vector = [draw(-1, 1) for _ in range(size)]
    length = math.hypot(*vector)
    return [value / length for value in vector]


def _packed(vector: list[float]) -> str:
    """Return base64 of little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
