"""`embed` of many texts: in batches, in order, whatever fails on the way, at the true price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_router.errors import InvalidRequestError, ProviderUnavailableError
from llm_router.router import Router
from llm_router.testing import Sandbox, pytest_plugin
from llm_router.testing.operations import unit_vector
from tests.router.setup import EAGER

sandbox = pytest_plugin.llm_sandbox

MODEL = "openrouter/openai/text-embedding-3-small"
TEN_AT_MOST = "openrouter/qwen/text-embedding-v4"


def routed(sandbox: Sandbox, tmp_path: Path, **aliases: Any) -> Router:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    config = {
        "providers": {"openrouter": row},
        "aliases": {"near": {"model": MODEL, "batch_size": 3}, **aliases},
        "ledger": {"url": f"sqlite:///{tmp_path}/calls.db", "durability": "strict"},
    }
    return Router.from_dict(config, clock=EAGER)


def sizes(sandbox: Sandbox) -> list[int]:
    return [len(r.body["input"]) for r in sandbox.requests if r.path.endswith("/embeddings")]


async def test_ten_thousand_texts_come_back_in_order_when_one_request_in_twenty_fails(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"text {n}" for n in range(10_000)]
    rates = {"http_503": 0.02, "upstream_rate_limit": 0.01, "dropped": 0.01, "error_in_200": 0.01}
    sandbox.fault_rates(rates, seed=7)
    async with routed(sandbox, tmp_path, many={"model": MODEL, "batch_size": 50}) as router:
        answer = await router.embed("many", texts, dimensions=2)
        faults = sum(request.fault is not None for request in sandbox.requests)
        assert len(answer.vectors) == 10_000
        for n in range(0, 10_000, 97):
            assert list(answer.vectors[n]) == pytest.approx(unit_vector(texts[n], 2), abs=1e-6)
        assert answer.cost.total == sandbox.total_billed
        assert answer.usage.input_tokens == sum(b.tokens.prompt for b in sandbox.bills.values())
        assert faults > 0 and len(answer.attempts) == len(sizes(sandbox)) == 200 + faults
        assert router.ledger is not None
        (row,) = router.ledger.logs()
        assert (row.attempts, row.cost_total) == (200 + faults, sandbox.total_billed)


async def test_a_batch_is_halved_until_the_upstream_takes_it_and_the_size_is_remembered(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [str(n) for n in range(25)]
    async with routed(sandbox, tmp_path) as router:
        answer = await router.embed(TEN_AT_MOST, texts, dimensions=2, max_attempts=1)
        assert sizes(sandbox) == [25, 13, 7, 7, 7, 4]
        assert [list(v) for v in answer.vectors] == [
            pytest.approx(unit_vector(text, 2), abs=1e-6) for text in texts
        ]
        sandbox.reset()
        await router.embed(TEN_AT_MOST, texts[:9], dimensions=2)
        assert sizes(sandbox) == [7, 2]
        assert {h.consecutive_failures for h in router.health().values()} == {0}


async def test_one_text_that_is_too_long_is_not_halved(sandbox: Sandbox, tmp_path: Path) -> None:
    async with routed(sandbox, tmp_path) as router:
        with pytest.raises(InvalidRequestError):
            await router.embed("near", ["short", "x" * 40_000, "short"], dimensions=2)
        assert sizes(sandbox) == [3, 2, 1, 1]


async def test_the_attempts_of_a_failed_batch_have_the_bills_of_those_before(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        sandbox.reply()
        sandbox.fail("http_503", times=2)
        with pytest.raises(ProviderUnavailableError) as caught:
            await router.embed("near", list("abcdef"), dimensions=2, max_attempts=2)
        attempts = caught.value.attempts or ()
        assert [a.status for a in attempts] == ["succeeded", "failed", "failed"]
        assert attempts[0].cost is not None
        assert attempts[0].cost.total == sandbox.total_billed


async def test_each_batch_begins_with_the_deployment_that_does_not_rest(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    two = {"model": f"{MODEL}", "batch_size": 1, "fallbacks": ["own/openai/text-embedding-3-small"]}
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    config = {
        "providers": {"openrouter": row, "own": {"litellm": "openai", **row}},
        "aliases": {"two": two},
    }
    async with Router.from_dict(config, clock=EAGER) as router:
        sandbox.fail("http_503", times=4)
        answer = await router.embed("two", ["a", "b", "c"], dimensions=2, max_attempts=6)
        names = [attempt.deployment.partition("/")[0] for attempt in answer.attempts]
        assert names[:4] == ["openrouter"] * 3 + ["own"] and len(answer.vectors) == 3
