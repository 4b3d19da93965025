"""What models that write no text answer: each operation's body, from the request alone."""

from __future__ import annotations

import base64
import math
import random
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_router.testing.billing import texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.testing.answers import Answer
    from llm_router.testing.catalog import Output, SandboxModel
    from llm_router.testing.replies import ChatRequest

_DOCUMENTS_PER_UNIT = 100


class Kind(NamedTuple):
    """How an operation answers."""

    prefix: str
    """What its ids have between `gen-` and the time."""
    body: Callable[[Answer], dict[str, Any]]
    """The JSON body, but for `usage`."""
    nothing: Mapping[str, Any]
    """The fields of a body with no answer in it."""


def units(request: ChatRequest, model: SandboxModel) -> int:
    """Return what is billed beside tokens: a search unit for each 100 documents begun."""
    if model.output != "rerank":
        return 0
    return math.ceil(len(request.body["documents"]) / _DOCUMENTS_PER_UNIT)


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


KINDS: dict[Output, Kind] = {
    "embeddings": Kind("emb-", _embeddings, {"data": []}),
    "rerank": Kind("rerank-", _ranking, {"results": []}),
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
