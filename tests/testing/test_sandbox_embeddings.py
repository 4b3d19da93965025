"""`POST /embeddings` as the wire sheet describes it, seen from a plain HTTP client."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from llm_router.testing import FaultPlan, Sandbox, pytest_plugin

sandbox = pytest_plugin.llm_sandbox

MODEL = "openai/text-embedding-3-small"
TEXTS = ["Rust values memory safety.", "Streaming responses arrive piece by piece."]


async def post(
    sandbox: Sandbox, path: str = "/embeddings", **body: Any
) -> tuple[int, Any, dict[str, Any]]:
    """Return status, headers and the parsed body."""
    key = {"Authorization": f"Bearer {sandbox.api_key}"}
    async with (
        aiohttp.ClientSession(headers=key) as session,
        session.post(f"{sandbox.base_url}{path}", json={"model": MODEL, **body}) as response,
    ):
        raw = await response.read()
        return response.status, response.headers, json.loads(raw, parse_float=Decimal)


def vectors(body: dict[str, Any]) -> list[list[float]]:
    return [[float(number) for number in row["embedding"]] for row in body["data"]]


async def test_each_text_gets_a_unit_vector_in_order_with_an_exact_bill(sandbox: Sandbox) -> None:
    status, headers, body = await post(sandbox, input=TEXTS, encoding_format="float")

    assert status == 200
    assert body.keys() == {"id", "object", "model", "provider", "data", "usage"}
    assert (body["object"], body["model"], body["provider"]) == (
        "list",
        "text-embedding-3-small",
        "OpenAI",
    )
    assert body["id"].startswith("gen-emb-") and headers["X-Generation-Id"] == body["id"]
    assert [(row["object"], row["index"]) for row in body["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    assert [len(vector) for vector in vectors(body)] == [1536, 1536]
    assert all(math.isclose(math.hypot(*vector), 1) for vector in vectors(body))
    tokens = sum(-(-len(text) // 4) for text in TEXTS)
    cost = tokens * Decimal("0.00000002")
    details = {
        "upstream_inference_cost": cost,
        "upstream_inference_prompt_cost": cost,
        "upstream_inference_completions_cost": 0,
    }
    assert body["usage"] == {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "cost": cost,
        "is_byok": False,
        "cost_details": details,
    }
    assert sandbox.total_billed == sandbox.bills[body["id"]].cost == cost


async def test_the_vector_depends_on_the_text_and_the_dimensions_alone(sandbox: Sandbox) -> None:
    both = vectors((await post(sandbox, input=TEXTS, dimensions=8))[2])
    alone = vectors((await post(sandbox, input=TEXTS[1], dimensions=8))[2])

    assert both[0] != both[1] and alone == [both[1]]
    assert [len(vector) for vector in both] == [8, 8]


@pytest.mark.parametrize("given", ["one", [3, 14, 15], [[3, 14], [15]], [{"content": []}, "two"]])
async def test_every_form_of_input_is_served(sandbox: Sandbox, given: Any) -> None:
    _, _, body = await post(sandbox, input=given, dimensions=2)

    expected = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    assert len(body["data"]) == expected


@pytest.mark.parametrize("model", ["no-such/embedding-model", "openai/gpt-4o-mini"])
async def test_a_model_that_embeds_nothing_does_not_exist(sandbox: Sandbox, model: str) -> None:
    status, _, body = await post(sandbox, model=model, input="x")

    assert status == 400
    assert body == {"error": {"code": 400, "message": f"Model {model} does not exist"}}
    assert (await post(sandbox, input=[]))[0] == 400


async def test_each_text_and_not_their_sum_must_fit_the_window(sandbox: Sandbox) -> None:
    many, _, _ = await post(sandbox, input=["x" * 2000] * 20, dimensions=2)
    status, _, body = await post(sandbox, input=["x" * 40_000], dimensions=2)

    assert (many, status) == (200, 400)
    assert "maximum context length" in body["error"]["message"]


async def test_a_model_for_embeddings_does_not_chat(sandbox: Sandbox) -> None:
    messages = [{"role": "user", "content": "Hi"}]

    assert (await post(sandbox, "/chat/completions", messages=messages))[0] == 400


async def test_the_generation_and_the_catalogue_know_it(sandbox: Sandbox) -> None:
    _, _, body = await post(sandbox, input="x")
    async with aiohttp.ClientSession() as session:
        session.headers["Authorization"] = f"Bearer {sandbox.api_key}"
        for _ in range(2):
            async with session.get(f"{sandbox.base_url}/generation?id={body['id']}") as response:
                found = json.loads(await response.read(), parse_float=Decimal)
        listing = f"{sandbox.base_url}/models?output_modalities=embeddings"
        async with session.get(listing) as response:
            listed = [model["id"] for model in (await response.json())["data"]]

    assert found["data"]["total_cost"] == body["usage"]["cost"]
    assert (found["data"]["api_type"], found["data"]["native_tokens_completion"]) == (
        "embeddings",
        0,
    )
    assert listed == [MODEL, "qwen/text-embedding-v4"]


async def test_scripts_reach_it_as_they_reach_a_chat(sandbox: Sandbox) -> None:
    sandbox.fail("rate_limit", match="embedding", retry_after=2)
    sandbox.reply(provider="Azure", byok=True, usage={"prompt_tokens": 1000, "total_tokens": 1000})
    sandbox.on(lambda request: request.prompt == "stop", FaultPlan(fault="http_503"))

    limited, headers, _ = await post(sandbox, input="x")
    _, _, scripted = await post(sandbox, input="x")
    down, _, _ = await post(sandbox, input="stop")
    asked, _, _ = await post(sandbox, model="demo/http-504", input="x")

    assert (limited, headers["Retry-After"], down, asked) == (429, "2", 503, 504)
    assert scripted["provider"] == "Azure" and scripted["usage"]["cost"] == 0
    assert sandbox.total_billed == 1000 * Decimal("0.00000002")


@pytest.mark.parametrize("fault", ["blank", "empty_choices", "choice_error", "finish_error"])
async def test_an_answer_without_vectors_is_free(sandbox: Sandbox, fault: str) -> None:
    sandbox.fail(fault)

    status, _, body = await post(sandbox, input="x")
    _, _, asked = await post(sandbox, model=f"demo/{fault}", input="x")

    assert asked["data"] == [] and asked["id"].startswith("gen-emb-")
    assert (status, body["data"]) == (200, [])
    assert "choices" not in body and body["usage"]["cost"] == sandbox.total_billed == 0


@pytest.mark.parametrize("fault", ["garbage", "truncated_json", "cut_stream", "ended_stream"])
async def test_a_lost_answer_is_billed_whole(sandbox: Sandbox, fault: str) -> None:
    sandbox.fail(fault)

    with pytest.raises((ValueError, aiohttp.ClientPayloadError)):
        await post(sandbox, input="x")
    assert sandbox.total_billed > 0


async def test_an_error_comes_in_a_200(sandbox: Sandbox) -> None:
    for fault in ("error_in_200", "stream_error"):
        sandbox.fail(fault)
        status, _, body = await post(sandbox, input="x")
        assert (status, body["error"]["code"]) == (200, 502)
    assert sandbox.bills == {}
