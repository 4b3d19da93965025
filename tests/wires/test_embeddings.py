"""Vectors out of the bytes of `/embeddings`."""

from __future__ import annotations

import base64
import json
import struct
from array import array
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.answers.embeddings import Embeddings
from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ModelNotFoundError,
    ProviderError,
    ProviderUnavailableError,
)
from llm_router.wires.embeddings import read_embeddings
from llm_router.wires.openai import OpenAIWire
from tests import recordings

WIRE = OpenAIWire("openrouter")


def read(
    body: Any,
    count: int = 2,
    status: int = 200,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Embeddings:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_embeddings(WIRE, status, headers, raw, count)


def data(*vectors: Any, **more: Any) -> dict[str, Any]:
    items = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
    return {"object": "list", "data": items, "model": "text-embedding-3-small", **more}


def test_every_field_is_read_when_the_answer_has_it() -> None:
    body = (
        b'{"data":[{"index":0,"embedding":[0.5,-1]},{"index":1,"embedding":[0.25,2e-1]}],'
        b'"id":"gen-emb-1","model":"m","object":"list","provider":"OpenAI",'
        b'"usage":{"prompt_tokens":7,"total_tokens":7,"cost":1.8e-07,"is_byok":false}}'
    )
    answer = read(body)
    assert answer.vectors == (array("f", [0.5, -1.0]), array("f", [0.25, 0.2]))
    assert answer.dimensions == 2 and answer.vectors[0].typecode == "f"
    assert (answer.response_id, answer.model, answer.upstream_provider) == (
        "gen-emb-1", "m", "OpenAI",
    )  # fmt: skip
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, None)
    assert answer.cost.reported == answer.cost.total == Decimal("1.8e-07")
    assert answer.to_dict()["vectors"][0] == [0.5, -1.0]
    assert repr(answer) == "<Embeddings 2 of 2 (m, via OpenAI, 7 + ? tokens, 0.00000018 USD)>"


@pytest.mark.parametrize("cost", ["0.1000000000000000055511151231257827", "3", "0", "1e-12"])
def test_the_cost_keeps_every_digit(cost: str) -> None:
    raw = json.dumps(data([1], [2])).encode()[:-1] + f', "usage" : {{"cost": {cost}}}}}'.encode()
    assert read(raw).cost.total == Decimal(cost)


def test_the_bill_is_read_when_it_stands_first() -> None:
    answer = read({"usage": {"cost": 0.5}, **data([1], [2])})
    assert answer.cost.total == Decimal("0.5")


def test_unknown_is_none_when_the_answer_says_nothing_of_it() -> None:
    answer = read({"data": [{"embedding": [1.0]}]}, 1)
    assert answer.cost.total is None and answer.cost.source == "unknown"
    assert answer.usage.input_tokens is None and answer.response_id is None
    assert read(data([1], [2]), headers={"X-Generation-Id": "gen-emb-9"}).response_id == "gen-emb-9"


@given(st.permutations(range(6)))
def test_vectors_are_in_the_order_of_the_texts_however_they_came(
    order: list[int],
) -> None:
    items = [{"index": place, "embedding": [float(place)]} for place in order]
    assert [v[0] for v in read({"data": items}, 6).vectors] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_string_is_base64_of_single_floats() -> None:
    text = base64.b64encode(struct.pack("<3f", 0.5, -2.0, 8.0)).decode()
    assert read(data(text), 1).vectors == (array("f", [0.5, -2.0, 8.0]),)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (data(), EmptyResponseError, "0 vectors for 2 texts"),
        (data([1.0]), InvalidResponseError, "1 vectors for 2 texts"),
        (data([1.0], [1.0], [1.0]), InvalidResponseError, "3 vectors for 2 texts"),
        (data([1.0], [1.0, 2.0]), InvalidResponseError, "unequal length"),
        (data([], []), InvalidResponseError, "empty ones"),
        (data([1.0], None), InvalidResponseError, "something else than numbers"),
        (data([1.0], ["a"]), InvalidResponseError, "something else than numbers"),
        (data([1.0], "not base64"), InvalidResponseError, "something else than numbers"),
        ({"data": [{"index": 0, "embedding": [1]}] * 2}, InvalidResponseError, "which vector"),
        ({"data": [{"index": n, "embedding": [1]} for n in (1, 2)]}, InvalidResponseError, "which"),
        ({"data": [{"index": "0", "embedding": [1]}] * 2}, InvalidResponseError, "which vector"),
        ({"object": "list"}, InvalidResponseError, "choices"),
        ([], InvalidResponseError, "not a JSON object"),
        (b"<html><title>Oops</title>", InvalidResponseError, "web page"),
        (b"", InvalidResponseError, "not one byte"),
        ({"error": {"code": 503, "message": "busy"}}, ProviderUnavailableError, "busy"),
    ],
)
def test_what_is_no_answer_is_an_error(body: Any, kind: type[ProviderError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        read(body)
    assert type(caught.value) is kind


def test_a_bad_answer_that_was_billed_says_its_bill() -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read(data([1.0], usage={"prompt_tokens": 4, "cost": 0.25}, id="gen-emb-2"))
    assert caught.value.cost is not None and caught.value.cost.total == Decimal("0.25")
    assert caught.value.response_id == "gen-emb-2"


def test_a_status_is_read_as_everywhere() -> None:
    body = {"error": {"code": 400, "message": "Model no-such/model does not exist"}}
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        read(body, status=400)


@pytest.mark.parametrize("name", [pytest.param("embeddings.json", marks=recordings.needed)])
def test_the_recorded_answer_is_read_rightly(name: str) -> None:
    raw = (recordings.FOLDER / name).read_bytes()
    said = json.loads(raw, parse_float=Decimal)
    answer = read(raw, len(said["data"]))
    assert answer.vectors[0] == array("f", map(float, said["data"][0]["embedding"]))
    assert answer.cost.total == said["usage"]["cost"] == Decimal("1.8E-7")
    assert answer.usage.input_tokens == said["usage"]["prompt_tokens"]
    assert (answer.model, answer.upstream_provider) == (said["model"], said["provider"])
