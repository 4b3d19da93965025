"""`embed` end to end: OpenRouter and another provider of OpenAI's wire, with rows in the ledger."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llm_router.errors import (
    ConfigurationError,
    EmptyResponseError,
    RateLimitError,
    UnsupportedFeatureError,
)
from llm_router.router import Router
from llm_router.sync import SyncRouter
from tests.providers.loopback import Server, serving
from tests.router.setup import EAGER

MODEL = "openai/text-embedding-3-small"
KEY = "sk-or-v1-0123456789abcdef"


class Upstream:
    """Answers each text with its length, after *faults* were played."""

    def __init__(self, *faults: web.Response) -> None:
        self.faults = list(faults)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=404)
        if self.faults:
            return self.faults.pop(0)
        texts = self.server.posts[-1]["input"]
        items = [{"index": n, "embedding": [len(text), 1]} for n, text in enumerate(texts)]
        usage: dict[str, Any] = {"prompt_tokens": 9, "total_tokens": 9}
        if "/api/v1" in request.path and "openai" not in request.headers.get("X-Row", ""):
            usage |= {"cost": 0.00000018, "is_byok": False}
        body = {"data": items, "model": "text-embedding-3-small", "id": "gen-emb-1", "usage": usage}
        return web.json_response(body, headers={"X-Generation-Id": "gen-emb-1"})

    server: Server


@asynccontextmanager
async def routed(
    tmp_path: Path, *faults: web.Response, **aliases: Any
) -> AsyncIterator[tuple[Router, Server]]:
    upstream = Upstream(*faults)
    async with serving(upstream) as server:
        upstream.server = server
        config = {
            "providers": {
                "openrouter": {"api_key": KEY, "base_url": server.url},
                "own": {
                    "litellm": "openai",
                    "api_key": "sk-own-0123456789",
                    "base_url": server.url,
                    "headers": {"X-Row": "openai"},
                    "prices": {MODEL: {"input": "0.02", "output": "0"}},
                },
                "other": {"litellm": "watsonx", "base_url": server.url, "path": "acompletion"},
            },
            "aliases": {"near": {"model": f"openrouter/{MODEL}"}, **aliases},
            "ledger": {"url": f"sqlite:///{tmp_path}/calls.db", "durability": "strict"},
        }
        async with Router.from_dict(config, clock=EAGER) as router:
            yield router, server


async def test_texts_come_back_as_vectors_with_tokens_cost_and_a_row(tmp_path: Path) -> None:
    async with routed(tmp_path) as (router, server):
        answer = await router.embed(
            "near", ["one", "fifteen"], dimensions=2, input_type="search_query", user="u-1",
            tags={"feature": "search"}, openrouter={"provider": {"data_collection": "deny"}},
        )  # fmt: skip
        assert answer.vectors == (array("f", [3, 1]), array("f", [7, 1]))
        assert (answer.alias, answer.requested_model) == ("near", f"openrouter/{MODEL}")
        assert (answer.provider, answer.response_id) == ("openrouter", "gen-emb-1")
        assert answer.usage.input_tokens == 9
        assert (answer.cost.total, answer.cost.source) == (Decimal("1.8E-7"), "provider")
        assert len(answer.attempts) == 1 and answer.latency_ms is not None
        assert server.posts == [{
            "model": MODEL, "input": ["one", "fifteen"], "encoding_format": "float",
            "dimensions": 2, "input_type": "search_query", "user": "u-1",
            "provider": {"data_collection": "deny"},
        }]  # fmt: skip
        assert router.ledger is not None
        (row,) = router.ledger.logs()
        assert (row.operation, row.status, row.cost_total) == (
            "embed", "succeeded", Decimal("1.8E-7"),
        )  # fmt: skip
        (attempt,) = router.ledger.show(row.id).attempts
        assert (attempt.input_tokens, attempt.response_id) == (9, "gen-emb-1")


async def test_no_vector_and_every_text_is_kept_when_everything_is_to_be_stored(
    tmp_path: Path,
) -> None:
    async with routed(tmp_path) as (router, _):
        await router.embed("near", "my text", store="full")
        assert router.ledger is not None
        payloads = router.ledger.show(router.ledger.logs()[0].id).payloads
        assert [(p.kind, p.body["texts"]) for p in payloads] == [("request", ["my text"])]


async def test_another_provider_serves_the_same_call_when_the_file_says_so(tmp_path: Path) -> None:
    async with routed(tmp_path) as (router, server):
        answer = await router.embed(f"own/{MODEL}", "text")
        assert answer.vectors == (array("f", [4, 1]),)
        assert (answer.cost.total, answer.cost.source) == (Decimal("0.00000018"), "local")
        method, path, headers = server.received[-1]
        assert (method, path) == ("POST", "/api/v1/embeddings")
        assert headers["Authorization"] == "Bearer sk-own-0123456789"


async def test_a_failure_is_retried_and_falls_back_to_the_same_model(tmp_path: Path) -> None:
    busy = [web.json_response({"error": {"message": "busy"}}, status=503) for _ in range(2)]
    two = {"model": f"openrouter/{MODEL}", "fallbacks": [f"own/{MODEL}"]}
    async with routed(tmp_path, *busy, two=two) as (router, _):
        answer = await router.embed("two", "text")
        assert answer.requested_model == f"own/{MODEL}"
        assert [a.status_code for a in answer.attempts] == [503, 503, None]


async def test_a_fallback_to_another_model_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    mixed = {"model": f"openrouter/{MODEL}", "fallbacks": ["openrouter/openai/gpt-4o-mini"]}
    async with routed(tmp_path, mixed=mixed) as (router, server):
        with pytest.raises(ConfigurationError, match="cannot be compared"):
            await router.embed("mixed", "text")
        assert server.posts == []


async def test_a_200_without_vectors_is_no_answer(tmp_path: Path) -> None:
    empty = [web.json_response({"data": [], "usage": {"cost": 0.5}}) for _ in range(4)]
    async with routed(tmp_path, *empty) as (router, server):
        with pytest.raises(EmptyResponseError) as caught:
            await router.embed("near", "text")
        assert len(server.posts) == 4
        assert [a.cost.total for a in caught.value.attempts or ()] == [Decimal("0.5")] * 4


async def test_the_wait_that_a_provider_names_is_known(tmp_path: Path) -> None:
    slow = web.json_response({"error": {}}, status=429, headers={"Retry-After": "400"})
    async with routed(tmp_path, slow) as (router, _):
        with pytest.raises(RateLimitError) as caught:
            await router.embed("near", "text")
        assert caught.value.retry_after == 400


async def test_what_a_provider_does_not_serve_is_said_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    async with routed(tmp_path) as (router, server):
        with pytest.raises(UnsupportedFeatureError, match="does not serve 'embed'") as caught:
            await router.embed("other/any", "text")
        assert isinstance(caught.value, NotImplementedError) and server.posts == []
        assert not caught.value.attempts


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ([], {}, ValueError, "no texts"),
        ("", {}, ValueError, "is empty"),
        (["a", 1], {}, TypeError, "is int, not str"),
        (b"a", {}, TypeError, "not bytes"),
        ("a", {"dimensions": 0}, ValueError, "at least 1"),
        ("a", {"temperature": 1}, TypeError, "temperature"),
        ("a", {"tag": {}}, TypeError, "did you mean 'tags'"),
    ],
)
async def test_a_mistake_is_refused_before_anything_is_sent(
    tmp_path: Path, texts: Any, options: Any, error: type[Exception], message: str
) -> None:
    async with routed(tmp_path) as (router, server):
        with pytest.raises(error, match=message):
            await router.embed("near", texts, **options)
        assert server.posts == []


async def test_the_router_without_a_loop_has_the_same_method(tmp_path: Path) -> None:
    async with routed(tmp_path) as (router, _):
        with SyncRouter(router.config) as twin:
            answer = await asyncio.to_thread(twin.embed, "near", ["a"])
        assert answer.dimensions == 2
