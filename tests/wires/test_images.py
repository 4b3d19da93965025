"""Pictures and sources out of the bytes of `/images` and of chats."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.images import Images
from llm_router.errors import EmptyResponseError, InvalidResponseError, ProviderError
from llm_router.wires.images import read_images
from llm_router.wires.openai import OpenAIWire
from llm_router.wires.search import read_search
from tests import recordings

WIRE = OpenAIWire("openrouter")


def read(body: Any, **headers: str) -> Images:
    return read_images(WIRE, 200, headers, json.dumps(body).encode())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_kind_of_picture_is_told_by_its_first_bytes_where_nobody_says_it() -> None:
    pictures = (b"\xff\xd8\xff\xe0", b"<svg xmlns=", b"what?")
    data = [{"b64_json": b64(p)} for p in pictures] + [{"url": "https://cdn.test/a.png"}, {}]
    answer = read({"created": 0, "data": data}, **{"X-Generation-Id": "gen-img-1"})
    assert [image.media_type for image in answer.images] == [
        "image/jpeg", "image/svg+xml", "application/octet-stream", None,
    ]  # fmt: skip
    assert (answer.usage.units, answer.response_id) == (4, "gen-img-1")
    assert answer.cost.source == "unknown"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"data": [], "usage": {"cost": 0.25}}, EmptyResponseError),
        ({"data": [{"b64_json": ""}]}, EmptyResponseError),
        ({"data": None}, EmptyResponseError),
        ({"error": {"code": 502, "message": "no"}}, ProviderError),
        ({}, InvalidResponseError),
    ],
)
def test_no_picture_is_no_answer(body: Any, kind: type[ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        read(body)
    if "usage" in body:
        assert caught.value.cost is not None and caught.value.cost.total == Decimal("0.25")


@pytest.mark.parametrize(
    "name", [pytest.param("ok_json_web_search_annotations", marks=recordings.needed)]
)
def test_a_recorded_search_is_read_rightly(name: str) -> None:
    body = (recordings.FOLDER / f"{name}.json").read_bytes()
    answer = read_search(WIRE, 200, {}, body)
    usage = json.loads(body)["usage"]
    assert answer.text and answer.citations
    assert answer.cost.total == Decimal(str(usage["cost"]))
    counted = usage.get("server_tool_use_details") or usage.get("server_tool_use") or {}
    assert answer.searches == counted.get("web_search_requests")
