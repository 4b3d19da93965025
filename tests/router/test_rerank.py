"""`rerank` end to end: from the Router over the sandbox's wire into the ledger."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_router.errors import (
    EmptyResponseError,
    ProviderUnavailableError,
    UnsupportedFeatureError,
)
from llm_router.router import Router
from llm_router.sync import SyncRouter
from llm_router.testing import Sandbox, pytest_plugin
from tests.router.setup import EAGER

sandbox = pytest_plugin.llm_sandbox

MODEL = "openrouter/cohere/rerank-v3.5"
TEXTS = ["a desk", "a red lamp", "a lamp"]


def routed(sandbox: Sandbox, tmp_path: Path, **aliases: Any) -> Router:
    config = {
        "providers": {
            "openrouter": {"api_key": sandbox.api_key, "base_url": sandbox.base_url},
            "other": {"litellm": "groq", "base_url": sandbox.base_url, "api_key": "gsk-0123456789"},
        },
        "aliases": {"best": {"model": MODEL}, **aliases},
        "ledger": {"url": f"sqlite:///{tmp_path}/calls.db", "durability": "strict"},
    }
    return Router.from_dict(config, clock=EAGER)


async def test_documents_come_back_in_order_with_search_units_cost_and_a_row(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        answer = await router.rerank(
            "best", "red lamp", TEXTS, top_n=2, user="u-1", tags={"feature": "shop"},
            openrouter={"provider": {"data_collection": "deny"}}, store="full",
        )  # fmt: skip
        assert [(r.index, r.score, r.document) for r in answer.results] == [
            (1, 1.0, "a red lamp"), (2, 0.5, "a lamp"),
        ]  # fmt: skip
        assert (answer.alias, answer.requested_model) == ("best", MODEL)
        assert (answer.usage.units, answer.usage.unit) == (1, "search_unit")
        assert answer.cost.total == sandbox.total_billed == Decimal("0.001")
        assert (answer.upstream_provider, len(answer.attempts)) == ("Cohere", 1)
        assert answer.response_id in sandbox.bills and "1 first of 2" in repr(answer)
        assert sandbox.requests[-1].body == {
            "model": "cohere/rerank-v3.5", "query": "red lamp", "documents": TEXTS, "top_n": 2,
            "user": "u-1", "provider": {"data_collection": "deny"},
        }  # fmt: skip
        assert router.ledger is not None
        (row,) = router.ledger.logs()
        assert (row.operation, row.units, row.unit) == ("rerank", 1, "search_unit")
        detail = router.ledger.show(row.id)
        assert detail.attempts[0].usage == answer.usage
        assert [(p.kind, p.body["documents"]) for p in detail.payloads] == [("request", TEXTS)]


async def test_a_failure_is_retried_and_another_model_may_stand_in(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    two = {"model": "openrouter/demo/http-503", "fallbacks": [MODEL]}
    async with routed(sandbox, tmp_path, two=two) as router:
        answer = await router.rerank("two", "lamp", TEXTS)
        assert [a.status_code for a in answer.attempts] == [503, 503, None]
        sandbox.fail("http_503", times=4)
        with pytest.raises(ProviderUnavailableError):
            await router.rerank("best", "lamp", TEXTS)


async def test_no_scores_are_no_answer(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fail("empty_choices", times=4)
    async with routed(sandbox, tmp_path) as router:
        with pytest.raises(EmptyResponseError, match="0 sound scores for 3"):
            await router.rerank("best", "lamp", TEXTS)


async def test_a_provider_that_does_not_rank_is_passed_over_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    two = {"model": "other/llama", "fallbacks": [MODEL]}
    async with routed(sandbox, tmp_path, two=two) as router:
        answer = await router.rerank("two", "lamp", TEXTS)
        assert len(answer.attempts) == len(sandbox.requests) == 1
        with pytest.raises(UnsupportedFeatureError, match="does not serve 'rerank'"):
            await router.rerank("other/llama", "lamp", TEXTS)
        assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("query", "documents", "options", "error", "message"),
    [
        ("", ["a"], {}, ValueError, "query is empty"),
        (1, ["a"], {}, TypeError, "query is int"),
        ("a", [], {}, ValueError, "no documents"),
        ("a", "text", {}, TypeError, "list of str"),
        ("a", ["a", ""], {}, ValueError, r"documents\[1\] is empty"),
        ("a", ["a"], {"top_n": 0}, ValueError, "at least 1"),
        ("a", ["a"], {"top_n": True}, TypeError, "whole number"),
        ("a", ["a"], {"temperature": 1}, TypeError, "temperature"),
        ("a", ["a"], {"openrouter": {"provder": {}}}, TypeError, "did you mean 'provider'"),
    ],
)
async def test_a_mistake_is_refused_before_anything_is_sent(
    sandbox: Sandbox,
    tmp_path: Path,
    query: Any,
    documents: Any,
    options: Any,
    error: type[Exception],
    message: str,
) -> None:
    async with routed(sandbox, tmp_path) as router:
        with pytest.raises(error, match=message):
            await router.rerank("best", query, documents, **options)
        assert sandbox.chat_requests == []


async def test_the_router_without_a_loop_has_the_same_method(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        with SyncRouter(router.config) as twin:
            answer = await asyncio.to_thread(twin.rerank, "best", "desk", TEXTS, top_n=1)
        assert [r.index for r in answer.results] == [0]
