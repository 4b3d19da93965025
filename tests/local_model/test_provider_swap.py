"""The same application at OpenRouter's wire, then at a real model: the file alone changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal

import pytest
from click.testing import CliRunner

from llm_router.cli.local_model import LocalModel
from llm_router.cli.main import main
from llm_router.config.loading import from_dict
from llm_router.config.model import RouterConfig
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.local_model.application import TOKENS, Talk, talk, talk_without_a_loop
from tests.local_model.conftest import CONFIG

pytestmark = pytest.mark.local_model
QUESTION = "Why is the sky blue?"


def configure(monkeypatch: pytest.MonkeyPatch, name: str, env: Mapping[str, str]) -> None:
    monkeypatch.setenv("LLM_ROUTER_CONFIG", str(CONFIG / name))
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)


def run(asynchronous: bool) -> Talk:
    return asyncio.run(talk(QUESTION)) if asynchronous else talk_without_a_loop(QUESTION)


@pytest.mark.parametrize("asynchronous", [True, False], ids=["Router", "SyncRouter"])
def test_the_application_stays_as_it_is_when_a_real_model_takes_over(
    asynchronous: bool, model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox() as sandbox:
        configure(monkeypatch, "llm_router.yaml", sandbox.env)
        before = run(asynchronous)
        assert sum(reply.cost.total or 0 for reply in before.replies) == sandbox.total_billed > 0
    assert {reply.provider for reply in before.replies} == {"openrouter"}

    configure(monkeypatch, "local.yaml", model.env)
    after = run(asynchronous)
    for reply in after.replies:
        assert (reply.provider, reply.requested_model) == ("local", "local/smollm2")
        assert (reply.model, reply.upstream_provider) == ("smollm2", None)
        assert reply.text.strip() and any(char.isalpha() for char in reply.text)
        assert reply.finish_reason in ("stop", "length")
        assert reply.usage.input_tokens and reply.usage.output_tokens
        assert reply.usage.output_tokens <= TOKENS
        assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
        assert (reply.cost.total, reply.cost.source) == (None, "unknown")
        assert [attempt.status for attempt in reply.attempts] == ["succeeded"]
    assert "".join(after.pieces) == after.streamed.text and len(after.pieces) > 3
    # The model has read its own first answer again.
    assert (after.second.usage.input_tokens or 0) > (after.first.usage.input_tokens or 0)
    assert not {reply.text for reply in after.replies} & {reply.text for reply in before.replies}


async def test_a_text_says_what_the_model_knows_when_it_is_asked(router: Router) -> None:
    reply = await router.complete(
        "extract", "What is the capital of France? Answer in one sentence.", max_tokens=24
    )
    assert "Paris" in reply.text


async def test_the_answer_is_the_same_when_temperature_is_zero(router: Router) -> None:
    texts = {
        (await router.complete("extract", "Count to five.", max_tokens=16)).text for _ in range(2)
    }
    assert len(texts) == 1


def with_prices(model: LocalModel) -> RouterConfig:
    prices = {"smollm2": {"input": "0.02", "output": "0.05"}}
    row = {"litellm": "openai", "base_url": model.base_url, "prices": prices}
    return from_dict({"version": 1, "providers": {"local": row}})


async def test_the_cost_is_computed_when_the_row_states_prices(model: LocalModel) -> None:
    async with Router(with_prices(model)) as router:
        reply = await router.complete("local/smollm2", "Hello!", max_tokens=4)
        async with router.stream("local/smollm2", "Hello!", max_tokens=4) as stream:
            assert [text async for text in stream.text_stream]
    for answer in (reply, stream.completion):
        tokens = answer.usage.input_tokens or 0, answer.usage.output_tokens or 0
        bill = (tokens[0] * Decimal("0.02") + tokens[1] * Decimal("0.05")) / 1_000_000
        assert (answer.cost.total, answer.cost.source) == (bill, "local")
        assert answer.cost.reported is None


def test_the_command_line_asks_the_real_model_when_the_environment_names_its_file(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, "local.yaml", model.env)
    asked = CliRunner().invoke(main, ["complete", "fast", "Hello!", "--max-tokens", "8"])
    assert asked.exit_code == 0, asked.output
    assert asked.stdout.strip()
