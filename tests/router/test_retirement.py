"""Models that go are named before they do: by explain, an event once a day, and check."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from llm_router.cli.main import main
from llm_router.providers.openrouter.catalog import cache_folder
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.testing import Sandbox
from llm_router.testing.catalog import CATALOG
from tests.router.setup import CLAUDE, GPT, configuration, until

TODAY = datetime.now(UTC).date()
NOW = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC).timestamp()
DAY = 24 * 3600.0
ENDS = {
    "openai/gpt-4o-mini": f"{TODAY + timedelta(days=7)}",
    "anthropic/claude-haiku-4.5": f"{TODAY + timedelta(days=38)}",
    "meta-llama/llama-3.3-70b-instruct": "soon",
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    models = tuple(replace(model, expires=ENDS.get(model.id)) for model in CATALOG)
    with Sandbox(models=models) as sandbox:
        yield sandbox


async def catalogued(router: Router) -> None:
    await router.complete("fast", "Hi")
    provider = router._engine.providers["openrouter"]
    await until(lambda: provider.known("openai/gpt-4o-mini") is not None)
    await until(lambda: any(cache_folder().iterdir()))


async def test_a_model_that_goes_is_named_once_a_day(sandbox: Sandbox, log: list[Any]) -> None:
    now = [NOW]
    clock = Clock(wall=lambda: now[0])
    async with Router.from_dict(configuration(sandbox), clock=clock) as router:
        await catalogued(router)
        for hours in (1, 2, 24, 25, 24 * 9):
            now[0] = NOW + hours * 3600
            await router.complete("fast", "Hi")
    told = [event for event in log if event["event"] == "llm_router.model_retiring"]
    assert [(event["deployment"], event["days"]) for event in told] == [
        (GPT, 7), (GPT, 6), (GPT, -2), (CLAUDE, 29)
    ]  # fmt: skip
    assert told[0]["date"] == ENDS["openai/gpt-4o-mini"]


async def test_explain_names_it(sandbox: Sandbox) -> None:
    clock = Clock(wall=lambda: NOW)
    async with Router.from_dict(configuration(sandbox), clock=clock) as router:
        await catalogued(router)
        shown = {c.deployment: c.retires for c in router.explain("safe", "Hi").candidates}
        assert shown == {GPT: ENDS["openai/gpt-4o-mini"], CLAUDE: None}
        assert router.retirements() == {GPT: date.fromisoformat(ENDS["openai/gpt-4o-mini"])}


def test_check_names_it_from_the_catalogue_on_disk(
    sandbox: Sandbox, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "router.yaml"
    file.write_text(f"aliases: {{fast: {{model: {GPT}}}}}", encoding="utf-8")

    def checked() -> str:
        result = CliRunner().invoke(main, ["check", str(file)])
        assert result.exit_code == 0, result.output
        return result.output

    assert "removed" not in checked()

    async def call() -> None:
        async with Router.from_yaml(file) as router:
            await catalogued(router)

    asyncio.run(call())
    asked = len(sandbox.requests)
    said = f"warning: {GPT} may be removed after {ENDS['openai/gpt-4o-mini']}"
    assert said in checked()
    assert len(sandbox.requests) == asked, "no network"
