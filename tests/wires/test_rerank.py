"""Scores out of the bytes of `/rerank`."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.ranking import Ranking
from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderError,
    ProviderUnavailableError,
)
from llm_router.wires.openai import OpenAIWire
from llm_router.wires.rerank import read_ranking
from tests import recordings


def read(body: Any, top_n: int | None = None, status: int = 200) -> Ranking:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_ranking(OpenAIWire("openrouter"), status, {}, raw, ("a", "b"), top_n)


def scores(*pairs: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"results": [{"index": i, "relevance_score": s} for i, s in pairs], **more}


def test_the_best_document_is_first_however_they_came() -> None:
    answer = read(scores((0, 0.25), (1, 1), id="gen-rerank-1", usage={"total_tokens": 4}))
    assert [(r.index, r.score, r.document) for r in answer.results] == [(1, 1, "b"), (0, 0.25, "a")]
    assert answer.response_id == "gen-rerank-1" and answer.usage.total_tokens == 4
    assert answer.cost.total is None and answer.usage.input_tokens is None
    assert answer.to_dict()["results"][0] == {"index": 1, "score": 1.0, "document": "b"}


def test_fewer_scores_are_an_answer_when_fewer_were_asked_for() -> None:
    assert len(read(scores((1, 0.5)), top_n=1).results) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (scores(), EmptyResponseError),
        (scores((0, 0.5)), InvalidResponseError),
        (scores((0, 0.5), (0, 0.5)), InvalidResponseError),
        (scores((0, 0.5), (2, 0.5)), InvalidResponseError),
        (scores((0, 0.5), (True, 0.5)), InvalidResponseError),
        (scores((0, 0.5), (1, "0.5")), InvalidResponseError),
        (scores((0, 0.5), (1, None)), InvalidResponseError),
        (scores((0, 0.5), (1, 0.5), (1, 0.5)), InvalidResponseError),
        (b"<html><title>Oops</title>", InvalidResponseError),
        ({"error": {"code": 503, "message": "busy"}}, ProviderUnavailableError),
    ],
)
def test_what_is_no_answer_is_an_error(body: Any, kind: type[ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        read(body)
    assert type(caught.value) is kind


def test_a_bad_answer_that_was_billed_says_its_bill() -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read(scores((0, 0.5), usage={"cost": 0.25}))
    assert caught.value.cost is not None and caught.value.cost.total == Decimal("0.25")


@pytest.mark.parametrize("name", [pytest.param("rerank.json", marks=recordings.needed)])
def test_the_recorded_answer_is_read_rightly(name: str) -> None:
    answer = read((recordings.FOLDER / name).read_bytes())
    assert [(r.index, r.score) for r in answer.results] == [(1, 0.828125), (0, 0.306640625)]
    assert (answer.cost.total, answer.usage.total_tokens) == (Decimal("3.4E-7"), 17)
    assert answer.upstream_provider == "VoyageAI by MongoDB"
