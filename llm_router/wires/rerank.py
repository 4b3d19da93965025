"""Scores of OpenRouter's `POST /rerank`: bytes in, Ranking out.

The wire echoes every document; the caller's own are used and the echo is dropped.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.answers.ranking import Ranked, Ranking
from llm_router.errors import EmptyResponseError, InvalidResponseError
from llm_router.wires.json_values import objects
from llm_router.wires.tasks import bill, known, object_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.wires.openai import OpenAIWire


def read_ranking(
    wire: OpenAIWire,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    documents: Sequence[str],
    top_n: int | None,
) -> Ranking:
    """Return the scores of *documents*, or raise the ProviderError that the answer is.

    Another number of scores than was asked for, or one that is nobody's or no number, is not an
    answer. *wire* reads what is no answer at all.
    """
    answer = object_with("results", wire, status, headers, body)
    items = objects(answer["results"])
    wanted = min(top_n or len(documents), len(documents))
    results = _results(items, documents)
    if len(items) != wanted or len(results) != wanted:
        kind = InvalidResponseError if items else EmptyResponseError
        raise kind(
            f"The answer has {len(results)} sound scores for {wanted} documents",
            **bill(headers, answer),
        )
    return Ranking(results=results, **known(headers, answer))


def _results(items: list[dict[str, Any]], documents: Sequence[str]) -> tuple[Ranked, ...]:
    """Return what is sound of *items*, one a document, the best first."""
    found: dict[int, Ranked] = {}
    for item in items:
        index, score = item.get("index"), item.get("relevance_score")
        if type(index) is not int or not 0 <= index < len(documents):
            continue
        if (type(score) is int or isinstance(score, Decimal)) and math.isfinite(score):
            found[index] = Ranked(index=index, score=float(score), document=documents[index])
    return tuple(sorted(found.values(), key=lambda ranked: -ranked.score))
